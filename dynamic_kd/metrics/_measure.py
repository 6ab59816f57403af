"""All scores of a batch at once, from its statistics."""

from __future__ import annotations

from dynamic_kd._array import Array
from dynamic_kd.metrics._e_measure import e_values
from dynamic_kd.metrics._f_measure import f_values, precision_recall
from dynamic_kd.metrics._mean_absolute_error import mean_absolute_error_values
from dynamic_kd.metrics._report import CURVES, PER_IMAGE
from dynamic_kd.metrics._s_measure import s_values
from dynamic_kd.metrics._statistics import Statistics
from dynamic_kd.metrics._weighted_f_measure import weighted_f_values

Scores = tuple[tuple[Array, ...], tuple[Array, ...]]


def measure(statistics: Statistics) -> Scores:
    """Curves as in `CURVES`, each of shape (B, 256), and scores as in `PER_IMAGE`, each of shape (B,)."""
    return _measure(statistics, strict=False)


def measure_strictly(statistics: Statistics) -> Scores:
    """Return the same, with maps cut by ``>`` in the E-measure."""
    return _measure(statistics, strict=True)


def _measure(statistics: Statistics, *, strict: bool) -> Scores:
    xp = statistics.xp
    precision, recall = precision_recall(statistics, statistics.threshold_counts())
    f_curve = f_values(statistics, "curve")
    e_curve = e_values(statistics, "curve", strict=strict)
    curves = {"precision": precision, "recall": recall, "f_measure": f_curve, "e_measure": e_curve}
    scores = {
        "MAE": mean_absolute_error_values(statistics),
        "maxF": xp.max(f_curve, axis=1),
        "meanF": xp.mean(f_curve, axis=1),
        "adpF": f_values(statistics, "adaptive"),
        "wF": weighted_f_values(statistics),
        "Sm": s_values(statistics),
        "maxE": xp.max(e_curve, axis=1),
        "meanE": xp.mean(e_curve, axis=1),
        "adpE": e_values(statistics, "adaptive", strict=strict),
    }
    return tuple(curves[name] for name in CURVES), tuple(scores[name] for name in PER_IMAGE)
