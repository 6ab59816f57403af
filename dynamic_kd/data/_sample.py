"""One sample: what every data source returns and training takes, and how its files are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._checks import check_whole
from dynamic_kd._extras import opencv
from dynamic_kd._mask import SALIENT_ABOVE, Levels, LevelsSeen, Meaning, level_notes
from dynamic_kd._threads import default_workers, in_order, thread_pool
from dynamic_kd.data._images import as_probabilities, read_depth, read_gray, read_rgb
from dynamic_kd.data._mask import Mask, read_mask
from dynamic_kd.data._polarity import decide_near

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dynamic_kd.data._find_data import DataFolder, SampleFiles

_NEAR = ("bright", "dark")


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its mask and, where it has them, its depth map and a teacher's saliency map.

    Attributes
    ----------
    name : str
        Unique within a data set. Files are named by it.
    image : ndarray
        Shape (H, W, 3), uint8, red, green, blue.
    depth : ndarray or None
        Shape (H, W), float32 in [0, 1], near = bright; None in sets without depth.
    mask : ndarray
        Shape (H, W), bool, True where salient.
    spoilt : str or None
        How the depth map is spoilt, where it is known to be (see `synthetic_rgbd`). Training does not use it.
    teacher : ndarray or None
        A teacher's saliency map, shape (H, W), float32 in [0, 1].
    valid : ndarray or None
        Shape (H, W), bool: False where the mask is void. None in sets without void levels.
    """

    name: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    mask: NDArray[np.bool_]
    spoilt: str | None = None
    teacher: NDArray[np.float32] | None = None
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_array(self.name, "image", self.image, 3, np.uint8)
        _check_array(self.name, "mask", self.mask, 2, np.bool_)
        maps = {"depth": self.depth, "teacher": self.teacher, "valid": self.valid}
        for field, values in maps.items():
            if values is not None:
                _check_array(self.name, field, values, 2, np.bool_ if field == "valid" else np.float32)
        shapes = {"image": self.image.shape, "mask": self.mask.shape}
        shapes |= {field: values.shape for field, values in maps.items() if values is not None}
        if len({shape[:2] for shape in shapes.values()}) > 1 or self.image.shape[2] != 3:
            raise ValueError(
                f"sample {self.name}: expected image (H, W, 3), and depth, mask and teacher's map (H, W), "
                f"got {', '.join(f'{field} {shape}' for field, shape in shapes.items())}; resize them to one size"
            )


def _check_array(sample: str, field: str, array: Any, ndim: int, dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype != dtype:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"sample {sample}: expected {field} as {np.dtype(dtype)} with {ndim} axes, got {got}")


class InputArrays(NamedTuple):
    """What `read_inputs` returns."""

    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    original_size: tuple[int, int]


def read_samples(
    folders: Iterable[DataFolder],
    *,
    size: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sample]:
    """Decode the files of data sets into samples, in order, in several threads.

    Depth is stretched to [0, 1] with near = bright. `decide_near` decides for data sets with ``near="auto"``.
    Orientation tags of cameras are ignored in all files.

    Parameters
    ----------
    folders : iterable of DataFolder
        What `find_data` found. Every sample needs a mask.
    size : int, optional
        Resize all arrays to this height and width. Without it, depth maps and teacher's maps are resized to their
        image (``dynamic-kd data check`` counts them), and a mask of another size than its image is an error.
    workers : int, optional
        Threads. By default one for each core, at most eight.
    progress : callable
        Called with the number of samples read, and their total.

    Returns
    -------
    list of Sample
        The samples of all data sets. Masks and teacher's maps are resized as probabilities. Then a mask is True where
        its level exceeds 128 of 255, as in the metrics. Where half of a resized pixel is void, all of it is.

    Raises
    ------
    ValueError
        If a file cannot be read, if a mask is missing or has another size, or if the levels of a data set's masks have
        several meanings (see `decide_masks`).

    Examples
    --------
    >>> [sample, *_] = read_samples(find_data("NJU2K", depth=True), size=256)  # doctest: +SKIP
    >>> sample.depth.shape  # doctest: +SKIP
    (256, 256)
    """
    check_whole("size", size, low=1, optional=True)
    check_whole("workers", workers, low=1, optional=True)
    workers = workers or default_workers()
    decided = decide_near(folders)
    jobs = [(files, folder) for folder in decided for files in folder.files]
    seen = {folder.root: LevelsSeen(folder.meaning) for folder in decided if folder.salient is None}
    samples: list[Sample] = []
    with thread_pool(workers) as pool:
        for sample, found in in_order(pool, lambda job: _read_sample(*job, size), jobs, ahead=4 * workers):
            folder = jobs[len(samples)][1]
            if folder.root in seen:
                seen[folder.root].add(sample.name, found)
            samples.append(sample)
            progress(len(samples), len(jobs))
    for root, levels in seen.items():
        levels.decide(str(root))
    return samples


def decide_masks(folders: Iterable[DataFolder], *, workers: int | None = None) -> list[DataFolder]:
    """Find out what the levels of each data set's masks mean, from all of them, and set ``DataFolder.salient``.

    Two levels of which one is 0 are binary, and 0 and 255 may have grey edges. A note names any other salient level
    than 255. Levels that ``find_data(salient=...)`` or ``void=`` name need no decision, but must occur.

    Raises
    ------
    ValueError
        If a mask cannot be read, or if levels have several meanings; the message lists the levels with the files, and
        what to pass for each meaning.
    """
    decided = []
    for folder in folders:
        paths = folder.masks or [files.mask for files in folder.files if files.mask]
        seen = levels_of(paths, folder.meaning, workers)
        chosen = seen.decide(str(folder.root))
        notes = (*folder.notes, *(f"{folder.root}: {note}" for note in level_notes(seen)))
        decided.append(replace(folder, salient=chosen, notes=notes))
    return decided


def levels_of(paths: Sequence[Path], wanted: Meaning, workers: int | None = None) -> LevelsSeen:
    """Return the levels of mask files."""
    seen, workers = LevelsSeen(wanted), workers or default_workers()
    with thread_pool(workers) as pool:
        found = in_order(pool, lambda path: read_mask(path, **wanted._asdict()).found, paths, ahead=4 * workers)
        for path, levels in zip(paths, found, strict=True):
            seen.add(path.name, levels)
    return seen


def read_inputs(files: SampleFiles, *, near: str = "bright", size: int | None = None) -> InputArrays:
    """Decode the input of a network: the image of a sample, and its depth map if it has one.

    Parameters
    ----------
    files : SampleFiles
        The files.
    near : {"bright", "dark"}
        What is near in the depth file.
    size : int, optional
        Resize both to this height and width. Without it, the depth map is resized to the image's size.

    Returns
    -------
    image : ndarray
        Shape (H, W, 3), uint8.
    depth : ndarray or None
        Shape (H, W), float32 in [0, 1], near = bright.
    original_size : tuple of int
        Height and width of the image file.

    Raises
    ------
    ValueError
        If a file cannot be read, or if ``near`` is undecided.
    """
    if files.depth and near not in _NEAR:
        raise ValueError(f"near: expected {' or '.join(map(repr, _NEAR))}, got {near!r}; see decide_near")
    image = read_rgb(files.image)
    original = image.shape[0], image.shape[1]
    shape = (size, size) if size else original
    if files.depth is None:
        return InputArrays(resized(image, shape), None, original)
    depth = read_depth(files.depth)
    return InputArrays(resized(image, shape), resized(depth if near == "bright" else 1 - depth, shape), original)


def _read_sample(files: SampleFiles, folder: DataFolder, size: int | None) -> tuple[Sample, Levels]:
    """Decode a sample; return it with the levels of its mask."""
    if files.mask is None:
        raise ValueError(f"sample {files.name}: expected a mask, got none; find the data with masks=True")
    image, depth, original = read_inputs(files, near=folder.near, size=size)
    mask = read_mask(files.mask, **folder.meaning._asdict())
    if not size and mask.values.shape != original:
        raise ValueError(
            f"{files.mask}: expected a mask of its image's size {original}, got {mask.values.shape}; "
            f"give a size to resize all to"
        )
    shape = image.shape[0], image.shape[1]
    target, valid = _resized_mask(mask, shape, void=bool(folder.meaning.void))
    teacher = None
    if files.teacher is not None:
        teacher = resized(as_probabilities(read_gray(files.teacher, channel=folder.meaning.channel)), shape)
    return Sample(files.name, image, depth, target, teacher=teacher, valid=valid), mask.found


def _resized_mask(
    mask: Mask, shape: tuple[int, int], *, void: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return the salient pixels of a resized mask, and with ``void`` its valid ones."""
    if mask.valid is None:
        target = resized(mask.values.astype(np.float32), shape) > SALIENT_ABOVE
        return target, np.ones(shape, bool) if void else None
    share = resized(mask.valid.astype(np.float32), shape)
    level = resized(np.where(mask.valid, mask.values, 0).astype(np.float32), shape)
    valid = share >= 0.5
    return valid & (level > SALIENT_ABOVE * share), valid


def resized(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resize to a height and width, by area where both shrink, else linearly. No value leaves the array's range."""
    height, width = shape
    if array.shape[:2] == shape:
        return array
    cv2 = opencv()
    shrinks = height < array.shape[0] and width < array.shape[1]
    result = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    # Rounding of floating sums would push a probability above 1.
    return np.asarray(result if array.dtype == np.uint8 else result.clip(array.min(), array.max()))
