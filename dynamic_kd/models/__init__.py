"""Thin networks for saliency: a feature pyramid student, and a teacher with receptive field blocks."""

from dynamic_kd._extras import require

require("torch", extra="torch")

from dynamic_kd.models._backbone import BACKBONES as BACKBONES
from dynamic_kd.models._export import export_onnx as export_onnx
from dynamic_kd.models._files import load_model as load_model
from dynamic_kd.models._files import model_metadata as model_metadata
from dynamic_kd.models._files import save_model as save_model
from dynamic_kd.models._fpn import FPNStudent as FPNStudent
from dynamic_kd.models._fpn import RFBTeacher as RFBTeacher
from dynamic_kd.models._network_input import network_input as network_input
from dynamic_kd.models._profile import NETWORKS as NETWORKS
from dynamic_kd.models._profile import Profile as Profile
from dynamic_kd.models._profile import profile as profile
from dynamic_kd.models._weights import read_weights as read_weights
