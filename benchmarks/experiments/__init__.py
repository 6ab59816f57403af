"""Experiments: grids of trainings, run side by side, and the tables and figures of a paper made of them."""

from benchmarks.experiments._bootstrap import Difference as Difference
from benchmarks.experiments._bootstrap import differences as differences
from benchmarks.experiments._experiment import Experiment as Experiment
from benchmarks.experiments._experiment import Method as Method
from benchmarks.experiments._figures import f_measure_curves as f_measure_curves
from benchmarks.experiments._figures import score_over_axis as score_over_axis
from benchmarks.experiments._file import bundled_experiments as bundled_experiments
from benchmarks.experiments._file import read_experiment as read_experiment
from benchmarks.experiments._folder import state_of as state_of
from benchmarks.experiments._pictures import visual_comparison as visual_comparison
from benchmarks.experiments._plan import Cell as Cell
from benchmarks.experiments._plan import Plan as Plan
from benchmarks.experiments._plan import PlannedRun as PlannedRun
from benchmarks.experiments._plan import plan_experiment as plan_experiment
from benchmarks.experiments._report import write_results as write_results
from benchmarks.experiments._results import Results as Results
from benchmarks.experiments._results import read_results as read_results
from benchmarks.experiments._reuse import reuse_runs as reuse_runs
from benchmarks.experiments._run import ExperimentProgress as ExperimentProgress
from benchmarks.experiments._run import run_plan as run_plan
