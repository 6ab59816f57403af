"""What makes a training run: data, teacher, student, loss and the two stages' settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training._imported import ImportedWeight
from dynamic_kd.training._section_checks import check_name
from dynamic_kd.training._sections import Data, Student, Teacher, Training

if TYPE_CHECKING:
    from dynamic_kd.losses._weighting import Weighting

PRECISIONS = ("fp32", "bf16", "fp16")
BEST = ("MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run depends on; checked when it is made.

    Attributes
    ----------
    name : str
        Names the run, and its folder: it is no path, and begins with no dot.
    seed : int
        Seed of the weights, the order of the images, the augmentation and the synthetic set.
    data : Data
        What to train on.
    teacher : Teacher
        Who teaches, and how it is trained in stage 1.
    teacher_only : bool
        Stop after stage 1: the teacher is for other runs (``Teacher.checkpoint``).
    student : Student
        Who learns.
    loss : DynamicKDLoss
        Of stage 2; weighting "none" trains the student without a teacher.
    training : Training
        Of stage 2.
    evaluate_every : int
        Epochs between two evaluations on the validation set; the last epoch always has one. 0: never.
    best_by : str
        The score by which the best weights are kept, such as ``"maxF"`` (the largest) or ``"MAE"`` (the smallest).
    precision : {"fp32", "bf16", "fp16"}
        Of the networks' arithmetic; the loss and the weights are float32 in any case.
    deterministic : bool
        Use only algorithms that give the same bits on every run; without, a GPU is somewhat faster.
    compile : bool
        Have ``torch.compile`` make the kernels of the network in training, on a GPU: the start takes longer, each epoch
        less. Results agree up to rounding.
    """

    name: str = "run"
    seed: int = 0
    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    teacher_only: bool = False
    student: Student = field(default_factory=Student)
    loss: DynamicKDLoss = field(default_factory=DynamicKDLoss)
    training: Training = field(default_factory=Training)
    evaluate_every: int = 5
    best_by: str = "maxF"
    precision: str = "fp32"
    deterministic: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        check_whole("seed", self.seed, low=0)
        check_whole("evaluate_every", self.evaluate_every, low=0)
        check_flag("deterministic", self.deterministic)
        check_flag("compile", self.compile)
        check_flag("teacher_only", self.teacher_only)
        check_choice("best_by", self.best_by, BEST)
        check_choice("precision", self.precision, PRECISIONS)
        if self.loss.reduction != "mean":
            raise ValueError(
                f"loss.reduction: expected no setting, losses are averaged here; got {self.loss.reduction!r}"
            )
        if self.teacher.model == "maps" and self.data.source == "synthetic":
            raise ValueError('teacher.model: expected a network for the synthetic set, got "maps"; it has no maps')

        if self.teacher_only and not (self.needs_teacher and self.teacher.trained_here):
            raise ValueError("teacher_only: expected False where no teacher is trained, got True; leave it out")

    @property
    def teacher_training(self) -> Training:
        """Settings of stage 1."""
        return self.teacher.training or self.training

    @property
    def needs_teacher(self) -> bool:
        """Whether the student's loss looks at a teacher."""
        return self.loss.weighting != "none"

    def with_weighting(self, weighting: Weighting) -> Recipe:
        """Return the same recipe with another weighting of the loss."""
        return replace(self, loss=replace(self.loss, weighting=weighting))

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the same recipe with other epochs for the student, and the teacher's in proportion."""
        check_whole("epochs", epochs, low=1)
        proportion = epochs / self.training.epochs
        own = self.teacher.training
        if own is not None:
            own = _shortened(own, max(1, round(own.epochs * proportion)))
        teacher = replace(self.teacher, training=own)
        return replace(self, teacher=teacher, training=_shortened(self.training, epochs))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries that TOML can hold.

        TOML has no null: ``loss.noise_elimination`` is the word "none" instead, and other settings that are None are
        left out.
        """
        settings: dict[str, Any] = asdict(self)
        settings["loss"]["noise_elimination"] = self.loss.noise_elimination or "none"
        plain: dict[str, Any] = _without_none(settings)
        return plain


def _shortened(training: Training, epochs: int) -> Training:
    kept = tuple(epoch for epoch in training.keep_epochs if epoch <= epochs)
    return replace(training, epochs=epochs, keep_epochs=kept)


def _without_none(value: Any) -> Any:
    if isinstance(value, ImportedWeight):
        return value.name
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, (list, tuple)) else value


def field_names(kind: type) -> list[str]:
    """Return the settings of one of these classes."""
    return [each.name for each in fields(kind)]
