"""The library as torch users expect it: modules and helpers on tensors.

`SODMetric` and `SODScore` need torchmetrics (the extra ``torchmetrics``), which is imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require

require("torch", extra="torch")

from dynamic_kd.torch._align import align_teacher as align_teacher
from dynamic_kd.torch._deep_supervision import DeepSupervision as DeepSupervision
from dynamic_kd.torch._distiller import Distiller as Distiller
from dynamic_kd.torch._fused import fused_unavailable_reason as fused_unavailable_reason
from dynamic_kd.torch._loss import DynamicKDLoss as DynamicKDLoss

if TYPE_CHECKING:
    from dynamic_kd.metrics.torchmetrics import SODMetric as SODMetric
    from dynamic_kd.metrics.torchmetrics import SODScore as SODScore

__all__ = [
    "DeepSupervision",
    "Distiller",
    "DynamicKDLoss",
    "SODMetric",
    "SODScore",
    "align_teacher",
    "fused_unavailable_reason",
]


def __getattr__(name: str) -> Any:
    if name not in ("SODMetric", "SODScore"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torchmetrics", extra="torchmetrics")
    from dynamic_kd.metrics import torchmetrics

    return getattr(torchmetrics, name)
