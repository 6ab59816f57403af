"""Files of samples, decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._checks import check_whole
from dynamic_kd.data._images import opencv, read_depth, read_gray, read_rgb
from dynamic_kd.data._polarity import decide_near
from dynamic_kd.data._sample import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dynamic_kd.data._sources import DataFolder, SampleFiles


_NEAR = ("bright", "dark")
_SALIENT_ABOVE = 128


def read_samples(
    folders: Iterable[DataFolder],
    *,
    size: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sample]:
    """Decode the files of data sets into samples, in order, in several threads.

    Depth is stretched to [0, 1] with near = bright, by `decide_near` for the data sets where that is open. What a
    camera says of its orientation is ignored in all files alike.

    Parameters
    ----------
    folders : iterable of DataFolder
        What `find_data` found; every sample needs a mask.
    size : int, optional
        Resize all to this height and width. Without it, depth and teacher's maps of another size than their image
        are resized to it (``dynamic-kd data check`` counts them), and a mask of another size is an error.
    workers : int, optional
        Threads; by default one for each processor, eight at most.
    progress : callable
        Called with how many samples are read, and how many there are.

    Returns
    -------
    list of Sample
        The samples of all data sets. Masks and teacher's maps are resized as probabilities; then a mask is True where
        its level exceeds 128 of 255, as in the metrics.

    Raises
    ------
    ValueError
        If a file cannot be read, if a mask is missing, of another size, or has levels over 0 but none over 128.

    Examples
    --------
    >>> [sample, *_] = read_samples(find_data("NJU2K", depth=True), size=256)  # doctest: +SKIP
    >>> sample.depth.shape  # doctest: +SKIP
    (256, 256)
    """
    check_whole("size", size, low=1, optional=True)
    check_whole("workers", workers, low=1, optional=True)
    folders = decide_near(folders)
    jobs = [(files, folder.near) for folder in folders for files in folder.files]
    samples = []
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    try:
        for sample in pool.map(lambda job: _sample(job[0], job[1], size), jobs):
            samples.append(sample)
            progress(len(samples), len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)
    return samples


def read_inputs(
    files: SampleFiles, *, near: str = "bright", size: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Decode what a network sees of a sample: its image, and its depth map if it has one.

    Parameters
    ----------
    files : SampleFiles
        The files.
    near : {"bright", "dark"}
        What is near in the depth file.
    size : int, optional
        Resize both to this height and width; without it, the depth map to the image's size.

    Returns
    -------
    image : ndarray
        Shape (H, W, 3), uint8.
    depth : ndarray or None
        Shape (H, W), float32 in [0, 1], near = bright.

    Raises
    ------
    ValueError
        If a file cannot be read, or if ``near`` is still to be decided.
    """
    if files.depth and near not in _NEAR:
        raise ValueError(f"near: expected {' or '.join(map(repr, _NEAR))}, got {near!r}; see decide_near")
    image = read_rgb(files.image)
    shape = (size, size) if size else image.shape[:2]
    if files.depth is None:
        return resized(image, shape), None
    depth = read_depth(files.depth)
    return resized(image, shape), resized(depth if near == "bright" else 1 - depth, shape)


def _sample(files: SampleFiles, near: str, size: int | None) -> Sample:
    if files.mask is None:
        raise ValueError(f"sample {files.name}: expected a mask, got none; find the data with masks=True")
    image, depth = read_inputs(files, near=near, size=size)
    shape = image.shape[:2]
    mask = read_gray(files.mask)
    check_mask(mask, files.mask)
    if not size and mask.shape != shape:
        raise ValueError(
            f"{files.mask}: expected a mask of its image's size {shape}, got {mask.shape}; give a size to resize all to"
        )
    target = salient(resized(mask.astype(np.float32), shape))
    if files.teacher is None:
        return Sample(files.name, image, depth, target)
    teacher = read_gray(files.teacher).astype(np.float32) / 255
    return Sample(files.name, image, depth, target, teacher=resized(teacher, shape))


def check_mask(levels: NDArray[np.uint8], path: Path) -> None:
    """Raise if a mask has levels over 0 but none that counts as salient: it would read as empty."""
    if levels.any() and not salient(levels).any():
        raise ValueError(
            f"{path}: expected a mask whose salient level is over {_SALIENT_ABOVE}, got a maximum of {levels.max()}; "
            "save it with the levels 0 and 255"
        )


def salient(levels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell what is salient in a mask of levels from 0 to 255, by the metrics' threshold."""
    return np.asarray(levels > _SALIENT_ABOVE)


def resized(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize to a height and width: by area where it shrinks, else linearly; no value leaves the range."""
    height, width = shape
    if array.shape[:2] == shape:
        return array
    cv2 = opencv()
    shrinks = height < array.shape[0] and width < array.shape[1]
    result = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    # Sums of floats round, and a probability would exceed 1 by it.
    return np.asarray(result if array.dtype == np.uint8 else result.clip(array.min(), array.max()))
