"""Evaluation of maps in folders: one folder's scores, or many methods on many data sets side by side."""

from dynamic_kd._tables import Column as Column
from dynamic_kd._tables import Table as Table
from dynamic_kd.evaluation._compare import Comparison as Comparison
from dynamic_kd.evaluation._compare import DataSetResult as DataSetResult
from dynamic_kd.evaluation._compare import compare as compare
from dynamic_kd.evaluation._compare_config import CompareConfig as CompareConfig
from dynamic_kd.evaluation._compare_config import DataSetFolders as DataSetFolders
from dynamic_kd.evaluation._compare_config import read_config as read_config
from dynamic_kd.evaluation._compare_settings import CompareSettings as CompareSettings
from dynamic_kd.evaluation._folders import evaluate_folders as evaluate_folders
from dynamic_kd.evaluation._paired_tests import PairedTest as PairedTest
from dynamic_kd.evaluation._ranks import Rank as Rank
from dynamic_kd.evaluation._size_figure import score_against_size as score_against_size
from dynamic_kd.evaluation._write_comparison import write_comparison as write_comparison
