"""Metrics of salient object detection, with the numbers papers print."""

from dynamic_kd.metrics._e_measure import e_measure as e_measure
from dynamic_kd.metrics._f_measure import f_measure as f_measure
from dynamic_kd.metrics._mean_absolute_error import mean_absolute_error as mean_absolute_error
from dynamic_kd.metrics._plots import plot_curves as plot_curves
from dynamic_kd.metrics._report import MetricReport as MetricReport
from dynamic_kd.metrics._s_measure import s_measure as s_measure
from dynamic_kd.metrics._sod_metrics import SODMetrics as SODMetrics
from dynamic_kd.metrics._tables import table as table
from dynamic_kd.metrics._weighted_f_measure import weighted_f_measure as weighted_f_measure
