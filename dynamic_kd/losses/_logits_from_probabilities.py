"""Teachers given as saliency maps."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, accumulation_dtype, array_namespace
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_unit_range


@array_support(gradient=True, traced=True, gpu="operations")
def logits_from_probabilities(maps: Array, *, clip: float = 0.5 / 255, xp: Namespace | None = None) -> Array:
    r"""Logits of saliency maps, so that saved maps can be the teacher.

    .. math:: z = \log\frac{m}{1 - m}, \qquad m = \min(\max(P, c), 1 - c)

    Parameters
    ----------
    maps : array, any shape
        Saliency P: floating point in [0, 1], or unsigned 8-bit integers 0 to 255 (divided by 255).
    clip : float
        Smallest distance c from 0 and 1, in (0, 0.5); half a grey level by default. Report it with every result: most
        pixels of a good teacher are exactly 0 or 255, and the clip sets what they teach. At T = 5 a 255 becomes .78
        with the default, .80 with 1e-3 and .94 with 1e-6.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, same shape
        Logits, finite; float32 for 8-bit and half-precision maps, else the maps' dtype.

    Raises
    ------
    TypeError
        If the maps are neither floating point nor unsigned 8-bit.
    ValueError
        If ``clip`` lies outside (0, 0.5) or, on the CPU and outside tracing, a value outside [0, 1].

    Notes
    -----
    Resize and rotate maps before this, as probabilities, never as logits. `DynamicKDLoss` takes maps as they are, by
    ``teacher="probabilities"``; it sees the clip in the divergence alone, and not in the teacher's confidence α.

    Examples
    --------
    >>> import numpy as np
    >>> logits_from_probabilities(np.array([0, 128, 255], dtype=np.uint8)).round(3)
    array([-6.232,  0.008,  6.232], dtype=float32)
    """
    check_number("clip", clip, low=0, high=0.5, exclusive_low=True, exclusive_high=True)
    xp = array_namespace(maps) if xp is None else xp
    if maps.dtype == xp.uint8:
        probabilities = xp.astype(maps, xp.float32) / 255
    elif xp.isdtype(maps.dtype, "real floating"):
        probabilities = xp.astype(maps, accumulation_dtype(xp, maps))
        check_unit_range("maps", probabilities, xp)
    else:
        raise TypeError(f"maps: expected floating point in [0, 1] or uint8 in 0-255, got {maps.dtype}; cast them")
    least = float(xp.finfo(probabilities.dtype).smallest_normal)
    if clip < least:
        raise ValueError(f"clip: expected at least {least:.3g} for {probabilities.dtype} maps, got {clip!r}")
    return clipped_logit(probabilities, clip, xp)


def clipped_logit(probabilities: Array, clip: float, xp: Namespace) -> Array:
    """Return the logit of probabilities limited to [clip, 1 - clip].

    The complement is clipped separately: for a tiny clip 1 - c rounds to 1, whose complement would be 0.
    """
    salient, background = (xp.clip(m, clip, 1 - clip) for m in (probabilities, 1 - probabilities))
    return xp.log(salient) - xp.log(background)
