"""The samples that a recipe names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd.data import Sample, decide_near, find_data, read_samples, synthetic_rgbd
from dynamic_kd.training._spoil import spoil_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamic_kd.data import DataFolder
    from dynamic_kd.training._recipe import Recipe

    Advance = Callable[[str, int, int], None]
    Parts = Mapping[str, list[DataFolder]]

_WORDS = {"train": "training", "validation": "validation", "report": "reporting"}


def recipe_samples(
    recipe: Recipe,
    progress: Advance = lambda step, done, total: None,
    parts: Parts | None = None,
) -> tuple[list[Sample], list[Sample]]:
    """Make or read the samples of a recipe, for training and for validation.

    Parameters
    ----------
    recipe : Recipe
        Its section ``data``, and ``teacher.maps`` with what spoils them.
    progress : callable
        Called with what is read, how much of it is done, and how much there is.
    parts : mapping, optional
        What `find_parts` found, that it need not be found again.

    Raises
    ------
    ValueError
        If folders cannot be read, or a sample is in both.
    """
    data, teacher = recipe.data, recipe.teacher
    if data.source == "synthetic":
        train_share, test_share = _shares(recipe)
        train_made = _synthetic(recipe, 0, data.train_count, train_share)
        return train_made, _synthetic(recipe, data.train_count, data.validation_count, test_share)
    parts = find_parts(recipe) if parts is None else parts
    samples = _read("training samples", parts["train"], data.size, progress)
    if recipe.needs_teacher and teacher.spoil is not None:
        samples = spoil_maps(samples, teacher.spoil, teacher.spoil_share, recipe.seed)
    return samples, _read("validation samples", parts["validation"], data.size, progress)


def find_parts(recipe: Recipe) -> dict[str, list[DataFolder]]:
    """Find the data sets of a recipe, before any of their images is read; a synthetic set has none.

    Raises
    ------
    ValueError
        If a folder or a file is missing, or an image comes twice.
    """
    data, maps = recipe.data, recipe.teacher.maps if recipe.needs_teacher else None
    parts = {part: _folders(recipe, getattr(data, part), maps if part == "train" else None) for part in _WORDS}
    _check_apart(parts)
    return parts


def decided_parts(recipe: Recipe, parts: Parts, note: Callable[[str], None]) -> dict[str, list[DataFolder]]:
    """Decide what is near in the depth files of `find_parts`, and note it, with what else to know of the data sets."""
    decided = {part: decide_near(folders) for part, folders in parts.items()}
    folders = (folder for each in decided.values() for folder in each)
    for text in dict.fromkeys(text for folder in folders for text in _notes(folder, recipe.data.near)):
        note(text)
    return decided


def image_counts(recipe: Recipe, parts: Parts) -> dict[str, int]:
    """Count the images for ``"train"``, ``"validation"`` and ``"report"``, in `find_parts` or in the synthetic set."""
    if recipe.data.source == "synthetic":
        return {part: getattr(recipe.data, f"{part}_count") for part in _WORDS}
    return {part: sum(len(folder.files) for folder in folders) for part, folders in parts.items()}


def report_samples(
    recipe: Recipe, progress: Advance = lambda step, done, total: None, parts: Parts | None = None
) -> list[Sample]:
    """Make or read the samples that a recipe's networks are scored on once, at the end, of `find_parts` if given."""
    data = recipe.data
    if data.source == "synthetic":
        first = data.train_count + data.validation_count
        return _synthetic(recipe, first, data.report_count, _shares(recipe)[1])
    folders = _folders(recipe, data.report, None) if parts is None else parts["report"]
    return _read("report samples", folders, data.size, progress)


def _shares(recipe: Recipe) -> tuple[float, float]:
    """Return the share of spoilt depth maps in training and in the rest of the synthetic set."""
    train, test = recipe.data.spoilt_share, recipe.data.test_spoilt_share
    return train, train if test is None else test


def _synthetic(recipe: Recipe, first: int, count: int, share: float) -> list[Sample]:
    data = recipe.data
    seed = recipe.seed if data.seed is None else data.seed
    return synthetic_rgbd(count, size=data.size, seed=seed, spoilt_share=share, first=first) if count else []


def _read(title: str, folders: list[DataFolder], size: int, progress: Advance) -> list[Sample]:
    if not folders:
        return []
    return read_samples(folders, size=size, progress=lambda done, total: progress(title, done, total))


def _folders(recipe: Recipe, parts: tuple[Any, ...], maps: str | None) -> list[DataFolder]:
    """Find the data sets of a part; where its folders share names, the samples' tell from which they are."""
    found: list[DataFolder] = []
    for part in parts:
        folder, names = (part, None) if isinstance(part, str) else (part["folder"], part.get("list"))
        root = Path(recipe.data.root or ".") / folder
        sets = find_data(root, depth=recipe.data.depth, list_file=names, teacher=maps, near=recipe.data.near)
        found += sets if len(parts) == 1 else [_prefixed(each, str(folder)) for each in sets]
    return found


def _notes(folder: DataFolder, near: str) -> list[str]:
    """What the user should know of a data set."""
    decided = near == "auto" and any(each.depth for each in folder.files)
    return [*folder.notes, *([f"near is {folder.near} in the depth files of {folder.name}"] if decided else [])]


def _prefixed(folder: DataFolder, prefix: str) -> DataFolder:
    files = (replace(each, name=f"{prefix}/{each.name}") for each in folder.files)
    return replace(folder, name=f"{prefix}/{folder.name}", files=tuple(files))


def _check_apart(parts: dict[str, list[DataFolder]]) -> None:
    """Raise if an image comes twice."""
    for part, folders in parts.items():
        times = Counter(each.image.resolve() for folder in folders for each in folder.files)
        again = [image for image, count in times.items() if count > 1]
        if again:
            raise ValueError(
                f"data.{part}: expected each image once, got {len(again)} more than once, the first {again[0]}; leave "
                "out one of its folders, or name the samples of each in list files"
            )
    for first, second in combinations(parts, 2):
        seen = {each.image.resolve() for folder in parts[first] for each in folder.files}
        both = [each.name for folder in parts[second] for each in folder.files if each.image.resolve() in seen]
        if both:
            raise ValueError(
                f"data: expected other images for {_WORDS[second]} than for {_WORDS[first]}, got {len(both)} in both, "
                f"the first {both[0]}; name the samples of each in list files"
            )
