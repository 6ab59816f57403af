"""Runs' maps side by side: the visual comparison of Figures 6 and 9, and the heat maps of Figure 8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd.data import Sample
from dynamic_kd.models import load_model
from dynamic_kd.training._evaluation import saliency
from dynamic_kd.training._figures import picture_grid
from dynamic_kd.training._sources import report_samples
from dynamic_kd.training._stage import weights_file
from dynamic_kd.training._tensors import Tensors
from dynamic_kd.training._train import resumable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynamic_kd.training._recipe import Recipe

    Picture = NDArray[np.uint8]


def visual_comparison(
    runs: Mapping[str, str | Path],
    images: int | Sequence[str] = 6,
    *,
    samples: Sequence[Sample] | None = None,
    heat: bool = False,
) -> Figure:
    """Draw images, truth and the maps of runs' students side by side.

    Parameters
    ----------
    runs : mapping
        From method to run folder, with its weights.
    images : int or sequence of str
        Which images, by name; or so many, on which the runs differ most.
    samples : sequence of Sample, optional
        To choose from; by default the reporting images of the first run's recipe. Each run sees their depth if its own
        recipe has depth.
    heat : bool
        Draw the maps as heat over the image, as Figure 8 does.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each image.

    Raises
    ------
    ValueError
        If there is no run or no image, or an image is not among the samples.
    """
    require("matplotlib", extra="eval")
    if not runs:
        raise ValueError("runs: expected a run folder for each method, got none")
    folders = {name: Path(folder) for name, folder in runs.items()}
    recipes = {name: resumable(folder) for name, folder in folders.items()}
    samples = _reporting([*recipes.values()]) if samples is None else list(samples)
    if not samples:
        raise ValueError("samples: expected images to show, got none; the recipe names none in data.report")
    data = {depth: Tensors.of(samples, depth=depth) for depth in {each.data.depth for each in recipes.values()}}
    maps = {name: _levels(folder, data[recipes[name].data.depth]) for name, folder in folders.items()}
    shown = _positions(images, samples, maps)
    chosen = [samples[position] for position in shown]
    paint: Callable[[Sample, Picture], Picture] = _heated if heat else lambda sample, levels: levels
    columns = {
        name.replace(" = ", "="): [paint(samples[position], levels[position]) for position in shown]
        for name, levels in maps.items()
    }
    return picture_grid(chosen, columns, truth_known=False)


def _reporting(recipes: Sequence[Recipe]) -> list[Sample]:
    """Make or read the reporting images of the first recipe, with depth, as the first that has it, if any has it."""
    first = recipes[0]
    deep = next((each for each in recipes if each.data.depth), first)
    return report_samples(replace(first, data=replace(first.data, depth=deep.data.depth, near=deep.data.near)))


def _levels(folder: Path, data: Tensors) -> Picture:
    """Predict the maps of a run's student, (N, H, W), 8-bit."""
    predicted = saliency(load_model(weights_file(folder, 2, "last")), data)[:, 0]
    levels: Picture = np.rint(255 * predicted).astype(np.uint8)
    return levels


def _positions(images: int | Sequence[str], samples: Sequence[Sample], maps: Mapping[str, Picture]) -> list[int]:
    if isinstance(images, int):
        truth = np.stack([sample.mask for sample in samples]) * 255.0
        errors = np.stack([np.abs(levels - truth).mean(axis=(1, 2)) for levels in maps.values()])
        differing = np.ptp(errors, axis=0) if len(maps) > 1 else errors[0]
        return sorted(np.argsort(-differing, kind="stable")[:images].tolist())
    place = {sample.name: position for position, sample in enumerate(samples)}
    unknown = [name for name in images if name not in place]
    if unknown:
        raise ValueError(f"images: expected some of the {len(samples)} samples, got {', '.join(unknown)}")
    return [place[name] for name in images]


def _heated(sample: Sample, levels: Picture) -> Picture:
    """Lay a map over its image as heat: from blue, not salient, to red."""
    from matplotlib import colormaps

    colours: NDArray[Any] = colormaps["jet"](levels)[..., :3]
    mixed: Picture = np.rint(0.45 * sample.image + 0.55 * 255 * colours).astype(np.uint8)
    return mixed
