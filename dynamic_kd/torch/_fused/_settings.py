"""Settings of the loss as the kernels take them, and how many numbers they keep."""

from __future__ import annotations

from typing import NamedTuple

# Sums of an image's pixels: teacher, its overlap, the student's errors P (1 - G) + (1 - P) G, its overlap, target,
# divergence, cross-entropy, the teacher's cross-entropy, valid pixels.
SUMS = 9
# What is kept of an image: the terms, one over its pixels, and whether it has any. After all images' comes one over
# what the reduction divides by.
TERMS = 9


class Settings(NamedTuple):
    """Settings of the loss as the kernels take them; where noise is relative, the threshold is the ratio."""

    p: float
    temperature: float
    noise_threshold: float
    noise_weight: float
    weighting: str
    fixed: float
    eliminates: bool
    relative: bool
    temperature_squared: bool
    reduction: str

    @property
    def kl_scale(self) -> float:
        """What the divergence is multiplied with."""
        return self.temperature**2 if self.temperature_squared else 1.0

    @property
    def power(self) -> int:
        """Temperature, if a product of as many exponentials is cheaper than another exponential."""
        whole = float(self.temperature).is_integer() and 1 <= self.temperature <= 8
        return int(self.temperature) if whole else 0
