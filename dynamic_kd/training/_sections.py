"""The sections of a recipe, each checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_choice, check_flag, check_number, check_whole
from dynamic_kd._mask import meaning
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.models import BACKBONES

SCHEDULES = ("constant", "cosine", "one_cycle", "poly")
SPOIL_KINDS = ("swapped", "blurred", "inverted", "half_missing")
_RISE = 0.15  # of a one-cycle schedule's steps


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training of one network by stochastic gradient descent; the defaults are the paper's.

    Attributes
    ----------
    epochs : int
        Passes over the training set.
    batch_size : int
        Images in a step of the optimizer, over all processes and all rounds of accumulation.
    accumulation : int
        Rounds in which a step gathers its gradient, for batches that do not fit into memory.
    learning_rate : float
        The peak of the schedule.
    schedule : {"constant", "cosine", "one_cycle", "poly"}
        ``"one_cycle"`` rises over the first 15% of the steps and falls by half a cosine, ``"cosine"`` only falls, and
        ``"poly"`` falls as (1 - t)^0.9.
    momentum, weight_decay : float
        Of the optimizer.
    clip_norm : float, optional
        Gradients with a larger norm are scaled down to it. In a recipe file, ``"none"`` turns this off where a setting
        left out would be inherited.
    flip : bool
        Mirror half of the images left to right.
    rotation : float
        Rotate images by a random angle of up to this many degrees, in either direction.
    keep_epochs : tuple of int
        Epochs whose weights are kept too, as ``teacher-epoch2.safetensors``; for example, those of an immature
        teacher. A recipe's ``[teacher.training]`` does not inherit this setting.
    """

    epochs: int = 40
    batch_size: int = 4
    accumulation: int = 1
    learning_rate: float = 1e-3
    schedule: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = None
    flip: bool = True
    rotation: float = 15.0
    keep_epochs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation"):
            check_whole(name, getattr(self, name), low=1)
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation: must divide the batch size {self.batch_size}, got {self.accumulation}")
        check_number("learning_rate", self.learning_rate, low=0, exclusive_low=True)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, low=0, exclusive_low=True)
        check_number("momentum", self.momentum, low=0, high=1)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("rotation", self.rotation, low=0, high=180)
        check_flag("flip", self.flip)
        check_choice("schedule", self.schedule, SCHEDULES)
        object.__setattr__(self, "keep_epochs", _checked_epochs(self.keep_epochs, self.epochs))

    def rate(self, progress: float) -> float:
        """Return the learning rate after a share of the steps, in [0, 1]."""
        return self.learning_rate * share_of_peak(self.schedule, progress)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images to train, validate and report on.

    Attributes
    ----------
    source : {"synthetic", "folders"}
        The synthetic RGB-D set, made from a seed, or folders.
    root : str, optional
        The folder that contains ``train``, ``validation`` and ``report``. In a recipe file it is relative to the file;
        in Python and on the command line, to the current folder, which is also the default.
    train, validation : tuple of str or dict
        Data sets, or folders of several, as `dynamic_kd.data.find_data` takes them: a folder within ``root``, or a
        table of ``folder`` and ``list``, a file that names the samples (relative as ``root`` is).
    depth : bool
        Train on colour and depth; False for colour alone.
    near : {"auto", "bright", "dark"}
        Whether bright or dark means near in the depth files.
    salient, void : int, list of int or str, optional
        The salient levels of the masks, and those that are not labelled, as for `dynamic_kd.data.read_mask`. Void
        pixels are left out of every loss and score.
    channel : {"auto", "grey", "alpha"}
        The channel of the files that holds the masks.
    size : int
        Height and width of all images in training.
    report : tuple of str or dict
        Further data sets, given as ``train`` is. The final networks are scored on them once; they influence no choice.
    train_count, validation_count, report_count : int
        Samples of the synthetic set.
    spoilt_share : float
        Share of spoilt depth maps in the synthetic set.
    test_spoilt_share : float, optional
        The same for its validation and report samples; by default that of the training samples.
    seed : int, optional
        Of the synthetic set; by default the recipe's.
    """

    source: str = "synthetic"
    root: str | None = None
    train: tuple[Any, ...] = ()
    validation: tuple[Any, ...] = ()
    report: tuple[Any, ...] = ()
    depth: bool = True
    near: str = "auto"
    salient: Any = None
    void: Any = None
    channel: str = "auto"
    size: int = 256
    train_count: int = 400
    validation_count: int = 100
    report_count: int = 0
    spoilt_share: float = 0.3
    test_spoilt_share: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        check_text("root", self.root, optional=True)
        check_choice("source", self.source, ("synthetic", "folders"))
        check_choice("near", self.near, ("auto", "bright", "dark"))
        check_flag("depth", self.depth)
        meaning(self.salient, self.void, self.channel)
        for name, low in (("size", 32), ("train_count", 1), ("validation_count", 0), ("report_count", 0)):
            check_whole(name, getattr(self, name), low=low)
        if self.seed is not None:
            check_whole("seed", self.seed, low=0)
        check_number("spoilt_share", self.spoilt_share, low=0, high=1)
        if self.test_spoilt_share is not None:
            check_number("test_spoilt_share", self.test_spoilt_share, low=0, high=1)
        for name in ("train", "validation", "report"):
            object.__setattr__(self, name, _checked_folders(name, getattr(self, name)))
        if self.source == "folders" and not self.train:
            raise ValueError('train: names no folders to train on; write train = ["NJUD/train"]')
        for name in ("root", "train", "validation", "report") if self.source == "synthetic" else ():
            if getattr(self, name):
                raise ValueError(
                    f"{name}: the synthetic set takes no folders, got {getattr(self, name)!r}; to train on your own "
                    'images, add source = "folders" and train = ["NJUD/train"]'
                )

    @property
    def channels(self) -> int:
        """Channels of a network's input."""
        return 4 if self.depth else 3


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The teacher.

    Attributes
    ----------
    model : str
        ``"rfb"`` or ``"fpn"``, the package's networks; ``"maps"``, saliency maps from files; or
        ``"package.module:name"``, a callable without arguments that returns an ``nn.Module``, which maps network inputs
        (B, C, H, W) to logits (B, 1, H, W), or to maps in [0, 1] if ``output`` says so.
    backbone : str
        Of the package's networks.
    weights : str, optional
        Initial weights of the backbone (see `dynamic_kd.models.FPNStudent`), or the state dict of an imported module.
        In a recipe file the path is relative to the file; in Python and on the command line, to the current folder.
    checkpoint : str, optional
        File of a trained network, relative as ``weights`` is; it replaces stage 1. It has to hold the network that
        ``model`` and ``backbone`` name.
    maps : str, optional
        For ``"maps"``: the sub-folder of each data set that holds them; or a folder, with a slash (``"./DANet"``) and
        relative as ``weights`` is.
    output : {"logits", "probabilities"}
        What an imported network returns. The maps of ``"maps"`` are probabilities whatever this says.
    clip : float
        For probabilities: see `dynamic_kd.losses.DynamicKDLoss`.
    spoil : {"swapped", "blurred", "inverted", "half_missing"}, optional
        For ``"maps"``: replace some of the training maps by wrong ones: the map of another sample; a map blurred by a
        Gaussian of an eighth of its size; one minus the map; or a map without one half of the object's bounding box.
    spoil_share : float
        Share of the training maps to replace; used only with ``spoil``.
    probability_shift : bool
        Correct the teacher's wrong pixels by the ground truth (see `dynamic_kd.losses.probability_shift`).
    training : Training, optional
        Of stage 1; by default the student's.
    """

    model: str = "rfb"
    backbone: str = "vgg16"
    weights: str | None = None
    checkpoint: str | None = None
    maps: str | None = None
    output: str = "logits"
    clip: float = DynamicKDLoss.clip
    spoil: str | None = None
    spoil_share: float = 0.3
    probability_shift: bool = False
    training: Training | None = None

    def __post_init__(self) -> None:
        check_text("model", self.model)
        for name in ("weights", "checkpoint", "maps"):
            check_text(name, getattr(self, name), optional=True)
        check_choice("backbone", self.backbone, BACKBONES)
        if ":" not in self.model:
            check_choice("model", self.model, ("rfb", "fpn", "maps"))
        if (self.model == "maps") != (self.maps is not None):
            raise ValueError(
                f'maps: model = "maps" requires the folder of maps, and no other model takes it; got {self.maps!r} '
                f'with model = "{self.model}"'
            )
        if self.checkpoint is not None and self.model not in ("rfb", "fpn"):
            raise ValueError(
                f'checkpoint: only "rfb" and "fpn" take one, got {self.checkpoint!r} with model = "{self.model}"; give '
                "an imported module its weights instead"
            )
        check_choice("output", self.output, ("logits", "probabilities"))
        if self.output != "logits" and ":" not in self.model:
            raise ValueError(
                f'output: only an imported network takes one, got "{self.output}" with model = "{self.model}"; leave '
                "it out"
            )
        DynamicKDLoss(clip=self.clip)  # which checks it
        check_number("spoil_share", self.spoil_share, low=0, high=1)
        check_flag("probability_shift", self.probability_shift)
        if self.spoil is not None:
            check_choice("spoil", self.spoil, SPOIL_KINDS)
            if self.model != "maps":
                raise ValueError(
                    f'spoil: requires model = "maps", got {self.spoil!r} with model = "{self.model}"; for a weak '
                    "network take an early checkpoint (keep_epochs)"
                )

    @property
    def trained_here(self) -> bool:
        """Whether there is a stage 1."""
        return self.model in ("rfb", "fpn") and self.checkpoint is None


@dataclass(frozen=True, kw_only=True)
class Student:
    """The student: a feature pyramid network on a backbone, trained from given or from random weights."""

    backbone: str = "vgg16"
    weights: str | None = None

    def __post_init__(self) -> None:
        check_choice("backbone", self.backbone, BACKBONES)
        check_text("weights", self.weights, optional=True)


def share_of_peak(schedule: str, progress: float) -> float:
    """Return the share of its peak that the learning rate has after a share of the steps, both in [0, 1]."""
    if schedule == "constant":
        return 1.0
    if schedule == "poly":
        return float((1 - progress) ** 0.9)
    if schedule == "one_cycle" and progress < _RISE:
        return progress / _RISE
    start = _RISE if schedule == "one_cycle" else 0.0
    return (1 + math.cos(math.pi * (progress - start) / (1 - start))) / 2


def check_text(name: str, value: Any, *, optional: bool = False) -> None:
    """Raise unless a setting is text."""
    if not isinstance(value, str) and not (optional and value is None):
        raise TypeError(f"{name}: expected text, got {value!r}")


def _checked_epochs(epochs: Any, last: int) -> tuple[int, ...]:
    """Return epochs as a tuple; raise unless they are epochs of the training."""
    if not isinstance(epochs, (list, tuple)):
        raise ValueError(f"keep_epochs: expected a list such as [2, 5], got {epochs!r}")
    for epoch in epochs:
        check_whole("keep_epochs", epoch, low=1)
        if epoch > last:
            raise ValueError(f"keep_epochs: epoch {epoch} does not exist, the training has {last}; leave it out")
    return tuple(epochs)


def _checked_folders(name: str, folders: Any) -> tuple[Any, ...]:
    """Return folders and tables as a tuple; raise for anything else."""
    if not isinstance(folders, (list, tuple)):
        raise ValueError(f'{name}: expected a list such as ["NJUD/train", "NLPR/train"], got {folders!r}')
    return tuple(_checked_folder(name, folder) for folder in folders)


def _checked_folder(name: str, folder: Any) -> Any:
    """Return a folder, or a table with the absolute path of its list file, so that a saved recipe finds it."""
    if isinstance(folder, str):
        return folder
    is_table = isinstance(folder, dict) and {"folder"} <= folder.keys() <= {"folder", "list"}
    if is_table and all(isinstance(value, str) for value in folder.values()):
        return folder | {"list": str(Path(folder["list"]).resolve())} if "list" in folder else folder
    raise ValueError(
        f'{name}: expected folders, or tables like {{ folder = "NJUD", list = "train.txt" }}, got {folder!r}'
    )
