"""The demo: a teacher and four students, on the synthetic set or on folders, scored by the library's metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dynamic_kd._checks import check_number, check_whole
from dynamic_kd.data import read_folders
from dynamic_kd.metrics import MetricReport, SODMetrics
from dynamic_kd.training._demo_networks import TEACHER, one_thread, timed, trained
from dynamic_kd.training._evaluation import saliency
from dynamic_kd.training._noise_report import NoiseReport
from dynamic_kd.training._noise_sources import noise_report
from dynamic_kd.training._recipe import Recipe
from dynamic_kd.training._recipe_file import read_recipe
from dynamic_kd.training._sources import recipe_samples
from dynamic_kd.training._tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.training._demo_networks import Progress


def _default_recipe() -> Recipe:
    return read_recipe("cpu", ["name=demo", "data.validation_count=400"])


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo runs on.

    Attributes
    ----------
    recipe : Recipe
        Data, networks, loss and training; by default the recipe ``"cpu"`` with 400 samples to test on. The demo trains
        every network to its last epoch, on the CPU in single precision, and gives each student its own weighting, with
        that weighting's own noise elimination, whatever the recipe says of these.
    test_share : float
        Part of the samples of folders to test on, chosen by the recipe's seed.
    fit_epochs : bool
        Take as many epochs as amount to the steps of the recipe's ``train_count`` samples, but 4 at least and 60 at
        most.

    Raises
    ------
    ValueError
        If the recipe has no teacher to train, or no samples to test on, or names more folders than one root.
    """

    recipe: Recipe = field(default_factory=_default_recipe)
    test_share: float = 0.3
    fit_epochs: bool = False

    def __post_init__(self) -> None:
        data, teacher = self.recipe.data, self.recipe.teacher
        if not teacher.trained_here:
            given = teacher.checkpoint or teacher.model
            raise ValueError(f'teacher: expected "rfb" or "fpn" without a checkpoint, to train it here, got {given}')
        if data.source == "synthetic":
            check_whole("validation_count", data.validation_count, low=1)
        elif (data.train, data.validation) != ((".",), ()):
            raise ValueError(
                'data: expected train = ["."] and no validation, since the demo splits all that is in root; '
                f"got {list(data.train)} and {list(data.validation)}"
            )
        check_number("test_share", self.test_share, low=0, high=1, exclusive_low=True, exclusive_high=True)


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo found.

    Attributes
    ----------
    settings : DemoSettings
        What it ran on, with the epochs it took.
    train, test : list of Sample
        The samples.
    near : dict
        From data set to what was near in its depth files; empty for the synthetic set.
    models : dict
        The trained networks by name, the teacher first.
    maps : dict
        From name to the saliency maps of the test set, uint8, shape (N, 1, H, W).
    reports : dict
        From name to the scores of those maps.
    by_depth : dict
        From name to the reports on ``"clean"`` and ``"spoilt"`` depth; empty where the truth is unknown.
    noise : NoiseReport
        The teacher's α on the training set.
    seconds : dict
        Wall time of each step.
    """

    settings: DemoSettings
    train: list[Sample]
    test: list[Sample]
    near: dict[str, str]
    models: dict[str, nn.Module]
    maps: dict[str, NDArray[np.uint8]]
    reports: dict[str, MetricReport]
    by_depth: dict[str, dict[str, MetricReport]]
    noise: NoiseReport
    seconds: dict[str, float]

    @property
    def truth_known(self) -> bool:
        """Whether it is known which depth maps are spoilt."""
        return self.settings.recipe.data.source == "synthetic"


def run_demo(
    settings: DemoSettings,
    progress: Progress = lambda step, done, total: None,
    *,
    workers: int = 1,
    note: Callable[[str], None] = lambda text: None,
) -> DemoResult:
    """Make or read the data, train teacher and students, score them; nothing is written.

    Parameters
    ----------
    settings : DemoSettings
        What to run on.
    progress : callable
        Called with the name of a step, how much of it is done, and how much there is; by several threads if there
        are several workers.
    workers : int
        Networks trained at once, each with one thread; the result does not depend on it.
    note : callable
        Called with what the user should know of the folders.

    Raises
    ------
    TypeError, ValueError
        If ``workers`` is not a whole number of at least 1, if the folders cannot be read, or if they hold fewer than
        four samples.
    """
    check_whole("workers", workers, low=1)
    seconds: dict[str, float] = {}
    with timed(seconds, "data"):
        train, test, near = _samples(settings, note)
        data, held_out = (Tensors.of(samples, depth=settings.recipe.data.depth) for samples in (train, test))
    recipe = _fitted(settings, len(train))
    known = recipe.data.source == "synthetic"
    with one_thread():
        models = trained(data, recipe, progress, seconds, workers)
        with timed(seconds, "evaluation"):
            noise = noise_report(models[TEACHER], train, data, recipe.loss.threshold, truth_known=known)
            maps = _maps(models, held_out, progress)
            scores = {name: _scores(each, test) for name, each in maps.items()}
    return DemoResult(
        settings=replace(settings, recipe=recipe),
        train=train,
        test=test,
        near=near,
        models=models,
        maps=maps,
        reports={name: whole for name, (whole, _) in scores.items()},
        by_depth={name: parts for name, (_, parts) in scores.items()} if known else {},
        noise=noise,
        seconds=seconds,
    )


def _samples(settings: DemoSettings, note: Callable[[str], None]) -> tuple[list[Sample], list[Sample], dict[str, str]]:
    data = settings.recipe.data
    if data.source == "synthetic":
        return *recipe_samples(settings.recipe), {}
    sets = read_folders(data.root or ".", near=data.near, size=data.size)
    for text in (text for data_set in sets for text in data_set.notes):
        note(text)
    samples = [sample for data_set in sets for sample in data_set.samples]
    if len(samples) < 4:
        raise ValueError(f"{data.root}: expected at least 4 samples to train and test on, got {len(samples)}")
    order = np.random.default_rng(settings.recipe.seed).permutation(len(samples))
    tested = min(max(1, round(settings.test_share * len(samples))), len(samples) - 1)
    test, train = sorted(order[:tested]), sorted(order[tested:])
    return [samples[i] for i in train], [samples[i] for i in test], {each.name: each.near for each in sets}


def _fitted(settings: DemoSettings, samples: int) -> Recipe:
    recipe = settings.recipe
    if not settings.fit_epochs:
        return recipe
    fitting = round(recipe.training.epochs * recipe.data.train_count / samples)
    return recipe.with_epochs(min(max(fitting, 4), 60))


def _maps(models: dict[str, nn.Module], data: Tensors, progress: Progress) -> dict[str, NDArray[np.uint8]]:
    maps = {}
    for done, (name, model) in enumerate(models.items(), start=1):
        maps[name] = np.rint(255 * saliency(model, data)).astype(np.uint8)
        progress("maps", done, len(models))
    return maps


def _scores(maps: NDArray[np.uint8], samples: list[Sample]) -> tuple[MetricReport, dict[str, MetricReport]]:
    """Score all maps, and those with clean and with spoilt depth apart."""
    parts = {"clean": SODMetrics(), "spoilt": SODMetrics()}
    for saliency_map, sample in zip(maps, samples, strict=True):
        part = parts["clean" if sample.spoilt is None else "spoilt"]
        part.update(saliency_map[0], sample.mask, names=[sample.name])
    whole = SODMetrics()
    for part in parts.values():
        whole.merge(part)
    return whole.compute(), {depth: part.compute() for depth, part in parts.items() if len(part)}
