"""The demo: a teacher and four students, on the synthetic set or on folders, scored by the library's metrics."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from dynamic_kd._checks import check_number
from dynamic_kd.data import read_folders, synthetic_rgbd
from dynamic_kd.metrics import MetricReport, SODMetrics
from dynamic_kd.models import FPNStudent, RFBTeacher
from dynamic_kd.training._loop import distil, saliency, train_alone
from dynamic_kd.training._noise_report import NoiseReport, noise_report
from dynamic_kd.training._recipe import Recipe
from dynamic_kd.training._tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.losses._weighting import Weighting

    Progress = Callable[[str, int, int], None]

TEACHER = "teacher"
STUDENTS: dict[str, Weighting] = {
    "cross-entropy": "none",
    "fixed weight 0.5": 0.5,
    "dynamic weight": "dynamic_no_threshold",
    "dynamic + noise elimination": "dynamic",
}
"""The students by name, and the weight strategy of each; "none" is trained without the teacher."""


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo runs on.

    Attributes
    ----------
    recipe : Recipe
        How the networks are trained.
    data : Path, optional
        Real data sets for `dynamic_kd.data.read_folders`; without it the synthetic set.
    near : str
        What is near in the depth files of ``data``.
    size : int
        Height and width of all images, at least 32.
    train_count, test_count : int
        Samples of the synthetic set.
    spoilt_share : float
        Share of spoilt depth maps in the synthetic set, in training and test alike.
    test_share : float
        Part of the samples of ``data`` to test on, chosen by the recipe's seed.
    fit_epochs : bool
        Take as many epochs as amount to the steps of ``train_count`` samples, but 4 at least and 60 at most.
    """

    recipe: Recipe = field(default_factory=Recipe)
    data: Path | None = None
    near: str = "auto"
    size: int = 96
    train_count: int = 400
    test_count: int = 400
    spoilt_share: float = 0.3
    test_share: float = 0.3
    fit_epochs: bool = False

    def __post_init__(self) -> None:
        check_number("size", self.size, low=32)


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
        return self.settings.data is None


def run_demo(
    settings: DemoSettings, progress: Progress = lambda step, done, total: None, *, workers: int = 1
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

    Raises
    ------
    TypeError, ValueError
        If ``workers`` is not a whole number of at least 1, if the folders of ``data`` cannot be read, or if they hold
        fewer than four samples.
    """
    check_number("workers", workers, low=1)
    if not isinstance(workers, int):
        raise TypeError(f"workers: expected a whole number, got {workers!r}")
    seconds: dict[str, float] = {}
    with _timed(seconds, "data"):
        train, test, near = _samples(settings)
        data, held_out = Tensors.of(train), Tensors.of(test)
    if settings.fit_epochs:
        fitting = round(settings.recipe.epochs * settings.train_count / len(train))
        settings = replace(settings, recipe=settings.recipe.with_epochs(min(max(fitting, 4), 60)))
    with _one_thread():
        models = _trained(data, settings.recipe, progress, seconds, workers)
        with _timed(seconds, "evaluation"):
            known, threshold = settings.data is None, settings.recipe.noise_threshold
            noise = noise_report(models[TEACHER], train, data, threshold, truth_known=known)
            maps = _maps(models, held_out, progress)
            scores = {name: _scores(each, test) for name, each in maps.items()}
    return DemoResult(
        settings=settings,
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


def _samples(settings: DemoSettings) -> tuple[list[Sample], list[Sample], dict[str, str]]:
    seed, count = settings.recipe.seed, settings.train_count
    if settings.data is None:
        made = synthetic_rgbd(
            count + settings.test_count, size=settings.size, seed=seed, spoilt_share=settings.spoilt_share
        )
        return made[:count], made[count:], {}
    sets = read_folders(settings.data, near=settings.near, size=settings.size)
    samples = [sample for data_set in sets for sample in data_set.samples]
    if len(samples) < 4:
        raise ValueError(f"{settings.data}: expected at least 4 samples to train and test on, got {len(samples)}")
    order = np.random.default_rng(seed).permutation(len(samples))
    tested = max(1, round(settings.test_share * len(samples)))
    test, train = sorted(order[:tested]), sorted(order[tested:])
    return [samples[i] for i in train], [samples[i] for i in test], {each.name: each.near for each in sets}


def _trained(
    data: Tensors, recipe: Recipe, progress: Progress, seconds: dict[str, float], workers: int
) -> dict[str, nn.Module]:
    """Train the teacher and the student that needs none, then the others, so many at once, each with one thread."""
    models = _untrained(recipe)
    stop = threading.Event()

    def train(name: str) -> None:
        title = name if name == TEACHER else f"student: {name}"

        def advance(done: int, total: int) -> None:
            if stop.is_set():
                raise RuntimeError("another network failed, or the user interrupted")
            progress(title, done, total)

        with _timed(seconds, title):
            if name == TEACHER:
                train_alone(models[name], data, replace(recipe, epochs=recipe.teacher_epochs), advance)
            elif STUDENTS[name] == "none":
                train_alone(models[name], data, recipe, advance)
            else:
                distil(models[name], models[TEACHER], data, recipe, weighting=STUDENTS[name], advance=advance)

    alone = [name for name, weighting in STUDENTS.items() if weighting == "none"]
    taught = [name for name, weighting in STUDENTS.items() if weighting != "none"]
    with ThreadPoolExecutor(workers) as pool:
        try:
            teacher, *others = (pool.submit(train, name) for name in (TEACHER, *alone))
            teacher.result()
            others += [pool.submit(train, name) for name in taught]
            for future in wait(others, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            stop.set()
    return models


def _untrained(recipe: Recipe) -> dict[str, nn.Module]:
    """Make the networks; all students start from the same weights."""
    models: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        for name in (TEACHER, *STUDENTS):
            torch.manual_seed(recipe.seed)
            models[name] = (RFBTeacher if name == TEACHER else FPNStudent)(recipe.backbone)
    return models


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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: on networks this small, several mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
