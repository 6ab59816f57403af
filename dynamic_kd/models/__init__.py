"""Thin networks for saliency: a feature pyramid student, and a teacher with receptive field blocks."""

from dynamic_kd._extras import require

require("torch", extra="torch")

from dynamic_kd.models._fpn import FPNStudent as FPNStudent
from dynamic_kd.models._fpn import RFBTeacher as RFBTeacher
from dynamic_kd.models._rfb import ReceptiveFieldBlock as ReceptiveFieldBlock
