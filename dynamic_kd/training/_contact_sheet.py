"""The contact sheet of a noise report: the training samples with the lowest α."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynamic_kd.data import Sample
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._noise_report import NoiseReport

    TeacherMaps = Callable[[Sequence[int]], Iterable[NDArray[np.float32]]]

_ORANGE = COLOURS[1]
_SHOWN = 24


def contact_sheet(data: ImageSet, report: NoiseReport, teacher_maps: TeacherMaps | None = None) -> Figure:
    """Draw the 24 training samples with the lowest α: image, depth, mask and the teacher's map, as far as there are.

    ``teacher_maps`` computes the maps of samples from their positions, for a teacher that is not given as maps. Each
    picture shows the mask's outline. A row has up to a dozen pictures.
    """
    from matplotlib.figure import Figure

    positions = {name: position for position, name in enumerate(data.names)}
    shown = report.order[:_SHOWN]
    places = [positions[report.names[row]] for row in shown]
    samples = [data.sample(place) for place in places]
    if teacher_maps is not None:
        samples = [
            replace(sample, teacher=values) for sample, values in zip(samples, teacher_maps(places), strict=True)
        ]
    pictures = [_beside(sample) for sample in samples]
    across = max(map(len, pictures))
    columns = min(12 // across, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(1.15 * across * columns, 6.4), 1.36 * rows + 0.7), layout="constrained", dpi=130)
    figure.suptitle(
        f"Where the teacher agrees least with the mask: {len(shown)} of {len(report.names)} training samples, "
        f"{int(report.flagged.sum())} flagged ({report.rule})\nα: soft IoU of the teacher's map with the mask. "
        f"Left to right: {', '.join(pictures[0])}",
        fontsize=10,
    )
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells[len(shown) :]:
        cell.set_axis_off()
    for cell, row, sample, beside in zip(cells, shown, samples, pictures, strict=False):
        _show(cell, sample, list(beside.values()))
        flag = "" if report.flagged[row] else " (kept)"
        title = f"α = {report.teacher_iou[row]:.2f}{flag}: {_note(report, row, data)}"
        cell.set_title(title.replace("$", r"\$"), fontsize=8)
    return figure


def _note(report: NoiseReport, row: int, data: ImageSet) -> str:
    """Return the sample's name, or how it is spoilt where this is known."""
    if report.spoilt is None:
        return report.names[row]
    kind, judged = report.spoilt[row], "depth" if data.teacher_maps is None else "map"
    return f"right {judged}" if kind is None else f"{kind.replace('_', ' ')} {judged}"


def _beside(sample: Sample) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures of a sample in colour, by name."""
    planes = {"depth": sample.depth, "mask": sample.mask, "teacher's map": sample.teacher}
    levels = {name: (255 * values).astype(np.uint8) for name, values in planes.items() if values is not None}
    return {"image": sample.image} | {name: np.repeat(each[..., None], 3, axis=2) for name, each in levels.items()}


def _show(cell: Any, sample: Sample, beside: list[NDArray[np.uint8]]) -> None:
    cell.imshow(np.concatenate(beside, axis=1), interpolation="nearest")
    if sample.mask.any() and not sample.mask.all():
        cell.contour(np.concatenate([sample.mask] * len(beside), axis=1), [0.5], colors=[_ORANGE], linewidths=1)
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_linewidth(0.4)
