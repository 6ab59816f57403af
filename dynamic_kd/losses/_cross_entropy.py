"""The second loss of equation 5: the cross-entropy with the ground truth."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, accumulation_dtype, array_namespace
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_floating, check_maps, check_plane, margin, unit_map
from dynamic_kd.losses._sigmoid import softplus

LEAST_LOG = -100.0


@array_support(gradient=True, traced=True, gpu="operations")
def cross_entropy(logits: Array, target: Array, *, xp: Namespace | None = None) -> Array:
    r"""Cross-entropy of a saliency map with its target, pixel by pixel.

    With P = σ(z), as in equation 5:

    .. math:: L_{CE} = -G \log P - (1 - G) \log(1 - P)

    Parameters
    ----------
    logits : array, shape (B, 1, H, W), (B, H, W) or (B, 2, H, W)
        Logits z, floating point; of two channels the second is the salient one, and z is its margin over the first.
    target : array, shape (B, 1, H, W) or (B, H, W)
        Ground truth G in [0, 1]: booleans, integers 0 and 1, or soft values.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, shape (B, H, W)
        The cross-entropy in nats; float32 for half logits, else their dtype.

    Raises
    ------
    TypeError
        If the logits are not floating point or the arrays come from different libraries.
    ValueError
        If shapes or devices differ or, on the CPU and outside tracing, a target lies outside [0, 1].

    Notes
    -----
    The gradient by the logit is P - G. NaN logits propagate.

    Examples
    --------
    >>> import numpy as np
    >>> cross_entropy(np.array([[[0.0, 4.0, -4.0]]]), np.array([[[1, 1, 1]]])).round(4)
    array([[[0.6931, 0.0181, 4.0181]]])
    """
    xp = array_namespace(logits, target) if xp is None else xp
    check_floating("logits", logits, xp)
    check_plane("logits", logits, channels=(1, 2))
    check_maps("logits", logits, target=target, valid=None)
    dtype = accumulation_dtype(xp, logits)
    return bernoulli_cross_entropy(margin(logits, None, dtype, xp), unit_map("target", target, None, dtype, xp), xp)


def bernoulli_cross_entropy(logits: Array, target: Array, xp: Namespace) -> Array:
    """Return the cross-entropy for margins and targets (B, H, W), accurate where a right answer is saturated.

    For G ≥ 1/2 it is (1 - G) z + softplus(-z). Otherwise logit and target are mirrored first.
    """
    mirrored = target < 0.5
    z = xp.where(mirrored, -logits, logits)
    remainder = xp.where(mirrored, target, 1 - target)
    return remainder * z + softplus(-z, xp)


def map_cross_entropy(maps: Array, target: Array, xp: Namespace) -> Array:
    """Return the cross-entropy for maps in [0, 1] and targets, (B, H, W).

    Logarithms are at least -100, as in PyTorch's ``binary_cross_entropy``.
    """
    least = xp.full_like(maps, LEAST_LOG)
    some, rest = maps != 0, maps != 1
    # The inner `where` keeps log away from 0, of which NumPy warns.
    log_salient = xp.where(some, xp.maximum(xp.log(xp.where(some, maps, xp.ones_like(maps))), least), least)
    log_background = xp.where(rest, xp.maximum(xp.log1p(xp.where(rest, -maps, xp.zeros_like(maps))), least), least)
    return -target * log_salient - (1 - target) * log_background
