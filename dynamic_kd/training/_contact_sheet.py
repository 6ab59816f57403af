"""The contact sheet of a noise report: the training samples with the lowest α."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynamic_kd.data import Sample
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._noise_report import NoiseReport

_ORANGE = COLOURS[1]
_SHOWN = 24


def contact_sheet(data: ImageSet, report: NoiseReport) -> Figure:
    """Draw the 24 training samples with the lowest α: image and, if available, depth and teacher map.

    Each picture shows the mask's outline. A row has up to a dozen pictures.
    """
    from matplotlib.figure import Figure

    positions = {name: position for position, name in enumerate(data.names)}
    shown = report.order[:_SHOWN]
    samples = [data.sample(positions[report.names[row]]) for row in shown]
    pictures = [_beside(sample) for sample in samples]
    across = max(map(len, pictures))
    columns = min(12 // across, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(1.15 * across * columns, 6.4), 1.36 * rows + 0.5), layout="constrained", dpi=130)
    figure.suptitle(
        f"The training samples with the teacher's lowest IoU: {len(shown)} of {len(report.names)}, "
        f"{int(report.flagged.sum())} flagged ({report.rule})",
        fontsize=11,
    )
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells[len(shown) :]:
        cell.set_axis_off()
    for cell, row, sample, beside in zip(cells, shown, samples, pictures, strict=False):
        _show(cell, sample, beside)
        flag = "" if report.flagged[row] else " (kept)"
        title = f"α = {report.teacher_iou[row]:.2f}{flag}: {_note(report, row, sample)}"
        cell.set_title(title.replace("$", r"\$"), fontsize=8)
    return figure


def _note(report: NoiseReport, row: int, sample: Sample) -> str:
    """Return the sample's name, or how it is spoilt where this is known."""
    if report.spoilt is None:
        return report.names[row]
    kind = report.spoilt[row]
    clean = "clean depth" if sample.teacher is None else "right map"
    return clean if kind is None else kind.replace("_", " ")


def _beside(sample: Sample) -> list[NDArray[np.uint8]]:
    """Return the pictures of a sample in colour: image, depth, teacher map."""
    maps = [(255 * values).astype(np.uint8) for values in (sample.depth, sample.teacher) if values is not None]
    return [sample.image, *(np.repeat(levels[..., None], 3, axis=2) for levels in maps)]


def _show(cell: Any, sample: Sample, beside: list[NDArray[np.uint8]]) -> None:
    cell.imshow(np.concatenate(beside, axis=1), interpolation="nearest")
    if sample.mask.any() and not sample.mask.all():
        cell.contour(np.concatenate([sample.mask] * len(beside), axis=1), [0.5], colors=[_ORANGE], linewidths=1)
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_linewidth(0.4)
