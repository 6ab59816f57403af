"""The loss as an object that remembers its settings; this class is their one owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dynamic_kd._array import Array, Namespace, array_namespace
from dynamic_kd._checks import check_choice, check_flag, check_number
from dynamic_kd._support import array_support
from dynamic_kd.losses._dispatch import fused_loss
from dynamic_kd.losses._dynamic_kd_terms import DynamicKDTerms, terms_of
from dynamic_kd.losses._inputs import pixels
from dynamic_kd.losses._mix import MIXES, Mix
from dynamic_kd.losses._soft_iou import GRANULARITIES, Granularity
from dynamic_kd.losses._weighting import NoiseElimination, Weighting, check_weighting

REDUCTIONS = ("mean", "sum", "none")
IMPLEMENTATIONS = ("auto", "eager", "fused")


@array_support(gradient=True, traced=True, gpu="kernels")
@dataclass(frozen=True, kw_only=True)
class DynamicKDLoss:
    r"""Dynamic knowledge distillation loss with noise elimination, for saliency maps.

    Each image weighs its teacher by how right the teacher is and how wrong the student still is, and drops a teacher
    that is not to be trusted (equations 1 to 6):

    .. math::
        L = \theta \, L_{KL} + (1 - \theta) \, L_{CE}, \qquad
        \theta = \begin{cases} \tanh(\alpha^p \beta^{1-p}) & \alpha > \text{noise threshold} \\
        \varepsilon & \text{otherwise} \end{cases}

    The object is called as ``loss(student_logits, teacher_logits, target, valid=None)``. It works on NumPy (value
    only), torch, JAX (``jit``, ``grad``, ``vmap``), CuPy and any other Array API library.

    Parameters
    ----------
    p : float
        Share of the teacher in the weight, in [0, 1] (equation 3).
    temperature : float
        T of the divergence, in [0.001, 1000000]; the soft IoU and the cross-entropy are taken at 1.
    noise_threshold : float
        In [0, 1]; a teacher counts only if its soft IoU exceeds it (equation 6).
    noise_weight : float
        Weight ε in [0, 1] of a teacher that does not (equation 6).
    noise_ratio : float
        In [0, 1]; with ``noise_elimination="relative"`` a teacher counts only if its soft IoU exceeds so much of the
        student's own, 1 - β.
    weighting : str, float or function
        Where θ comes from, for ablations: ``"dynamic"`` (equations 3 and 6), ``"dynamic_no_threshold"``
        (equation 3 alone), ``"a2dele"`` (exp(-70 · the teacher's cross-entropy), the adaptive weight of A2dele, here
        taken per image), ``"none"`` (θ = 0: cross-entropy alone), a number in [0, 1] (the same for every image), or a
        function ``(teacher_iou, student_error, teacher_cross_entropy) -> weight`` of arrays (B,), or (B, H, W) at
        pixel granularity.
    noise_elimination : bool or "relative", optional
        Whether a teacher at or under the threshold gets the weight ε (equation 6). By default that is so with
        ``"dynamic"`` alone; True adds it to a number, to ``"a2dele"`` or to a function. ``"relative"`` compares the
        teacher with the student instead of with a number: where both are bad, the image is hard and the teacher still
        worth hearing; where the teacher alone is bad, its map is wrong. On bad inputs
        that the teacher has itself learnt from it may be better than its student, and is then kept.
    mix : {"convex", "additive", "matched"}
        How the two losses make one: ``"convex"`` is equation 5, ``"additive"`` is θ L_KL + L_CE, and ``"matched"`` is
        equation 5 with the divergence scaled, image by image, so that its gradient is as large as the
        cross-entropy's (mean magnitudes over pixels), whatever the temperature.
    granularity : {"image", "pixel"}
        One α, β and θ for each image, as in Algorithm 1, or for each pixel, equations 1 to 3 read literally. The
        latter distils the foreground only: α is 0 at every background pixel.
    temperature_squared : bool
        Whether the divergence is multiplied by T². This changes its gradient's scale by 25 at T = 5.
    detach_weight : bool
        Whether θ is a constant for the gradient. With False the gradient also flows through β.
    reduction : {"mean", "sum", "none"}
        Over images. The mean is over the images with at least one valid pixel, and 0 without any.
    impl : {"auto", "eager", "fused"}
        How it is computed: ``"fused"`` by two CUDA kernels, which take torch tensors on an NVIDIA GPU and need
        Triton; ``"eager"`` by plain array operations; ``"auto"`` fused where that is possible
        (`dynamic_kd.torch.fused_unavailable_reason` says why it is not).

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or lies outside its range.

    Notes
    -----
    The result is float32 for half-precision logits and otherwise has their dtype; sums are taken in float32 or wider.
    NaN logits are not refused (mixed-precision training meets them, and its gradient scaler looks for them): they
    propagate, except at invalid pixels.

    References
    ----------
    Ren, Yu, Liu, Stathaki, *Dynamic Knowledge Distillation With Noise Elimination for RGB-D Salient Object
    Detection*.

    Examples
    --------
    >>> import numpy as np
    >>> student = np.array([[[[2.0, -1.0], [-3.0, -3.0]]]])
    >>> teacher = np.array([[[[4.0, 3.0], [-4.0, -4.0]]]])
    >>> mask = np.array([[[[1, 1], [0, 0]]]])
    >>> loss = DynamicKDLoss(temperature=5.0)
    >>> float(loss(student, teacher, mask).round(4))
    0.554
    >>> loss.terms(student, teacher, mask).weight.round(4)
    array([0.641])
    """

    p: float = 0.7
    temperature: float = 5.0
    noise_threshold: float = 0.5
    noise_weight: float = 0.01
    noise_ratio: float = 0.75
    weighting: Weighting = "dynamic"
    noise_elimination: NoiseElimination = None
    mix: Mix = "convex"
    granularity: Granularity = "image"
    temperature_squared: bool = True
    detach_weight: bool = True
    reduction: Literal["mean", "sum", "none"] = "mean"
    impl: Literal["auto", "eager", "fused"] = "auto"

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("p", "noise_threshold", "noise_weight", "noise_ratio"):
            check_number(name, getattr(self, name), low=0, high=1)
        check_number("temperature", self.temperature, low=1e-3, high=1e6)
        check_weighting(self.weighting, self.noise_elimination)
        check_choice("mix", self.mix, MIXES)
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_flag("temperature_squared", self.temperature_squared)
        check_flag("detach_weight", self.detach_weight)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("impl", self.impl, IMPLEMENTATIONS)

    def __call__(
        self,
        student_logits: Array,
        teacher_logits: Array,
        target: Array,
        valid: Array | None = None,
        *,
        xp: Namespace | None = None,
    ) -> Array:
        """Loss of a batch.

        Parameters
        ----------
        student_logits, teacher_logits : array, shape (B, 1, H, W), (B, H, W) or (B, 2, H, W)
            Logits, floating point; of two channels the second is the salient one. The teacher's must not require a
            gradient. Where the teacher is a saved map, see `logits_from_probabilities`.
        target : array, shape (B, 1, H, W) or (B, H, W)
            Ground truth in [0, 1]: booleans, integers 0 and 1, or soft values.
        valid : array, shape (B, 1, H, W) or (B, H, W), optional
            1 where a pixel counts, 0 where it does not; whatever an ignored pixel holds (NaN, 255), it changes neither
            value nor gradient. By default all count.
        xp : module, optional
            Array namespace; inferred by default.

        Returns
        -------
        array, shape () or, with reduction "none", (B,)
            The loss; 0 for an image without valid pixels.

        Raises
        ------
        TypeError
            If logits are not floating point or the arrays come from different libraries.
        ValueError
            If shapes or devices differ, the teacher requires a gradient or, on the CPU and outside tracing, a target
            lies outside [0, 1] or ``valid`` holds anything but 0 and 1; if ``impl="fused"`` cannot be had.

        Warns
        -----
        UserWarning
            If all of the teacher's values lie in [0, 1], as those of saliency maps do; on the CPU and outside tracing.
        """
        if self.impl != "eager":
            fused = fused_loss(self, student_logits, teacher_logits, target, valid)
            if fused is not None:
                return fused
        xp = array_namespace(student_logits, teacher_logits, target, valid) if xp is None else xp
        inputs = pixels(student_logits, teacher_logits, target, valid, xp)
        loss = terms_of(inputs, self, xp).loss
        if self.reduction == "none":
            return loss
        if self.reduction == "mean" and inputs.valid is None:
            return xp.mean(loss)
        total = xp.sum(loss)
        if self.reduction == "sum":
            return total
        images = xp.sum(xp.astype(xp.any(inputs.valid, axis=(1, 2)), loss.dtype))
        return total / xp.maximum(images, xp.ones_like(images))

    def terms(
        self,
        student_logits: Array,
        teacher_logits: Array,
        target: Array,
        valid: Array | None = None,
        *,
        xp: Namespace | None = None,
    ) -> DynamicKDTerms:
        """Everything the loss consists of, image by image; the arguments are those of a call."""
        xp = array_namespace(student_logits, teacher_logits, target, valid) if xp is None else xp
        return terms_of(pixels(student_logits, teacher_logits, target, valid, xp), self, xp)


@array_support(gradient=True, traced=True, gpu="operations")
def dynamic_kd_terms(
    student_logits: Array,
    teacher_logits: Array,
    target: Array,
    valid: Array | None = None,
    *,
    xp: Namespace | None = None,
    **settings: Any,
) -> DynamicKDTerms:
    """Everything the dynamic distillation loss consists of, image by image, for logging or for a loss of one's own.

    Parameters
    ----------
    student_logits, teacher_logits, target, valid, xp
        As in a call of `DynamicKDLoss`.
    **settings
        As in `DynamicKDLoss`, but for ``reduction``: nothing is reduced here.

    Returns
    -------
    DynamicKDTerms
        ``teacher_iou, student_error, weight, reliable, kl, ce, loss``; at image granularity and with the convex mix
        ``loss == weight * kl + (1 - weight) * ce``.

    Raises
    ------
    TypeError, ValueError
        As `DynamicKDLoss`.

    Notes
    -----
    At pixel granularity the first four are maps, in which an invalid pixel reads as background (α = 0, β = 1).

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.array([[[1, 1], [0, 0]]])
    >>> terms = dynamic_kd_terms(np.zeros((1, 2, 2)), 8.0 * mask - 4.0, mask, temperature=2.0)
    >>> terms.teacher_iou.round(3), terms.student_error.round(3), terms.reliable
    (array([0.965]), array([0.667]), array([ True]))
    """
    if "reduction" in settings:
        raise TypeError("reduction: expected none, because terms are given image by image; use DynamicKDLoss")
    return DynamicKDLoss(**settings).terms(student_logits, teacher_logits, target, valid, xp=xp)
