"""What the method saw in training, drawn into the run folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dynamic_kd._checks import check_number
from dynamic_kd._extras import require
from dynamic_kd._figures import write_figure
from dynamic_kd._files import write_whole
from dynamic_kd.training._figures import contact_sheet
from dynamic_kd.training._noise_sources import noise_report_from_log, read_noise_report
from dynamic_kd.training._recipe_file import read_recipe
from dynamic_kd.training._sources import recipe_samples
from dynamic_kd.training._weight_figures import teacher_student_scatter, weight_over_time
from dynamic_kd.training._weights_log import read_weights_log

NOISE = "noise.csv"

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynamic_kd.data import Sample
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._weights_log import WeightsLog

    Progress = Callable[[str, int, int], None]


def write_insight(
    folder: str | Path,
    log: WeightsLog,
    samples: Sequence[Sample] = (),
    threshold: float = 0.5,
    *,
    ratio: float | None = None,
    last: int = 10_000,
    suffix: str = "",
) -> list[Path]:
    """Draw what the method saw of the training samples.

    Parameters
    ----------
    folder : str or Path
        Where ``noise.csv`` (α of each sample, and whether it is set aside), ``noise.png`` (the samples with the lowest
        α), ``scatter.png`` (`teacher_student_scatter`) and ``weight.png`` (`weight_over_time`) go.
    log : WeightsLog
        The log of a run.
    samples : sequence of Sample
        The training samples; ``noise.png`` is left out without them.
    threshold : float
        Noise threshold of the run, in [0, 1].
    ratio : float, optional
        Share of the student's own IoU that takes the threshold's place, as with ``noise_elimination="relative"``.
    last : int
        Samples in the scatter.
    suffix : str
        Ends the files' names: ``"-0.3"`` has ``noise-0.3.csv`` and so on written.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        If the samples are not those of the log, or the threshold is no number in [0, 1].
    """
    check_number("threshold", threshold, low=0, high=1)
    require("matplotlib", extra="eval")
    folder = Path(folder)
    report = noise_report_from_log(log, threshold, samples, ratio=ratio)
    if not samples:
        report = replace(report, spoilt=_known_truth(folder / NOISE, report.names))
    figures = {
        "scatter": teacher_student_scatter({folder.resolve().name: log}, last=last, threshold=threshold, ratio=ratio),
        "weight": weight_over_time(log, threshold=threshold, ratio=ratio),
    }
    if samples:
        by_name = {sample.name: sample for sample in samples}
        figures["noise"] = contact_sheet([by_name[name] for name in report.names], report)
    table = folder / NOISE.replace(".", f"{suffix}.")
    write_whole(table, report.csv().encode())
    pictures = {folder / f"{name}{suffix}.png": figures[name] for name in sorted(figures)}
    for path, figure in pictures.items():
        write_figure(path, figure)
    return [table, *pictures]


def _known_truth(path: Path, names: tuple[str, ...]) -> tuple[str | None, ...] | None:
    """Return how samples were spoilt, as far as the run's own report says."""
    if not path.is_file():
        return None
    known = read_noise_report(path, 0.5)
    spoilt = dict(zip(known.names, known.spoilt or (), strict=False))
    return tuple(spoilt[name] for name in names) if spoilt.keys() >= set(names) else None


def inspect_runs(
    runs: Sequence[str | Path],
    *,
    threshold: float | None = None,
    last: int = 10_000,
    samples: bool = False,
    scatter: str | Path | None = None,
    progress: Progress = lambda step, done, total: None,
) -> list[Path]:
    """Draw what the method saw in runs, finished or not, from the ``weights.csv`` of each.

    Parameters
    ----------
    runs : sequence of paths
        Run folders.
    threshold : float, optional
        Noise threshold, in [0, 1]; by default that of each run's recipe, or 0.5 where there is none. The files of
        another than that have it in their names, as ``noise-0.3.csv``, and the run's own stay.
    last : int
        Samples in the scatter.
    samples : bool
        Read the training set that each run's recipe names, and draw the samples with the lowest α.
    scatter : path, optional
        Where the scatter of several runs goes; by default ``scatter.png``, with the threshold in its name as in the
        others', in the folder that holds them all.
    progress : callable
        Called with what is read, how much of it is done, and how much there is.

    Returns
    -------
    list of Path
        The files; see `write_insight`.

    Raises
    ------
    ValueError
        If a run has no log, or one that cannot be understood, if the threshold is no number in [0, 1], if ``scatter``
        is given of one run, or if samples are wanted and the recipe is missing or no longer names what the run was
        trained on.
    """
    if threshold is not None:
        check_number("threshold", threshold, low=0, high=1)
    folders = [Path(run) for run in runs]
    if scatter is not None and len(folders) < 2:
        raise ValueError(f"scatter: expected several runs to draw side by side, got {len(folders)}; leave it out")
    logs = [read_weights_log(folder / "weights.csv") for folder in folders]
    recipes = [_recipe(folder, needed=samples) for folder in folders]
    own = [noise_limit(recipe) for recipe in recipes]
    limits = own if threshold is None else [NoiseLimit(threshold)] * len(runs)
    suffixes = ["" if limit == usual else f"-{limit.threshold:g}" for limit, usual in zip(limits, own, strict=True)]
    written = []
    for folder, log, recipe, limit, suffix in zip(folders, logs, recipes, limits, suffixes, strict=True):
        shown = _training_samples(recipe, progress) if samples and recipe else []
        judged = log.judged(*limit) if suffix else log
        written += write_insight(folder, judged, shown, **limit._asdict(), last=last, suffix=suffix)
    if len(runs) > 1:
        together = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
        place = together if any(map(Path.is_absolute, folders)) else Path(os.path.relpath(together))
        shared = place / f"scatter{max(suffixes)}.png"
        panels = dict(zip(_titles(folders), logs, strict=True))
        limit_of_all = limits[0]._asdict() if len(set(limits)) == 1 else {}
        write_figure(scatter or shared, teacher_student_scatter(panels, last=last, **limit_of_all))
        written.append(Path(scatter or shared))
    return written


def _recipe(folder: Path, *, needed: bool) -> Recipe | None:
    path = folder / "recipe.toml"
    if path.is_file():
        return read_recipe(path)
    if needed:
        raise ValueError(
            f"{path}: expected the recipe, which names the training set, got no such file; leave samples out"
        )
    return None


class NoiseLimit(NamedTuple):
    """How far a teacher is heard: down to this α, or to this share of the student's own IoU."""

    threshold: float
    ratio: float | None = None


def noise_limit(recipe: Recipe | None) -> NoiseLimit:
    """Return the limit of a run, or that of the paper where nothing is known of it."""
    if recipe is None:
        return NoiseLimit(0.5)
    if recipe.loss.noise_elimination == "relative":
        return NoiseLimit(0.5, recipe.loss.threshold)
    return NoiseLimit(recipe.loss.threshold)


def _training_samples(recipe: Recipe, progress: Progress) -> list[Sample]:
    return recipe_samples(replace(recipe, data=replace(recipe.data, validation=())), progress)[0]


def _titles(folders: list[Path]) -> list[str]:
    """Name runs by their folders, or by their whole paths if folders share a name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
