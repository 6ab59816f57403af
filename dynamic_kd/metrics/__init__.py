"""Metrics of salient object detection, with the numbers papers print."""

from dynamic_kd.metrics._area_under_curve import pr_auc as pr_auc
from dynamic_kd.metrics._area_under_curve import roc_auc as roc_auc
from dynamic_kd.metrics._declarations import Score as Score
from dynamic_kd.metrics._e_measure import e_measure as e_measure
from dynamic_kd.metrics._f_measure import f_measure as f_measure
from dynamic_kd.metrics._mean_absolute_error import mean_absolute_error as mean_absolute_error
from dynamic_kd.metrics._pixels._context_measure import camouflage_context_measure as camouflage_context_measure
from dynamic_kd.metrics._pixels._context_measure import context_measure as context_measure
from dynamic_kd.metrics._pixels._human_correction_effort import human_correction_effort as human_correction_effort
from dynamic_kd.metrics._pixels._multi_scale_iou import multi_scale_iou as multi_scale_iou
from dynamic_kd.metrics._pixels._size_invariant import size_invariant_f_measure as size_invariant_f_measure
from dynamic_kd.metrics._pixels._size_invariant import (
    size_invariant_mean_absolute_error as size_invariant_mean_absolute_error,
)
from dynamic_kd.metrics._pixels._size_invariant import size_invariant_rate as size_invariant_rate
from dynamic_kd.metrics._plots import plot_curves as plot_curves
from dynamic_kd.metrics._records import Records as Records
from dynamic_kd.metrics._report import MetricReport as MetricReport
from dynamic_kd.metrics._s_measure import s_measure as s_measure
from dynamic_kd.metrics._selection import SCORES as SCORES
from dynamic_kd.metrics._sod_metrics import SODMetrics as SODMetrics
from dynamic_kd.metrics._tables import table as table
from dynamic_kd.metrics._threshold_measures import balanced_error_rate as balanced_error_rate
from dynamic_kd.metrics._threshold_measures import dice as dice
from dynamic_kd.metrics._threshold_measures import false_positive_rate as false_positive_rate
from dynamic_kd.metrics._threshold_measures import intersection_over_union as intersection_over_union
from dynamic_kd.metrics._threshold_measures import kappa as kappa
from dynamic_kd.metrics._threshold_measures import overall_accuracy as overall_accuracy
from dynamic_kd.metrics._threshold_measures import precision as precision
from dynamic_kd.metrics._threshold_measures import recall as recall
from dynamic_kd.metrics._threshold_measures import specificity as specificity
from dynamic_kd.metrics._weighted_f_measure import weighted_f_measure as weighted_f_measure
