"""The only module that depends on the array library of a value."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any

import array_api_compat as compat
import numpy as np

Array = Any
Namespace = Any

# Usually torch is imported first. Then torch.compile, which traces `is_torch`, need not guard the table of modules.
_TORCH = sys.modules.get("torch")


def array_namespace(*arrays: Array) -> Namespace:
    """Return the Array API namespace of the arrays (``None`` is skipped). A mixture raises a ``TypeError``."""
    present = [array for array in arrays if array is not None]
    if present and all(is_torch(array) for array in present):
        from array_api_compat import torch  # torch.compile warns of the look-up below

        return torch
    for array in present:
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError("expected a plain array, got a masked one; fill it, and pass the mask as valid=")
        if not compat.is_array_api_obj(array):
            raise TypeError(
                f"expected arrays (NumPy, torch, JAX, CuPy or another Array API library), got "
                f"{type(array).__module__}.{type(array).__qualname__}; convert it, for example with numpy.asarray"
            )
    try:
        return compat.array_namespace(*present)
    except TypeError:
        kinds = sorted({f"{type(array).__module__}.{type(array).__qualname__}" for array in present})
        raise TypeError(
            f"expected all arrays from one library, got {' and '.join(kinds)}; convert them to the same one"
        ) from None


def library(array: Array) -> str:
    """Return the name of the library an array belongs to, such as ``"numpy"``, ``"torch"`` or ``"jax"``."""
    return str(type(array).__module__.partition(".")[0].replace("jaxlib", "jax"))


def is_torch(array: Array) -> bool:
    """Whether the array is a torch tensor."""
    torch = _TORCH or sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def device_of(array: Array) -> Any:
    """Return the device for new arrays beside ``array``; ``None`` where the library chooses it (JAX)."""
    if is_torch(array):
        return array.device
    return None if compat.is_jax_array(array) else compat.device(array)


def check_device(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise unless two arrays are on one device."""
    device, other_device = device_of(array), device_of(other)
    if device != other_device:
        raise ValueError(
            f"{name}: expected the device of {other_name}, {other_device}, got {device}; move one to the other"
        )


def stop_gradient(array: Array) -> Array:
    """Return the same values as a constant for automatic differentiation."""
    if is_torch(array):
        return array.detach()
    if compat.is_jax_array(array):
        import jax

        return jax.lax.stop_gradient(array)
    return array


def requires_grad(array: Array) -> bool:
    """Whether a gradient would flow into the array; known for torch only, elsewhere False."""
    return bool(is_torch(array) and array.requires_grad)


def is_traced(array: Array) -> bool:
    """Whether results of the array have no values yet, as in tracing, compiling and function transforms."""
    if is_torch(array):
        import torch

        return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(array)
    if compat.is_jax_array(array):
        import jax

        return isinstance(array, jax.core.Tracer) or isinstance(_jax_constant()(), jax.core.Tracer)
    return False


@cache
def _jax_constant() -> Any:
    """Return a function whose result is traced wherever JAX traces; there, results of constants are traced too."""
    import jax

    return jax.jit(lambda: False)


def is_concrete(array: Array) -> bool:
    """Whether values can be read without waiting: not traced, and in CPU memory."""
    if is_traced(array) or compat.is_cupy_array(array) or _is_fake(array):
        return False
    if is_torch(array):
        return bool(array.device.type == "cpu")
    return not compat.is_jax_array(array) or all(d.platform == "cpu" for d in array.devices())


def is_readable(array: Array) -> bool:
    """Whether values can be read, after waiting for an accelerator: not traced, and outside the capture of a graph."""
    if is_traced(array) or _is_fake(array):
        return False
    if is_torch(array) and array.device.type == "cuda":
        import torch

        return not torch.cuda.is_current_stream_capturing()
    return not (is_torch(array) and array.device.type == "meta")


def _is_fake(array: Array) -> bool:
    """Whether the array is one of torch's tensors that have a shape and a device, but no values."""
    if not is_torch(array):
        return False
    import torch

    return isinstance(array, torch._subclasses.FakeTensor)


def runs_triton(array: Array) -> bool:
    """Whether Triton kernels can read the array: a torch tensor on a GPU, or on the CPU under Triton's interpreter."""
    if not is_torch(array) or is_traced(array) or array.is_sparse:
        return False
    kind = array.device.type
    return (kind == "cuda" or (kind == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")) and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def accumulation_dtype(xp: Namespace, *arrays: Array) -> Any:
    """Return the dtype to compute in: the arrays' common floating dtype, but at least float32."""
    dtype = xp.float32
    for array in arrays:  # torch.compile does not trace result_type
        if xp.finfo(array.dtype).bits > xp.finfo(dtype).bits:
            dtype = array.dtype
    return dtype


def unit_tolerance(xp: Namespace, dtype: Any) -> float:
    """Return how far beyond [0, 1] a floating value counts as rounded there: four units in the last place of 1.

    Resizing with antialiasing and weighted means of maps leave up to three.
    """
    return 4 * float(xp.finfo(dtype).eps)


def widest_float(xp: Namespace, array: Array) -> Any:
    """Return float64 where the array's library and device support it, otherwise float32 (MPS, JAX without x64)."""
    if compat.is_jax_array(array):
        return xp.float64 if xp.asarray(np.float64(0)).dtype == xp.float64 else xp.float32
    on_mps = is_torch(array) and array.device.type == "mps"
    return xp.float32 if on_mps else xp.float64


def as_numpy(array: Array) -> np.ndarray[Any, Any] | None:
    """Return an array in CPU memory as NumPy's, without a copy if possible; None for any other array."""
    if isinstance(array, np.ndarray):
        return np.asarray(array)
    if compat.is_jax_array(array) and is_concrete(array):
        return _widened(np.asarray(array))
    if is_torch(array) and is_concrete(array) and not array.is_sparse:
        plain = array.detach().resolve_neg()
        if plain.dtype.itemsize == 2 and plain.dtype.is_floating_point:
            plain = plain.float()  # NumPy has no bfloat16; float16 widens exactly
        return np.asarray(plain.numpy())
    return None


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Return a NumPy copy or view of an array on any device, floats of 16 bits as 32."""
    values = as_numpy(array.cpu() if is_torch(array) else array)
    if values is None:
        values = np.asarray(array.get() if compat.is_cupy_array(array) else array)
    return _widened(values)


def _widened(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bfloat16, which NumPy does not have, as float32."""
    return values.astype(np.float32) if values.dtype.kind == "V" else values


def from_numpy(values: np.ndarray[Any, Any], like: Array) -> Array:
    """Return NumPy results in the library of ``like`` (the counterpart of `as_numpy`)."""
    if isinstance(like, np.ndarray):
        return values[()] if values.ndim == 0 else values
    if compat.is_jax_array(like):
        import jax

        return jax.numpy.asarray(values)
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
