"""Experiments: grids of trainings, run side by side, and the tables and figures of a paper made of them."""

from dynamic_kd._extras import require

require("torch", extra="train")

from dynamic_kd.experiments._bootstrap import Difference as Difference
from dynamic_kd.experiments._bootstrap import differences as differences
from dynamic_kd.experiments._experiment import Experiment as Experiment
from dynamic_kd.experiments._experiment import Method as Method
from dynamic_kd.experiments._figures import f_measure_curves as f_measure_curves
from dynamic_kd.experiments._figures import score_against_size as score_against_size
from dynamic_kd.experiments._figures import score_over_axis as score_over_axis
from dynamic_kd.experiments._file import bundled_experiments as bundled_experiments
from dynamic_kd.experiments._file import read_experiment as read_experiment
from dynamic_kd.experiments._folder import state_of as state_of
from dynamic_kd.experiments._pictures import visual_comparison as visual_comparison
from dynamic_kd.experiments._plan import Cell as Cell
from dynamic_kd.experiments._plan import Plan as Plan
from dynamic_kd.experiments._plan import PlannedRun as PlannedRun
from dynamic_kd.experiments._plan import plan_experiment as plan_experiment
from dynamic_kd.experiments._report import write_results as write_results
from dynamic_kd.experiments._results import Results as Results
from dynamic_kd.experiments._results import read_results as read_results
from dynamic_kd.experiments._reuse import reuse_runs as reuse_runs
from dynamic_kd.experiments._run import ExperimentProgress as ExperimentProgress
from dynamic_kd.experiments._run import run_plan as run_plan
