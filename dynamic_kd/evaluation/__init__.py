"""Evaluation of saliency maps in folders: the scores of one folder, or many methods on many data sets side by side."""

from dynamic_kd._tables import Column as Column
from dynamic_kd._tables import Table as Table
from dynamic_kd.evaluation._bootstrap import Interval as Interval
from dynamic_kd.evaluation._compare import Comparison as Comparison
from dynamic_kd.evaluation._compare import DataSetResult as DataSetResult
from dynamic_kd.evaluation._compare import compare as compare
from dynamic_kd.evaluation._compare import evaluate_folders as evaluate_folders
from dynamic_kd.evaluation._comparison_tables import comparison_tables as comparison_tables
from dynamic_kd.evaluation._comparison_tables import report_table as report_table
from dynamic_kd.evaluation._config import CompareConfig as CompareConfig
from dynamic_kd.evaluation._config import CompareSettings as CompareSettings
from dynamic_kd.evaluation._config import DataSetFolders as DataSetFolders
from dynamic_kd.evaluation._paired_tests import PairedTest as PairedTest
from dynamic_kd.evaluation._paper import score_against_size as score_against_size
from dynamic_kd.evaluation._ranks import Rank as Rank
from dynamic_kd.evaluation._read_config import read_config as read_config
from dynamic_kd.evaluation._results import write_comparison as write_comparison
