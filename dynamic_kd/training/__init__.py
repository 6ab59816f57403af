"""Training: a recipe, a teacher, students distilled from it, and what the noise elimination flagged."""

from dynamic_kd._extras import require

require("torch", extra="train")

from dynamic_kd.training._demo import DemoResult as DemoResult
from dynamic_kd.training._demo import DemoSettings as DemoSettings
from dynamic_kd.training._demo import run_demo as run_demo
from dynamic_kd.training._loop import distil as distil
from dynamic_kd.training._loop import saliency as saliency
from dynamic_kd.training._loop import train_alone as train_alone
from dynamic_kd.training._noise_report import NoiseReport as NoiseReport
from dynamic_kd.training._noise_report import noise_report as noise_report
from dynamic_kd.training._recipe import Recipe as Recipe
from dynamic_kd.training._tensors import Tensors as Tensors
