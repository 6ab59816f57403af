"""The visual comparison: images, masks and the maps of all methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._extras import require
from dynamic_kd._tables import rounded
from dynamic_kd.data import images_by_stem, read_gray, read_rgb
from dynamic_kd.evaluation._compare import Comparison, DataSetResult
from dynamic_kd.evaluation._config import grid_request
from dynamic_kd.metrics import SCORES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tile = npt.NDArray[np.uint8]
Index = Callable[[Path], Mapping[str, Path]]

# Pixels: the width of a column, the gap between tiles, and the line under each tile for its score.
_WIDTH, _GAP, _LINE = 220, 6, 20
_BLANK = 225
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

    folders = comparison.config.datasets[dataset]
    methods = list(comparison.datasets[dataset].reports)
    titles = [*(["image"] if folders.image is not None else []), "mask", *methods]
    index = cache(images_by_stem)
    rows = [_row(index, comparison, dataset, stem) for stem in stems]
    captions = [_captions(comparison, dataset, stem, len(titles) - len(methods)) for stem in stems]
    canvas, tops = _canvas(rows, len(titles))
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="none", aspect="auto", extent=(0, width, height, 0))
    axes.axis("off")
    for column, title in enumerate(titles):
        _write(axes, column, _LINE, _shortened(title), weight="bold")
    for top, row, texts in zip(tops, rows, captions, strict=True):
        for column, text in enumerate(texts):
            _write(axes, column, top + row[0].shape[0] + _LINE + 1, _shortened(text))
    return figure


def _write(axes: Any, column: int, bottom: int, text: str, **style: Any) -> None:
    x = _GAP + column * (_WIDTH + _GAP) + _WIDTH / 2
    axes.text(x, bottom - 3, text, ha="center", va="bottom", fontsize=10, parse_math=False, **style)


def _shortened(text: str) -> str:
    """Return a text that fits over a tile; both ends are kept, as names of variants often differ at the end."""
    return text if len(text) <= 2 * _HALF + 1 else f"{text[:_HALF]}…{text[-_HALF:]}"


def _row(index: Index, comparison: Comparison, dataset: str, stem: str) -> list[Tile]:
    """Return the tiles of one image, all of one size; a missing map is a grey tile."""
    folders = comparison.config.datasets[dataset]
    mask = read_gray(_file(index, folders.target, stem, dataset))
    size = _WIDTH, max(1, round(_WIDTH * mask.shape[0] / mask.shape[1]))
    tiles = [_tile(read_rgb(_file(index, folders.image, stem, dataset)), size)] if folders.image is not None else []
    tiles.append(_tile(mask, size))
    for method, report in comparison.datasets[dataset].reports.items():
        if stem in report.names:
            folder = comparison.config.methods[method][dataset]
            tiles.append(_tile(read_gray(_file(index, folder, stem, dataset)), size))
        else:
            tiles.append(np.full((size[1], size[0], 3), _BLANK, np.uint8))
    return tiles


def _captions(comparison: Comparison, dataset: str, stem: str, before: int) -> list[str]:
    """Return the text under each tile: the image's name, and the score of each map."""
    score = chosen_score(comparison)
    texts = [stem, *[""] * (before - 1)]
    for report in comparison.datasets[dataset].reports.values():
        own: Mapping[str, int] = {name: index for index, name in enumerate(report.names)}
        column = report.columns.index(score)
        texts.append(f"{score} {rounded(report.rows[own[stem], column])}" if stem in own else "no map")
    return texts


def _canvas(rows: Sequence[Sequence[Tile]], columns: int) -> tuple[Tile, list[int]]:
    """Return all tiles on a white canvas, below a line for the titles, and the top of each row."""
    height = _LINE + _GAP + sum(row[0].shape[0] + _LINE + _GAP for row in rows)
    canvas = np.full((height, _GAP + columns * (_WIDTH + _GAP), 3), 255, np.uint8)
    tops, top = [], _LINE + _GAP
    for row in rows:
        tops.append(top)
        for column, tile in enumerate(row):
            left = _GAP + column * (_WIDTH + _GAP)
            canvas[top : top + tile.shape[0], left : left + _WIDTH] = tile
        top += row[0].shape[0] + _LINE + _GAP
    return canvas, tops


def _tile(image: Tile, size: tuple[int, int]) -> Tile:
    import cv2

    shrinks = size[0] < image.shape[1]
    tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, axis=2), np.uint8)


def _file(index: Index, folder: Path, stem: str, dataset: str) -> Path:
    found = index(folder).get(stem)
    if found is not None:
        return found
    raise ValueError(f"grid: no image {stem} of {dataset} in {folder}; add it, or choose others")
