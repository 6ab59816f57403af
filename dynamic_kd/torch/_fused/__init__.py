"""The loss as two CUDA kernels, forward and backward."""

from torch.compiler import is_compiling as is_compiling

from dynamic_kd.torch._fused._available import fused_unavailable_reason as fused_unavailable_reason
from dynamic_kd.torch._fused._op import loss_and_packed_terms as loss_and_packed_terms
from dynamic_kd.torch._fused._op import unpacked_terms as unpacked_terms
