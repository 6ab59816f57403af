"""The settings of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dynamic_kd._checks import check_number
from dynamic_kd.losses import DynamicKDLoss

if TYPE_CHECKING:
    from dynamic_kd.losses._weighting import Weighting


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How teacher and students are trained; checked when it is made.

    The defaults suit the demo's small networks, which start from random weights.

    Attributes
    ----------
    backbone : str
        Trunk of teacher and students.
    epochs, teacher_epochs : int
        Passes over the training set of each student, and of the teacher, which is trained once for all of them.
    batch_size : int
        Images in a step.
    learning_rate : float
        Peak of a one-cycle schedule: a linear rise over the first 15% of the steps, then half a cosine to zero.
    momentum, weight_decay : float
        Of stochastic gradient descent.
    clip_norm : float
        Gradients with a larger norm are scaled down to it.
    rotation : float
        Images are turned by up to so many degrees either way, and flipped left to right half of the time.
    p, temperature, noise_threshold, noise_weight : float
        Of `dynamic_kd.losses.DynamicKDLoss`.
    seed : int
        Seed of the weights, the order of the images and the augmentation.
    """

    backbone: str = "tiny"
    epochs: int = 12
    teacher_epochs: int = 20
    batch_size: int = 8
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 5.0
    rotation: float = 10.0
    p: float = 0.7
    temperature: float = 5.0
    noise_threshold: float = 0.5
    noise_weight: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("teacher_epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            check_number(name, value, low=low)
            if not isinstance(value, int):
                raise TypeError(f"{name}: expected a whole number, got {value!r}")
        for name in ("learning_rate", "clip_norm"):
            check_number(name, getattr(self, name), low=0, exclusive_low=True)
        check_number("momentum", self.momentum, low=0, high=1)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("rotation", self.rotation, low=0, high=180)
        self.loss()

    def loss(self, weighting: Weighting = "dynamic") -> DynamicKDLoss:
        """Return the distillation loss of these settings, with a weighting of one's choice."""
        return DynamicKDLoss(
            p=self.p,
            temperature=self.temperature,
            noise_threshold=self.noise_threshold,
            noise_weight=self.noise_weight,
            weighting=weighting,
        )

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the same recipe with other epochs for the students, and the teacher's in proportion."""
        check_number("epochs", epochs, low=1)
        return replace(self, epochs=epochs, teacher_epochs=round(epochs * self.teacher_epochs / self.epochs))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)
