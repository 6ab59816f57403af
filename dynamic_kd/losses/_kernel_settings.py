"""The loss's settings as the fused kernels take them: one object, and one string that compilers can carry."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss


class KernelSettings(NamedTuple):
    """Settings of the fused kernels; ``weighting`` is "fixed" for a number, which is then ``fixed_weight``."""

    weighting: str
    fixed_weight: float
    p: float
    noise_elimination: str
    noise_threshold: float
    noise_weight: float
    temperature: float
    temperature_squared: bool
    reduction: str

    @property
    def kl_scale(self) -> float:
        """Factor of the divergence."""
        return self.temperature**2 if self.temperature_squared else 1.0

    @property
    def power(self) -> int:
        """Temperature, if a product of that many exponentials is cheaper than another exponential; else 0."""
        whole = self.temperature.is_integer() and 1 <= self.temperature <= 8
        return int(self.temperature) if whole else 0


def encoded(loss: DynamicKDLoss) -> str:
    """Return a loss's kernel settings as words, which ``torch.compile`` keeps as a constant of its program."""
    named = isinstance(loss.weighting, str)
    weighting = str(loss.weighting) if named else "function" if callable(loss.weighting) else "fixed"
    words = (
        weighting,
        float(loss.weighting) if weighting == "fixed" else 0.0,  # type: ignore[arg-type]
        float(loss.p),
        loss.noise_elimination or "none",
        float(loss.threshold),
        float(loss.noise_weight),
        float(loss.temperature),
        int(loss.temperature_squared),
        loss.reduction,
    )
    return " ".join([str(word) for word in words])


@cache
def decoded(words: str) -> KernelSettings:
    """Return the settings that `encoded` made words of."""
    weighting, fixed_weight, p, noise_elimination, threshold, noise_weight, temperature, squared, reduction = (
        words.split()
    )
    return KernelSettings(
        weighting=weighting,
        fixed_weight=float(fixed_weight),
        p=float(p),
        noise_elimination=noise_elimination,
        noise_threshold=float(threshold),
        noise_weight=float(noise_weight),
        temperature=float(temperature),
        temperature_squared=squared == "1",
        reduction=reduction,
    )
