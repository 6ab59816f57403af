"""The library as torch users expect it: modules and helpers on tensors."""

from dynamic_kd._extras import require

require("torch", extra="torch")

from dynamic_kd.torch._align import align_teacher as align_teacher
from dynamic_kd.torch._loss import DynamicKDLoss as DynamicKDLoss
