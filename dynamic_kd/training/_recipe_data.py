"""The data sets that a recipe names, found, checked and read into `ImageSet` objects."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dynamic_kd._extras import opencv
from dynamic_kd._mask import Meaning, meaning
from dynamic_kd._threads import default_workers, thread_pool
from dynamic_kd.data import decide_masks, decide_near, find_data, read_samples, synthetic_rgbd
from dynamic_kd.training._array_cache import cache_key, cached_image_set
from dynamic_kd.training._spoilt_maps import with_spoilt_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dynamic_kd.data import DataFolder, Sample, SampleFiles
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._recipe import Recipe

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]
    Folders = Mapping[str, list[DataFolder]]

_TITLES = {"train": "training", "validation": "validation", "report": "report"}
_CHUNK = 64  # samples that are decoded into memory at a time
_GIB = 2**30


class RecipeData(NamedTuple):
    """The image sets of a recipe; None where the recipe names none."""

    train: ImageSet
    validation: ImageSet | None
    report: ImageSet | None


def find_folders(recipe: Recipe) -> dict[str, list[DataFolder]]:
    """Find the data sets of ``"train"``, ``"validation"`` and ``"report"`` without decoding any image.

    Raises
    ------
    ValueError
        If a folder or a file is missing, or if an image occurs twice.
    """
    data, maps = recipe.data, recipe.teacher.maps if recipe.needs_teacher else None
    folders = {part: _folders(recipe, getattr(data, part), maps if part == "train" else None) for part in _TITLES}
    _check_apart(folders)
    return folders


def training_samples(recipe: Recipe, folders: Folders) -> int:
    """Return the number of training samples."""
    synthetic = recipe.data.source == "synthetic"
    return recipe.data.train_count if synthetic else sum(len(folder.files) for folder in folders["train"])


def read_recipe_data(
    recipe: Recipe, folders: Folders, device: torch.device, progress: Progress, note: Note
) -> RecipeData:
    """Read the image sets of a recipe, and copy them to a GPU where they leave room.

    Parameters
    ----------
    recipe : Recipe
        Its section ``data``, and ``teacher.maps`` with what spoils them.
    folders : mapping
        Of `find_folders`.
    device : torch.device
        Where training takes its batches.
    progress : callable
        Called while images are decoded, which happens once for each content and size.
    note : callable
        Called with what the user should know.

    Raises
    ------
    ValueError
        If a file cannot be read, or if the levels of a data set's masks have several meanings.
    """
    near = {part: decide_masks(decide_near(sets)) for part, sets in folders.items()}
    for text in dict.fromkeys(text for sets in near.values() for each in sets for text in _notes(each, recipe)):
        note(text)
    train, *others = (_image_set(recipe, part, near, progress) for part in _TITLES)
    assert train is not None
    return _placed(RecipeData(train, *others), device, note)


def read_part(recipe: Recipe, part: str, progress: Progress) -> ImageSet | None:
    """Read one image set of a recipe, in the computer's memory: ``"train"``, ``"validation"`` or ``"report"``."""
    folders = {name: decide_near(sets) for name, sets in find_folders(recipe).items()}
    return _image_set(recipe, part, folders, progress)


def _image_set(recipe: Recipe, part: str, folders: Folders, progress: Progress) -> ImageSet | None:
    """Read one image set; None if it has no images."""
    data, teacher = recipe.data, recipe.teacher
    advance = partial(progress, f"{_TITLES[part]} samples")
    if data.source == "synthetic":
        return _synthetic(recipe, part, advance)
    files = [(each, folder.near) for folder in folders[part] for each in folder.files]
    if not files:
        return None
    contents = _contents(files)
    settings: dict[str, Any] = {
        "decoder": opencv().__version__,
        "size": data.size,
        "depth": data.depth,
        "files": contents,
    }
    wanted = meaning(data.salient, data.void, data.channel)
    if wanted != Meaning():
        settings["masks"] = wanted
    chunks = _read_chunks(folders[part], data.size, len(files), advance)
    found = cached_image_set(cache_key(settings), chunks, len(files), depth=data.depth)
    found = replace(found, source=hashlib.sha256(json.dumps(contents).encode()).hexdigest())
    if part == "train" and recipe.needs_teacher and teacher.spoil is not None:
        found = with_spoilt_maps(found, teacher.spoil, teacher.spoil_share, recipe.seed)
    return found


def _synthetic(recipe: Recipe, part: str, advance: Callable[[int, int], None]) -> ImageSet | None:
    data = recipe.data
    counts = {"train": data.train_count, "validation": data.validation_count, "report": data.report_count}
    parts = list(counts)
    first, count = sum(counts[each] for each in parts[: parts.index(part)]), counts[part]
    share = data.spoilt_share if part == "train" or data.test_spoilt_share is None else data.test_spoilt_share
    seed = recipe.seed if data.seed is None else data.seed
    if not count:
        return None

    def chunks() -> Iterator[list[Sample]]:
        for done in range(0, count, _CHUNK):
            some = min(_CHUNK, count - done)
            yield synthetic_rgbd(some, size=data.size, seed=seed, spoilt_share=share, first=first + done)
            advance(done + some, count)

    settings = {"size": data.size, "depth": data.depth, "seed": seed, "share": share, "first": first, "count": count}
    return cached_image_set(cache_key({"synthetic": settings}), chunks(), count, depth=data.depth)


def _read_chunks(
    folders: list[DataFolder], size: int, total: int, advance: Callable[[int, int], None]
) -> Iterator[list[Sample]]:
    done = 0
    for folder in folders if all(each.salient is not None for each in folders) else decide_masks(folders):
        for start in range(0, len(folder.files), _CHUNK):
            samples = read_samples([replace(folder, files=folder.files[start : start + _CHUNK])], size=size)
            done += len(samples)
            advance(done, total)
            yield samples


def _contents(files: list[tuple[SampleFiles, str]]) -> list[Any]:
    """Return name, depth polarity and the digest of each file's bytes, for every sample."""

    def digest(path: Path | None) -> str | None:
        if path is None:
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def content(job: tuple[SampleFiles, str]) -> list[str | None]:
        sample, near = job
        roles = (sample.image, sample.depth, sample.mask, sample.teacher)
        return [sample.name, near if sample.depth else None, *map(digest, roles)]

    with thread_pool(default_workers()) as pool:
        return list(pool.map(content, files))


def _placed(data: RecipeData, device: torch.device, note: Note) -> RecipeData:
    """Copy all image sets to a GPU if they take at most half of its free memory; the networks need the rest."""
    sets = [each for each in data if each is not None]
    needed, free = sum(each.nbytes for each in sets), 0
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if needed > free / 2:
            note(
                f"the images take {needed / _GIB:.1f} GiB, more than half of the GPU's free {free / _GIB:.1f} GiB: "
                "they stay on the computer, which makes each step slower"
            )
    fits = needed <= free / 2
    train, *others = (each and each.for_device(device, move=fits) for each in data)
    assert train is not None
    return RecipeData(train, *others)


def _folders(recipe: Recipe, parts: tuple[Any, ...], maps: str | None) -> list[DataFolder]:
    """Find the data sets of a part; the names of several begin with their folder's."""
    found: list[DataFolder] = []
    levels = {name: getattr(recipe.data, name) for name in ("salient", "void", "channel")}
    for part in parts:
        folder, names = (part, None) if isinstance(part, str) else (part["folder"], part.get("list"))
        root = Path(recipe.data.root or ".") / folder
        sets = find_data(root, depth=recipe.data.depth, list_file=names, teacher=maps, near=recipe.data.near, **levels)
        found += sets if len(parts) == 1 else [_prefixed(each, str(folder)) for each in sets]
    return found


def _notes(folder: DataFolder, recipe: Recipe) -> list[str]:
    """Return what the user should know of a data set."""
    decided = recipe.data.near == "auto" and folder.has_depth
    return [*folder.notes, *([f"near is {folder.near} in the depth files of {folder.name}"] if decided else [])]


def _prefixed(folder: DataFolder, prefix: str) -> DataFolder:
    files = (replace(each, name=f"{prefix}/{each.name}") for each in folder.files)
    return replace(folder, name=f"{prefix}/{folder.name}", files=tuple(files))


def _check_apart(parts: Folders) -> None:
    """Raise if an image occurs twice."""
    images = {
        part: [(each.image.resolve(), each.name) for folder in folders for each in folder.files]
        for part, folders in parts.items()
    }
    for part, found in images.items():
        repeated = [image for image, count in Counter(image for image, _ in found).items() if count > 1]
        if repeated:
            raise ValueError(
                f"data.{part}: {len(repeated)} images occur more than once, the first is {repeated[0]}; leave out one "
                "of the folders, or name the samples of each in list files"
            )
    for first, second in combinations(images, 2):
        known = {image for image, _ in images[first]}
        shared = [name for image, name in images[second] if image in known]
        if shared:
            raise ValueError(
                f"data: {len(shared)} images are in both data.{first} and data.{second}, the first is {shared[0]}; "
                "name the samples of each in list files"
            )
