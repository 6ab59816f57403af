"""Folders of images, depth maps and masks as samples, and a synthetic RGB-D set made from a seed."""

from dynamic_kd.data._folders import DataSet as DataSet
from dynamic_kd.data._folders import read_folders as read_folders
from dynamic_kd.data._images import read_depth as read_depth
from dynamic_kd.data._images import read_gray as read_gray
from dynamic_kd.data._images import read_rgb as read_rgb
from dynamic_kd.data._pairing import Matching as Matching
from dynamic_kd.data._pairing import images_by_stem as images_by_stem
from dynamic_kd.data._pairing import match_by_stem as match_by_stem
from dynamic_kd.data._sample import Sample as Sample
from dynamic_kd.data._synthetic import synthetic_rgbd as synthetic_rgbd
