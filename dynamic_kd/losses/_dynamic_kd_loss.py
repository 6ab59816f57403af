"""The loss as an object that remembers its settings; this class is their one owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dynamic_kd._array import Array, Namespace, array_namespace, is_concrete, is_readable, is_torch, stop_gradient
from dynamic_kd._checks import check_choice, check_flag, check_number, check_whole
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import Pixels, check_batch, pixels, refuse_lists, without_ignored
from dynamic_kd.losses._dynamic_kd_terms import DynamicKDTerms, terms_of
from dynamic_kd.losses._soft_iou import GRANULARITIES, Granularity
from dynamic_kd.losses._weighting import (
    THRESHOLDS,
    NoiseElimination,
    Weighting,
    check_noise_elimination,
    check_weighting,
)

REDUCTIONS = ("mean", "sum", "none")
TEACHERS = ("logits", "probabilities")
SMALLEST_CLIP = 2.0**-126  # float32's smallest normal number
CHECKS = ("auto", "off")
IMPLEMENTATIONS = ("auto", "eager", "fused")


@array_support(gradient=True, traced=True, gpu="kernels")
@dataclass(frozen=True, kw_only=True)
class DynamicKDLoss:
    r"""Dynamic knowledge distillation loss with noise elimination, for saliency maps.

    Each image weights its teacher by how right the teacher is and how wrong the student still is. A teacher whose map
    is unreliable gets a small constant weight instead (equations 1 to 6):

    .. math::
        L = \theta \, L_{KL} + (1 - \theta) \, L_{CE}, \qquad
        \theta = \begin{cases} \tanh(\alpha^p \beta^{1-p}) & \alpha > \text{noise threshold} \\
        \varepsilon & \text{otherwise} \end{cases}

    Call the object as ``loss(student_logits, teacher_logits, target, valid=None)``. It works on NumPy (value only),
    torch, JAX (``jit``, ``grad``, ``vmap``), CuPy and any other Array API library. The defaults are the paper's.

    Parameters
    ----------
    p : float
        Exponent of α in the weight, in [0, 1] (equation 3). With 1 the student's error does not count, with 0 only the
        student's error does. Used by the dynamic weighting alone.
    temperature : float
        T of the divergence, in [0.001, 1000000]. The soft IoU and the cross-entropy are taken at T = 1.
    weighting : {"dynamic", "a2dele", "none"}, float or function
        Where θ comes from: equation 3, ``exp(-70 · the teacher's cross-entropy)``, 0 for every image (cross-entropy
        alone), a number in [0, 1] for every image, or a function ``(teacher_iou, student_error, teacher_cross_entropy)
        -> weight`` of arrays (B,), or (B, H, W) at pixel granularity.
    noise_elimination : {"absolute", "relative"} or None
        Which teachers are unreliable and get the weight ε (equation 6), under any weighting but ``"none"``: those whose
        soft IoU α is at most ``noise_threshold``, or at most that share of the student's own soft IoU, 1 - β. The
        relative rule keeps a teacher that is as bad as the student, on a hard image. None keeps every teacher.
    noise_threshold : float, optional
        Threshold in [0, 1] of the noise elimination. None means 0.5 for ``"absolute"`` and 0.75 for ``"relative"``.
        The property ``threshold`` gives the number in use.
    noise_weight : float
        Weight ε of an unreliable teacher, in [0, 1] (equation 6).
    teacher : {"logits", "probabilities"}
        What the second argument holds. Probabilities are saliency maps in [0, 1] with one channel. α is the soft IoU of
        the map as it is, and so is A2dele's cross-entropy, with logarithms of at least -100 (as PyTorch's).
    clip : float
        For ``teacher="probabilities"``: the divergence takes the logit of the map limited to [clip, 1 - clip]. In
        (0, 0.5); half a grey level by default. Report it with every result (see `logits_from_probabilities`).
    granularity : {"image", "pixel"}
        One α, β and θ for each image, as in Algorithm 1, or for each pixel, equations 1 to 3 read literally. At pixel
        granularity only the foreground is distilled, because α is 0 at every background pixel.
    resize : {"bilinear"} or None
        Bring student and teacher, of any sizes, to the target's by bilinear interpolation (``align_corners=False``,
        antialiased where an axis shrinks), maps as probabilities. None requires equal sizes.
    temperature_squared : bool
        Whether to multiply the divergence by T². At T = 5 this multiplies its gradient by 25.
    detach_weight : bool
        Whether θ is a constant for the gradient. With False the gradient also flows through β.
    reduction : {"mean", "sum", "none"}
        Over images. The mean counts the images with at least one valid pixel, and is 0 if there are none.
    ignore_index : int, optional
        The label of unknown pixels in integer targets, such as 255. They count as ``valid`` = 0. A label that the
        target's dtype cannot hold matches no pixel.
    check : {"auto", "off"}
        Whether values are looked at: targets and maps outside [0, 1], logits that are saliency maps. ``"auto"`` looks
        in every call on the CPU, and in the first one of this object on a GPU, which waits for the device once. It
        looks at nothing inside ``torch.compile``, ``jit`` and the capture of a CUDA graph.
    impl : {"auto", "eager", "fused"}
        ``"fused"`` takes two CUDA kernels, for torch tensors on an NVIDIA GPU with Triton; ``"eager"`` takes array
        operations; ``"auto"`` takes the kernels where they apply. `dynamic_kd.torch.fused_unavailable_reason` says why
        they do not.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or lies outside its range.

    Notes
    -----
    The result is float32 for half-precision logits and otherwise has their dtype; sums are taken in float32 or wider.
    NaN logits propagate instead of raising, because mixed-precision training produces them and its gradient scaler
    looks for them. NaN at an invalid pixel has no effect.

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
    >>> loss.with_terms(student, teacher, mask)[1].weight.round(4)
    array([0.641])
    """

    p: float = 0.7
    temperature: float = 5.0
    weighting: Weighting = "dynamic"
    noise_elimination: NoiseElimination = "absolute"
    noise_threshold: float | None = None
    noise_weight: float = 0.01
    teacher: Literal["logits", "probabilities"] = "logits"
    clip: float = 0.5 / 255
    granularity: Granularity = "image"
    resize: Literal["bilinear"] | None = None
    temperature_squared: bool = True
    detach_weight: bool = True
    reduction: Literal["mean", "sum", "none"] = "mean"
    ignore_index: int | None = None
    check: Literal["auto", "off"] = "auto"
    impl: Literal["auto", "eager", "fused"] = "auto"

    # Not a setting: the settings as the kernels take them. Set on every object.
    _json: ClassVar[str]
    # Whether values on an accelerator have been looked at.
    _looked: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_number("p", self.p, low=0, high=1)
        check_number("temperature", self.temperature, low=1e-3, high=1e6)
        check_weighting(self.weighting)
        check_noise_elimination(self.noise_elimination, self.noise_threshold)
        check_number("noise_weight", self.noise_weight, low=0, high=1)
        check_choice("teacher", self.teacher, TEACHERS)
        check_number("clip", self.clip, low=SMALLEST_CLIP, high=0.5, exclusive_high=True)
        check_choice("granularity", self.granularity, GRANULARITIES)
        if self.resize is not None:
            check_choice("resize (or None)", self.resize, ("bilinear",))
        check_flag("temperature_squared", self.temperature_squared)
        check_flag("detach_weight", self.detach_weight)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_whole("ignore_index", self.ignore_index, optional=True)
        check_choice("check", self.check, CHECKS)
        check_choice("impl", self.impl, IMPLEMENTATIONS)
        object.__setattr__(self, "_json", as_json(self))

    @property
    def threshold(self) -> float:
        """Threshold in use: ``noise_threshold``, or its default for this noise elimination."""
        if self.noise_threshold is not None:
            return self.noise_threshold
        return THRESHOLDS[self.noise_elimination or "absolute"]

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
            gradient. With ``teacher="probabilities"`` the second argument holds saliency maps in [0, 1], shape
            (B, 1, H, W) or (B, H, W).
        target : array, shape (B, 1, H, W) or (B, H, W)
            Ground truth in [0, 1]: booleans, integers 0 and 1 (and ``ignore_index``), or soft values.
        valid : array, shape (B, 1, H, W) or (B, H, W), optional
            1 where a pixel counts, 0 where it does not. What an invalid pixel holds (NaN, 255) changes neither value
            nor gradient. By default all pixels count.
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
            If shapes or devices differ, or the teacher requires a gradient; where values are looked at (see ``check``),
            if a target or a teacher's map lies outside [0, 1] or ``valid`` holds anything but 0 and 1; with
            ``impl="fused"``, if the kernels do not take the inputs or settings.

        Warns
        -----
        UserWarning
            If logits look like saliency maps: all in [0, 1], two channels that sum to 1, or a teacher's of 0 to 255.
            Where values are looked at, and images have at least 256 pixels.
        """
        if self.ignore_index is not None:
            xp = array_namespace(student_logits, target, valid) if xp is None else xp
            valid = without_ignored(target, valid, self.ignore_index, xp)
        fused = self._fused(student_logits, teacher_logits, target, valid)
        if fused is not None:
            return fused[0]
        return self._eager(student_logits, teacher_logits, target, valid, xp)[0]

    def with_terms(
        self,
        student_logits: Array,
        teacher_logits: Array,
        target: Array,
        valid: Array | None = None,
        *,
        xp: Namespace | None = None,
    ) -> tuple[Array, DynamicKDTerms]:
        """Loss of a batch, and what it consists of, image by image.

        Both come from one pass. Arguments, errors and warnings are those of a call. Only the loss carries a gradient:
        the terms are constants, for logging.

        Returns
        -------
        loss : array, shape () or, with reduction "none", (B,)
            The loss, as a call returns it.
        terms : DynamicKDTerms
            ``teacher_iou, student_error, weight, reliable, kl, ce, loss``, each (B,). At pixel granularity the first
            four are maps (B, H, W), in which an invalid pixel reads as background (α = 0, β = 1).

        Examples
        --------
        >>> import numpy as np
        >>> mask = np.array([[[1, 1], [0, 0]]])
        >>> loss, terms = DynamicKDLoss(temperature=2.0).with_terms(np.zeros((1, 2, 2)), 8.0 * mask - 4.0, mask)
        >>> terms.teacher_iou.round(3), terms.student_error.round(3), terms.reliable
        (array([0.965]), array([0.667]), array([ True]))
        >>> bool(loss == terms.weight * terms.kl + (1 - terms.weight) * terms.ce)
        True
        """
        if self.ignore_index is not None:
            xp = array_namespace(student_logits, target, valid) if xp is None else xp
            valid = without_ignored(target, valid, self.ignore_index, xp)
        fused = self._fused(student_logits, teacher_logits, target, valid)
        if fused is not None:
            from dynamic_kd.torch import _fused

            loss, packed = fused
            return loss, _fused.unpacked_terms(packed, student_logits.shape[0])
        loss, terms = self._eager(student_logits, teacher_logits, target, valid, xp)
        return loss, DynamicKDTerms(*[stop_gradient(term) for term in terms])

    def _eager(
        self, student_logits: Array, teacher_logits: Array, target: Array, valid: Array | None, xp: Namespace | None
    ) -> tuple[Array, DynamicKDTerms]:
        """Return the loss and its terms by array operations."""
        refuse_lists(student_logits=student_logits, teacher_logits=teacher_logits)
        xp = array_namespace(student_logits, teacher_logits, target, valid) if xp is None else xp
        inputs = self._pixels(student_logits, teacher_logits, target, valid, xp)
        terms = terms_of(inputs, self, xp)
        return reduced(terms.loss, inputs.valid, self.reduction, xp), terms

    def _pixels(
        self, student_logits: Array, teacher_logits: Array, target: Array, valid: Array | None, xp: Namespace
    ) -> Pixels:
        """Return the canonical inputs, after the checks that are due."""
        # What is traced asks for nothing that changes, or compiled programs would be made anew when it does.
        first = not is_concrete(student_logits) and is_readable(student_logits) and not self._looked
        reads = _reads_nothing if self.check == "off" else is_readable if first else is_concrete
        inputs = pixels(student_logits, teacher_logits, target, valid, self, xp, reads)
        if first:
            object.__setattr__(self, "_looked", True)
        return inputs

    def _fused(
        self, student_logits: Array, teacher_logits: Array, target: Array, valid: Array | None
    ) -> tuple[Array, Array] | None:
        """Return the loss and its packed terms by the CUDA kernels, or None where array operations are to be used."""
        required = self.impl == "fused"
        if not required and (self.impl == "eager" or not (is_torch(student_logits) and student_logits.is_cuda)):
            return None
        if is_torch(student_logits):
            from dynamic_kd.torch import _fused

            inputs = (student_logits, teacher_logits, target, valid)
            result = _fused.loss_and_packed_terms(inputs, self, self._json, check_batch)
        else:
            result = "the kernels take torch tensors"
        if not isinstance(result, str):
            if not (_fused.is_compiling() or self._looked) and is_readable(student_logits):
                xp = array_namespace(student_logits)
                self._pixels(stop_gradient(student_logits), teacher_logits, target, valid, xp)
            return result
        if required:
            raise ValueError(f"impl: 'fused' is not available: {result}; use impl='auto'")
        return None


def _reads_nothing(array: Array) -> bool:
    return False


def as_json(loss: DynamicKDLoss) -> str:
    """Return the settings that the kernels know, as JSON; empty with a function as the weighting.

    A compiled program keeps this text as a constant. It is put together by hand because ``torch.compile``, which traces
    this where a loss is made inside of a compiled function, does not trace the module json.
    """
    if callable(loss.weighting):
        return ""
    weighting = f'"{loss.weighting}"' if isinstance(loss.weighting, str) else str(float(loss.weighting))
    settings = {
        "p": str(float(loss.p)),
        "temperature": str(float(loss.temperature)),
        "weighting": weighting,
        "noise_elimination": f'"{loss.noise_elimination}"' if loss.noise_elimination else "null",
        "noise_threshold": str(float(loss.threshold)),
        "noise_weight": str(float(loss.noise_weight)),
        "teacher": f'"{loss.teacher}"',
        "clip": str(float(loss.clip)),
        "resize": '"bilinear"' if loss.resize else "null",
        "temperature_squared": "true" if loss.temperature_squared else "false",
        "reduction": f'"{loss.reduction}"',
    }
    return "{" + ", ".join([f'"{name}": {value}' for name, value in settings.items()]) + "}"


def reduced(loss: Array, valid: Array | None, reduction: str, xp: Namespace) -> Array:
    """Return the losses of images, (B,), reduced over the images that have a valid pixel."""
    if reduction == "none":
        return loss
    if reduction == "mean" and valid is None:
        return xp.mean(loss)
    total = xp.sum(loss)
    if reduction == "sum":
        return total
    images = xp.sum(xp.astype(xp.any(valid, axis=(1, 2)), loss.dtype))
    return total / xp.maximum(images, xp.ones_like(images))
