"""Folders of images, depth maps and masks as samples, and a synthetic RGB-D set made from a seed."""

from dynamic_kd.data._check import check_data as check_data
from dynamic_kd.data._contact_sheet import contact_sheet as contact_sheet
from dynamic_kd.data._find_data import DataFolder as DataFolder
from dynamic_kd.data._find_data import SampleFiles as SampleFiles
from dynamic_kd.data._find_data import find_data as find_data
from dynamic_kd.data._images import is_colour as is_colour
from dynamic_kd.data._images import read_depth as read_depth
from dynamic_kd.data._images import read_gray as read_gray
from dynamic_kd.data._images import read_rgb as read_rgb
from dynamic_kd.data._images import top_of_maps as top_of_maps
from dynamic_kd.data._mask import Mask as Mask
from dynamic_kd.data._mask import read_mask as read_mask
from dynamic_kd.data._pairing import Matching as Matching
from dynamic_kd.data._pairing import images_by_stem as images_by_stem
from dynamic_kd.data._pairing import match_by_stem as match_by_stem
from dynamic_kd.data._polarity import decide_near as decide_near
from dynamic_kd.data._report import DataReport as DataReport
from dynamic_kd.data._sample import Sample as Sample
from dynamic_kd.data._sample import decide_masks as decide_masks
from dynamic_kd.data._sample import read_inputs as read_inputs
from dynamic_kd.data._sample import read_samples as read_samples
from dynamic_kd.data._synthetic import synthetic_rgbd as synthetic_rgbd
