"""Dynamic knowledge distillation with noise elimination, and the metrics of salient object detection.

The loss is `DynamicKDLoss`, the scores are `SODMetrics` and the functions beside it; both take arrays of any Array API
library. Importing this package loads no framework.
"""

from dynamic_kd._version import __version__ as __version__
from dynamic_kd.losses import (
    DynamicKDLoss,
    DynamicKDTerms,
    cross_entropy,
    dynamic_weight,
    eliminate_noise,
    logits_from_probabilities,
    soft_iou,
    temperature_kl,
)
from dynamic_kd.metrics import (
    MetricReport,
    SODMetrics,
    e_measure,
    f_measure,
    mean_absolute_error,
    s_measure,
    weighted_f_measure,
)

__all__ = [
    "DynamicKDLoss",
    "DynamicKDTerms",
    "MetricReport",
    "SODMetrics",
    "cross_entropy",
    "dynamic_weight",
    "e_measure",
    "eliminate_noise",
    "f_measure",
    "logits_from_probabilities",
    "mean_absolute_error",
    "s_measure",
    "soft_iou",
    "temperature_kl",
    "weighted_f_measure",
]
