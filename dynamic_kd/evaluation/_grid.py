"""The visual comparison: images, masks and the maps of all methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._extras import require
from dynamic_kd._tables import rounded
from dynamic_kd.data import images_by_stem, read_gray, read_mask, read_rgb
from dynamic_kd.evaluation._compare import Comparison, DataSetResult
from dynamic_kd.evaluation._config import grid_request
from dynamic_kd.metrics import SCORES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tile = npt.NDArray[np.uint8]
Index = Callable[[Path], Mapping[str, Path]]

# Pixels: the width of a column, the gap between tiles, and the line under each tile for its score.
_WIDTH, _GAP, _LINE = 220, 6, 20
# Letters kept at each end of a long name.
_HALF = 11
_DPI = 100


def chosen_score(comparison: Comparison) -> str:
    """Return the score shown under each map: Sm, or the first score of each image."""
    columns = next(iter(next(iter(comparison.datasets.values())).reports.values())).columns
    return "Sm" if "Sm" in columns else columns[0]


def chosen_images(comparison: Comparison) -> dict[str, list[str]]:
    """Return the images to show of each data set: the ones named, or the worst by their mean over methods."""
    request = grid_request(comparison.config.settings.grid or ())
    if isinstance(request, int):
        score = chosen_score(comparison)
        return {name: _worst(result, score, request) for name, result in comparison.datasets.items()}
    return {
        name: [stem for stem in request if any(stem in report.names for report in result.reports.values())]
        for name, result in comparison.datasets.items()
    }


def _worst(result: DataSetResult, score: str, count: int) -> list[str]:
    sums: dict[str, list[float]] = {}
    for report in result.reports.values():
        column = report.columns.index(score)
        for name, value in zip(report.names, report.rows[:, column].tolist(), strict=True):
            sums.setdefault(name, []).append(value)
    sign = 1 if SCORES[score].higher_is_better else -1
    return sorted(sums, key=lambda name: (sign * float(np.mean(sums[name])), name))[:count]


def draw_grid(comparison: Comparison, dataset: str, stems: Sequence[str]) -> Figure:
    """Draw a row for each image: the image if there is one, the mask, and the map of each method with its score."""
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    has_image = comparison.config.datasets[dataset].image is not None
    titles = [*(["image"] if has_image else []), "mask", *comparison.datasets[dataset].reports]
    figure = Figure(dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for column, title in enumerate(titles):
        _write(axes, column, _LINE, title, weight="bold")
    index = cache(partial(images_by_stem, arrays=True))
    top = _LINE + _GAP
    for stem in stems:
        tiles = _tiles(index, comparison, dataset, stem)
        height = max(tile.shape[0] for tile, _ in tiles if tile is not None)
        for column, (tile, text) in enumerate(tiles):
            if tile is not None:
                left = _left(column)
                axes.imshow(tile, cmap="gray", vmin=0, vmax=255, extent=(left, left + _WIDTH, top + height, top))
            _write(axes, column, top + height + _LINE + 1, text)
        top += height + _LINE + _GAP
    width = _left(len(titles))
    axes.set(xlim=(0, width), ylim=(top, 0), aspect="auto")
    figure.set_size_inches(width / _DPI, top / _DPI)
    return figure


def _left(column: int) -> int:
    return _GAP + column * (_WIDTH + _GAP)


def _write(axes: Any, column: int, bottom: int, text: str, **style: Any) -> None:
    """Write under or over a tile; both ends of a long name are kept, as variants often differ at the end."""
    shown = text if len(text) <= 2 * _HALF + 1 else f"{text[:_HALF]}…{text[-_HALF:]}"
    place = _left(column) + _WIDTH / 2, bottom - 3
    axes.text(*place, shown, ha="center", va="bottom", fontsize=10, parse_math=False, **style)


def _tiles(index: Index, comparison: Comparison, dataset: str, stem: str) -> list[tuple[Tile | None, str]]:
    """Return one image's tiles, all of one size, and the text under each; None for a missing map."""
    folders = comparison.config.datasets[dataset]
    wanted = comparison.config.settings.meaning
    mask = read_mask(_file(index, folders.target, stem, dataset), **wanted._asdict()).values
    size = _WIDTH, max(1, round(_WIDTH * mask.shape[0] / mask.shape[1]))
    tiles: list[tuple[Tile | None, str]] = []
    if folders.image is not None:
        tiles.append((_resized(read_rgb(_file(index, folders.image, stem, dataset)), size), stem))
    tiles.append((_resized(mask, size), "" if tiles else stem))
    score = chosen_score(comparison)
    for method, report in comparison.datasets[dataset].reports.items():
        if stem in report.names:
            path = _file(index, comparison.config.methods[method][dataset], stem, dataset)
            value = report.rows[report.names.index(stem), report.columns.index(score)]
            saliency = read_gray(path, channel=wanted.channel)
            levels = saliency if saliency.dtype == np.uint8 else (255 * saliency).round().astype(np.uint8)
            tiles.append((_resized(levels, size), f"{score} {rounded(value)}"))
        else:
            tiles.append((None, "no map"))
    return tiles


def _resized(image: npt.NDArray[Any], size: tuple[int, int]) -> Tile:
    import cv2

    image = image if image.dtype == np.uint8 else np.rint(255 * image).astype(np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _file(index: Index, folder: Path, stem: str, dataset: str) -> Path:
    found = index(folder).get(stem)
    if found is not None:
        return found
    raise ValueError(f"grid: no image {stem} of {dataset} in {folder}; add it, or choose others")
