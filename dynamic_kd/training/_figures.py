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
    """Draw image, depth, truth and each method's map, a row for each sample.

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
        "depth\n(near = bright)": [(255 * sample.depth).astype(np.uint8) for sample in samples],
        "truth": [255 * sample.mask.astype(np.uint8) for sample in samples],
    }
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


def contact_sheet(samples: Sequence[Sample], report: NoiseReport, *, limit: int = 24, columns: int = 6) -> Figure:
    """Draw the training samples with the lowest α, image beside depth, the mask's outline on both.

    Parameters
    ----------
    samples : sequence of Sample
        The training samples, in the report's order.
    report : NoiseReport
        Their α.
    limit, columns : int
        How many samples, and how many in a row.
    """
    from matplotlib.figure import Figure

    shown = report.order[:limit]
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.3 * columns, 1.5 * rows + 0.7), layout="constrained", dpi=130)
    figure.suptitle(
        f"The training samples the teacher trusts least: {len(shown)} of {len(samples)}, "
        f"{int(report.flagged.sum())} flagged (α ≤ {report.threshold:g})",
        fontsize=11,
    )
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells[len(shown) :]:
        cell.set_axis_off()
    for cell, position in zip(cells, shown, strict=False):
        sample = samples[position]
        depth = np.repeat((255 * sample.depth).astype(np.uint8)[..., None], 3, axis=2)
        _show(cell, np.concatenate([sample.image, depth], axis=1))
        if sample.mask.any() and not sample.mask.all():
            cell.contour(np.concatenate([sample.mask] * 2, axis=1), [0.5], colors=[_ORANGE], linewidths=1)
        note = sample.name
        if report.spoilt is not None:
            note = _depth_label(report.spoilt[position]).replace("\n", " ")
        flag = "" if report.flagged[position] else " (kept)"
        cell.set_title(f"α = {report.teacher_iou[position]:.2f}{flag}: {note}", fontsize=8)
    return figure


def _depth_label(spoilt: str | None) -> str:
    return "clean\ndepth" if spoilt is None else spoilt.replace("_", "\n")


def _show(cell: Any, picture: NDArray[Any]) -> None:
    cell.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_linewidth(0.4)
