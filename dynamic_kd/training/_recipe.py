"""A recipe: data, teacher, student, loss and the settings of both stages."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training._imported import ImportedWeight
from dynamic_kd.training._recipe_paths import absolute_maps, absolute_path
from dynamic_kd.training._sections import Data, Student, Teacher, Training, check_text

PRECISIONS = ("fp32", "bf16", "fp16")
SCORE_NAMES = ("MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE")
"""The scores of a validation, in logs and as ``Recipe.best_by``."""
NONE_IN_FILES = ("noise_elimination", "clip_norm")
"""Settings whose None is the word "none" in files. TOML has no null, and a setting left out takes another value."""
_OF_TEACHER = {"teacher": "teacher.output", "clip": "teacher.clip"}
"""Settings of the loss that a recipe has in the teacher's section."""

FREE_SETTINGS = (
    "name", "compile", "data.root", "data.report", "teacher.maps", "loss.impl", "training.accumulation",
    "training.keep_epochs", "teacher.training.accumulation", "teacher.training.keep_epochs",
)  # fmt: skip
"""Settings that a resumed run may change: they move its result by rounding at most.

Moved images and maps are compared by their contents.
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run depends on; checked when it is made.

    Attributes
    ----------
    name : str
        Names the run and its folder. It is not a path and does not begin with a dot.
    seed : int
        Seed of the weights, the order of the images, the augmentation and the synthetic set.
    data : Data
        The images.
    teacher : Teacher
        The teacher, and its training in stage 1.
    teacher_only : bool
        Stop after stage 1, to use the teacher in other runs (``Teacher.checkpoint``).
    student : Student
        The student.
    loss : DynamicKDLoss
        Of stage 2; weighting "none" trains the student without a teacher. Its ``teacher`` and ``clip`` are set by the
        teacher's section.
    objective : str, optional
        Your own loss of stage 2, ``"package.module:name"``: a function of ``loss`` and the number of training samples
        that returns an ``nn.Module`` (see the how-to on training).
    training : Training
        Of stage 2.
    evaluate_every : int
        Epochs from one evaluation on the validation set to the next. The last epoch is always evaluated. 0 turns all
        evaluations off.
    best_by : str
        The score that selects the best weights, such as ``"maxF"`` (the largest) or ``"MAE"`` (the smallest).
    precision : {"fp32", "bf16", "fp16"}
        Of the networks' arithmetic; the loss and the weights are always float32.
    deterministic : bool
        Use only algorithms that give the same bits in every run. Without, a GPU is somewhat faster.
    compile : bool
        Compile the trained network by ``torch.compile``, on a GPU. The start takes longer and each epoch less time.
        Results agree up to rounding.
    """

    name: str = "run"
    seed: int = 0
    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    teacher_only: bool = False
    student: Student = field(default_factory=Student)
    loss: DynamicKDLoss = field(default_factory=DynamicKDLoss)
    objective: str | None = None
    training: Training = field(default_factory=Training)
    evaluate_every: int = 5
    best_by: str = "maxF"
    precision: str = "fp32"
    deterministic: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        check_text("name", self.name)
        if self.name.startswith(".") or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name: {self.name!r} cannot name a folder; leave out / and \\ and a leading dot")
        check_whole("seed", self.seed, low=0)
        check_whole("evaluate_every", self.evaluate_every, low=0)
        for name in ("deterministic", "compile", "teacher_only"):
            check_flag(name, getattr(self, name))
        check_choice("best_by", self.best_by, SCORE_NAMES)
        if self.data.void is not None and self.best_by in ("wF", "Sm"):
            raise ValueError(
                f"best_by: with data.void, expected a score that can leave pixels out, got {self.best_by!r}; "
                "choose for example maxF"
            )
        check_choice("precision", self.precision, PRECISIONS)
        if self.loss.reduction != "mean":
            raise ValueError(f"loss.reduction: training averages losses, got {self.loss.reduction!r}; leave it out")
        check_text("objective", self.objective, optional=True)
        if self.objective is not None and ":" not in self.objective:
            raise ValueError(f'objective: expected "package.module:name", got {self.objective!r}')
        if self.objective is not None and not self.needs_teacher:
            raise ValueError('objective: takes a teacher, which loss.weighting = "none" leaves out; remove one of both')
        if self.loss.ignore_index is not None:
            raise ValueError(
                f"loss.ignore_index: training reads masks as 0 and 1, got {self.loss.ignore_index}; leave it out"
            )
        for name, setting in _OF_TEACHER.items():
            if getattr(self.loss, name) != getattr(DynamicKDLoss, name):
                raise ValueError(f"loss.{name}: a recipe has this as {setting}; set that instead")
        if self.teacher.model == "maps" and self.data.source == "synthetic":
            raise ValueError('teacher.model: the synthetic set has no teacher maps; name a network instead of "maps"')
        if self.teacher_only and not (self.needs_teacher and self.teacher.trained_here):
            raise ValueError("teacher_only: this recipe trains no teacher; leave it out")

    @property
    def teacher_training(self) -> Training:
        """Settings of stage 1."""
        return self.teacher.training or self.training

    @property
    def needs_teacher(self) -> bool:
        """Whether the student's loss depends on a teacher."""
        return self.loss.weighting != "none"

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages that train a network: 1 the teacher, 2 the student."""
        first = self.needs_teacher and self.teacher.trained_here
        return (*([1] if first else []), *([] if self.teacher_only else [2]))

    def training_of(self, stage: int) -> Training:
        """Return the settings of a stage."""
        return self.teacher_training if stage == 1 else self.training

    def with_whole_paths(self) -> Recipe:
        """Return the recipe with absolute paths; relative ones start from the current folder."""
        here, data, teacher = Path.cwd(), self.data, self.teacher
        return replace(
            self,
            data=replace(data, root=absolute_path(data.root or ".", here) if data.source == "folders" else None),
            teacher=replace(
                teacher,
                weights=absolute_path(teacher.weights, here),
                checkpoint=absolute_path(teacher.checkpoint, here),
                maps=absolute_maps(teacher.maps, here),
            ),
            student=replace(self.student, weights=absolute_path(self.student.weights, here)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries for TOML.

        TOML has no null: ``noise_elimination`` and ``clip_norm`` are the word "none" instead, and other settings that
        are None are left out.
        """
        settings: dict[str, Any] = _without_none(asdict(self))
        for name in _OF_TEACHER:
            del settings["loss"][name]
        return settings


def flat_settings(settings: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names, such as ``"loss.temperature"``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flat_settings(value, f"{section}{name}.") if isinstance(value, dict) else {f"{section}{name}": value}
    return flat


def _without_none(value: Any) -> Any:
    if isinstance(value, ImportedWeight):
        return value.name
    if isinstance(value, dict):
        words = {key: "none" if each is None and key in NONE_IN_FILES else each for key, each in value.items()}
        return {key: _without_none(each) for key, each in words.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, (list, tuple)) else value
