"""Training: a recipe, a teacher, a student distilled from it, and the noise report of the training samples."""

from dynamic_kd._extras import require

require("torch", extra="train")

from dynamic_kd.training._demo import run_demo as run_demo
from dynamic_kd.training._inspect import inspect_runs as inspect_runs
from dynamic_kd.training._noise_report import NoiseReport as NoiseReport
from dynamic_kd.training._noise_report import noise_report_from_log as noise_report_from_log
from dynamic_kd.training._noise_report import noise_report_from_maps as noise_report_from_maps
from dynamic_kd.training._noise_report import read_noise_report as read_noise_report
from dynamic_kd.training._predict import Prediction as Prediction
from dynamic_kd.training._predict import predict_folder as predict_folder
from dynamic_kd.training._recipe import Recipe as Recipe
from dynamic_kd.training._recipe_file import bundled_recipes as bundled_recipes
from dynamic_kd.training._recipe_file import read_recipe as read_recipe
from dynamic_kd.training._recipe_file import recipe_toml as recipe_toml
from dynamic_kd.training._scoring import read_records as read_records
from dynamic_kd.training._sections import Data as Data
from dynamic_kd.training._sections import Student as Student
from dynamic_kd.training._sections import Teacher as Teacher
from dynamic_kd.training._sections import Training as Training
from dynamic_kd.training._train import train as train
from dynamic_kd.training._weight_figures import teacher_student_scatter as teacher_student_scatter
from dynamic_kd.training._weight_figures import weight_over_time as weight_over_time
from dynamic_kd.training._weights_log import WeightsLog as WeightsLog
from dynamic_kd.training._weights_log import read_weights_log as read_weights_log
