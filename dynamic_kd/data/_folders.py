"""RGB-D data sets in memory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dynamic_kd.data._find_data import find_data
from dynamic_kd.data._polarity import decide_near
from dynamic_kd.data._sample import Sample, read_samples


class DataSet(NamedTuple):
    """Samples of one folder, whether ``"bright"`` or ``"dark"`` meant near in its depth files, and doubts."""

    name: str
    near: str
    samples: list[Sample]
    notes: tuple[str, ...] = ()


def read_folders(root: str | Path, *, near: str = "auto", size: int | None = None) -> list[DataSet]:
    """Find RGB-D data sets with masks by `find_data`, and read each by `read_samples`.

    Parameters
    ----------
    root : str or Path
        A data set's folder, or a folder of several.
    near : {"auto", "bright", "dark"}
        What is near in the depth files; by default `decide_near` decides for each data set.
    size : int, optional
        Resize all to this height and width.

    Returns
    -------
    list of DataSet
        In the order of their paths; in their samples, near is always bright.

    Raises
    ------
    ValueError
        As `find_data` and `read_samples`.

    Examples
    --------
    >>> [data] = read_folders("NJU2K", near="bright", size=256)  # doctest: +SKIP
    >>> data.samples[0].depth.shape  # doctest: +SKIP
    (256, 256)
    """
    folders = decide_near(find_data(root, depth=True, near=near))
    return [DataSet(folder.name, folder.near, read_samples([folder], size=size), folder.notes) for folder in folders]
