"""A picture of a few samples of each data set, as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd._mask import Meaning, meaning
from dynamic_kd.data._images import as_probabilities, read_depth, read_gray, read_rgb
from dynamic_kd.data._located import Located, locate_any
from dynamic_kd.data._mask import read_mask
from dynamic_kd.data._polarity import polarity_of_files, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_ROLES = ("image", "depth", "mask", "teacher")


def contact_sheet(
    root: str | Path,
    *,
    list_file: str | Path | None = None,
    teacher: str | Path | None = None,
    near: str = "auto",
    salient: Any = None,
    void: Any = None,
    channel: str = "auto",
    count: int = 4,
) -> Figure:
    """Draw image, depth (near = bright), mask and teacher's map of a few samples of each data set.

    Files that are missing or cannot be read are left blank, so that a data set with problems can be shown too.

    Parameters
    ----------
    root, list_file, teacher, near, salient, void, channel
        As for `find_data`. What is void in a mask is grey.
    count : int
        Samples of each data set, evenly spread.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each sample.

    Raises
    ------
    ValueError
        As `check_data`.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    wanted = meaning(salient, void, channel)
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    located, _ = locate_any(Path(root), list_file, teacher)
    columns = [role for role in _ROLES if any(role in each.files for each in located)]
    lines = [(each, stem) for each in located for stem in spread(each.wanted, count)]
    if not lines:
        raise ValueError(f"{root}: expected images to show, got none")
    figure = Figure(figsize=(1.7 * len(columns), 1.45 * len(lines) + 0.3), layout="constrained", dpi=110)
    axes = figure.subplots(len(lines), len(columns), squeeze=False)
    polarities = {each.name: _near(each, near) for each in located}
    for row, (each, stem) in zip(axes, lines, strict=True):
        for cell, role in zip(row, columns, strict=True):
            cell.set_axis_off()
            path = each.files.get(role, {}).get(stem)
            _show(cell, _picture(role, path, polarities[each.name], wanted) if path else "none")
        row[0].set_title(each.prefix + stem, fontsize=6, loc="left")
    for cell, role in zip(axes[0], columns, strict=True):
        if role != "image":
            cell.set_title(f"{role}, near = bright" if role == "depth" else role, fontsize=6)
    return figure


def _near(located: Located, near: str) -> str:
    if near != "auto":
        return near
    return polarity_of_files(list(located.files.get("depth", {}).values())).near


def _picture(role: str, path: Path, near: str, wanted: Meaning) -> NDArray[Any] | str:
    try:
        if role == "image":
            return read_rgb(path)
        if role == "depth":
            depth = read_depth(path)
            return depth if near == "bright" else 1 - depth
        if role == "mask":
            mask = read_mask(path, **wanted._asdict())
            return mask.salient if mask.valid is None else np.where(mask.valid, mask.salient, 0.5)
        return as_probabilities(read_gray(path, channel=wanted.channel))
    except ValueError:
        return "unreadable"


def _show(cell: Any, picture: NDArray[Any] | str) -> None:
    if isinstance(picture, str):
        cell.text(0.5, 0.5, picture, ha="center", va="center", fontsize=7, transform=cell.transAxes)
    else:
        cell.imshow(picture, cmap="gray", vmin=0, vmax=None if picture.dtype == np.uint8 else 1)
