"""Pictures of a run: the maps side by side, and the depth maps the teacher trusts least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynamic_kd.data import Sample
    from dynamic_kd.training._noise_report import NoiseReport

_ORANGE = "#D55E00"  # of Okabe and Ito's palette, which colour-blind readers can tell apart


def picture_grid(samples: Sequence[Sample], maps: Mapping[str, Sequence[NDArray[Any]]], *, truth_known: bool) -> Figure:
    """Draw image, depth (where all have it), truth and each method's map, a row for each sample.

    Parameters
    ----------
    samples : sequence of Sample
        The rows.
    maps : mapping
        From method to a uint8 map (H, W) for each sample: the further columns.
    truth_known : bool
        Label the rows with what is known about their depth.
    """
    from matplotlib.figure import Figure

    columns: dict[str, list[NDArray[Any]]] = {
        "image": [sample.image for sample in samples],
        "depth\n(near = bright)": [_levels(sample.depth) for sample in samples if sample.depth is not None],
        "truth": [255 * sample.mask.astype(np.uint8) for sample in samples],
    }
    columns = {title: column for title, column in columns.items() if len(column) == len(samples)}
    columns |= {name.replace(" ", "\n", 1): list(column) for name, column in maps.items()}
    figure = Figure(figsize=(1.25 * len(columns) + 0.9, 1.25 * len(samples) + 0.5), layout="constrained", dpi=130)
    axes = figure.subplots(len(samples), len(columns), squeeze=False)
    for (title, column), cells in zip(columns.items(), axes.T, strict=True):
        cells[0].set_title(title, fontsize=9)
        for picture, cell in zip(column, cells, strict=True):
            _show(cell, picture)
    for sample, cell in zip(samples, axes[:, 0], strict=True):
        label = _depth_label(sample.spoilt) if truth_known else sample.name.replace("/", "\n")
        cell.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def contact_sheet(
    samples: Sequence[Sample], report: NoiseReport, *, limit: int = 24, columns: int | None = None
) -> Figure:
    """Draw the training samples with the lowest α: the image and, as far as there are, depth and teacher's map beside.

    The mask's outline is on each of them.

    Parameters
    ----------
    samples : sequence of Sample
        The training samples, in the report's order.
    report : NoiseReport
        Their α.
    limit, columns : int
        How many samples, and how many in a row (by default as many as make a dozen pictures).
    """
    from matplotlib.figure import Figure

    shown = report.order[:limit]
    pictures = [_beside(samples[position]) for position in shown]
    across = max(map(len, pictures))
    columns = min(columns or 12 // across, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(1.15 * across * columns, 6.4), 1.36 * rows + 0.5), layout="constrained", dpi=130)
    figure.suptitle(
        f"The training samples the teacher trusts least: {len(shown)} of {len(samples)}, "
        f"{int(report.flagged.sum())} flagged ({report.rule})",
        fontsize=11,
    )
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells[len(shown) :]:
        cell.set_axis_off()
    for cell, position, row in zip(cells, shown, pictures, strict=False):
        mask = samples[position].mask
        _show(cell, np.concatenate(row, axis=1))
        if mask.any() and not mask.all():
            cell.contour(np.concatenate([mask] * len(row), axis=1), [0.5], colors=[_ORANGE], linewidths=1)
        note = report.names[position]
        if report.spoilt is not None:
            spoilt = report.spoilt[position]
            known = samples[position].teacher is not None and spoilt is None  # of teachers' maps, not of depth
            note = "right map" if known else _depth_label(spoilt).replace("\n", " ")
        flag = "" if report.flagged[position] else " (kept)"
        title = f"α = {report.teacher_iou[position]:.2f}{flag}: {note}".replace("$", r"\$")
        cell.set_title(title, fontsize=8)
    return figure


def _beside(sample: Sample) -> list[NDArray[np.uint8]]:
    """The pictures of a sample in colour: image, depth, teacher's map."""
    maps = [_levels(values) for values in (sample.depth, sample.teacher) if values is not None]
    return [sample.image, *(np.repeat(levels[..., None], 3, axis=2) for levels in maps)]


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (255 * values).astype(np.uint8)


def _depth_label(spoilt: str | None) -> str:
    return "clean\ndepth" if spoilt is None else spoilt.replace("_", "\n")


def _show(cell: Any, picture: NDArray[Any]) -> None:
    cell.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_linewidth(0.4)
