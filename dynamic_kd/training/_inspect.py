"""Noise report and figures of stage 2, for a run folder: written after training, or by ``dynamic-kd inspect``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dynamic_kd._checks import check_number
from dynamic_kd._extras import require
from dynamic_kd._figures import write_figure
from dynamic_kd._files import write_whole
from dynamic_kd.training._contact_sheet import contact_sheet
from dynamic_kd.training._noise_report import noise_report_from_log, read_noise_report
from dynamic_kd.training._recipe_data import read_part
from dynamic_kd.training._recipe_file import RECIPE, read_recipe
from dynamic_kd.training._weight_figures import teacher_student_scatter, weight_over_time
from dynamic_kd.training._weights_log import WEIGHTS, read_weights_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynamic_kd.training._contact_sheet import TeacherMaps
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._weights_log import WeightsLog

    Progress = Callable[[str, int, int], None]

_NOISE = "noise.csv"


class NoiseLimit(NamedTuple):
    """The IoU α up to which a sample is flagged: a number or, if ``relative``, a share of the student's own IoU."""

    threshold: float = 0.5
    relative: bool = False


def noise_limit(recipe: Recipe | None) -> NoiseLimit:
    """Return the limit of a recipe, or the paper's without one."""
    if recipe is None:
        return NoiseLimit()
    return NoiseLimit(recipe.loss.threshold, recipe.loss.noise_elimination == "relative")


def write_insight(
    folder: str | Path,
    log: WeightsLog,
    data: ImageSet | None = None,
    limit: NoiseLimit | None = None,
    *,
    teacher_maps: TeacherMaps | None = None,
    last: int = 10_000,
    suffix: str = "",
) -> list[Path]:
    """Write the noise report and the figures of a run's log.

    Parameters
    ----------
    folder : str or Path
        Where ``noise.csv`` (α and flag of each sample), ``noise.png`` (the samples with the lowest α), ``scatter.png``
        (`teacher_student_scatter`) and ``weight.png`` (`weight_over_time`) go.
    log : WeightsLog
        Of the run.
    data : ImageSet, optional
        The training samples, for ``noise.png``.
    limit : NoiseLimit, optional
        Of the run.
    teacher_maps : callable, optional
        Computes the teacher's maps from the positions of samples, for ``noise.png``.
    last : int
        Samples in the scatter.
    suffix : str
        Ends the files' names: ``"-0.3"`` writes ``noise-0.3.csv`` and so on.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        If the samples are not those of the log.
    """
    require("matplotlib", extra="eval")
    folder, limits = Path(folder), (limit or NoiseLimit())._asdict()
    if data is None:
        report = noise_report_from_log(log, **limits)
        report = replace(report, spoilt=_known_truth(folder / _NOISE, report.names))
    else:
        report = noise_report_from_log(log, **limits, spoilt=dict(zip(data.names, data.spoilt, strict=True)))
    figures = {
        "scatter": teacher_student_scatter({folder.resolve().name: log}, last=last, **limits),
        "weight": weight_over_time(log, **limits),
    }
    if data is not None:
        figures["noise"] = contact_sheet(data, report, teacher_maps)
    table = folder / _NOISE.replace(".", f"{suffix}.")
    write_whole(table, report.csv().encode())
    pictures = {folder / f"{name}{suffix}.png": figures[name] for name in sorted(figures)}
    for path, figure in pictures.items():
        write_figure(path, figure)
    return [table, *pictures]


def _known_truth(path: Path, names: tuple[str, ...]) -> tuple[str | None, ...] | None:
    """Return how samples are spoilt, if the run's own report knows it of all of them."""
    if not path.is_file():
        return None
    known = read_noise_report(path)
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
    """Write the noise reports and figures of runs, finished or not, from the ``weights.csv`` of each.

    Parameters
    ----------
    runs : sequence of paths
        Run folders.
    threshold : float, optional
        Noise threshold, in [0, 1]; by default that of each run's recipe, or 0.5 without a recipe. Files of another
        threshold have it in their names, as ``noise-0.3.csv``, and the run's own files stay.
    last : int
        Samples in the scatter.
    samples : bool
        Read the training set that each run's recipe names, to draw the samples with the lowest α.
    scatter : path, optional
        File of the scatter of several runs; by default ``scatter.png``, with the threshold in its name as in the
        others', in the folder that contains them.
    progress : callable
        Called with what is read, how much of it is done, and how much there is.

    Returns
    -------
    list of Path
        The files: of each run ``noise.csv``, ``scatter.png``, ``weight.png`` and, with ``samples``, ``noise.png``.

    Raises
    ------
    ValueError
        If a run has no log or an invalid one, if the threshold is not in [0, 1], if ``scatter`` is given for one run,
        or if ``samples`` is set and the recipe is missing or no longer names the run's training set.
    """
    if threshold is not None:
        check_number("threshold", threshold, low=0, high=1)
    folders = [Path(run) for run in runs]
    if scatter is not None and len(folders) < 2:
        raise ValueError(f"scatter: draws several runs side by side, got {len(folders)}; leave it out")
    logs = [read_weights_log(folder / WEIGHTS) for folder in folders]
    recipes = [_recipe(folder, needed=samples) for folder in folders]
    usual = [noise_limit(recipe) for recipe in recipes]
    limits = usual if threshold is None else [NoiseLimit(threshold)] * len(runs)
    suffixes = ["" if limit == own else f"-{limit.threshold:g}" for limit, own in zip(limits, usual, strict=True)]
    written = []
    for folder, log, recipe, limit, suffix in zip(folders, logs, recipes, limits, suffixes, strict=True):
        shown = read_part(recipe, "train", progress) if samples and recipe else None
        flagged = log.with_threshold(*limit) if suffix else log
        written += write_insight(folder, flagged, shown, limit, last=last, suffix=suffix)
    if len(runs) > 1:
        together = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
        place = together if any(map(Path.is_absolute, folders)) else Path(os.path.relpath(together))
        path = Path(scatter or place / f"scatter{max(suffixes)}.png")
        panels = dict(zip(_titles(folders), logs, strict=True))
        limit_of_all = limits[0]._asdict() if len(set(limits)) == 1 else {}
        write_figure(path, teacher_student_scatter(panels, last=last, **limit_of_all))
        written.append(path)
    return written


def _recipe(folder: Path, *, needed: bool) -> Recipe | None:
    if (folder / RECIPE).is_file():
        return read_recipe(folder)
    if needed:
        raise ValueError(f"{folder}: has no {RECIPE}, which names the training set; leave samples out")
    return None


def _titles(folders: list[Path]) -> list[str]:
    """Return the names of runs: their folders', or their whole paths if folders share a name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
