"""The loss as two CUDA kernels, forward and backward."""

from dynamic_kd.torch._fused._available import fused_unavailable_reason as fused_unavailable_reason
from dynamic_kd.torch._fused._loss import fused_dynamic_kd_loss as fused_dynamic_kd_loss
from dynamic_kd.torch._fused._loss import loss_and_terms as loss_and_terms
