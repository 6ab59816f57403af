"""The samples that a recipe names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd.data import Sample, decide_near, find_data, read_samples, synthetic_rgbd

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_kd.data import DataFolder
    from dynamic_kd.training._recipe import Recipe

    Advance = Callable[[str, int, int], None]


def recipe_samples(
    recipe: Recipe, progress: Advance = lambda step, done, total: None, note: Callable[[str], None] = lambda text: None
) -> tuple[list[Sample], list[Sample]]:
    """Make or read the samples of a recipe, for training and for validation.

    Parameters
    ----------
    recipe : Recipe
        Its section ``data``, and ``teacher.maps``.
    progress : callable
        Called with what is read, how much of it is done, and how much there is.
    note : callable
        Called with what the user should know of the data.

    Raises
    ------
    ValueError
        If folders cannot be read, or a sample is in both.
    """
    data = recipe.data
    if data.source == "synthetic":
        count = data.train_count + data.validation_count
        made = synthetic_rgbd(count, size=data.size, seed=recipe.seed, spoilt_share=data.spoilt_share)
        return made[: data.train_count], made[data.train_count :]
    maps = recipe.teacher.maps if recipe.needs_teacher else None
    train = _folders(recipe, data.train, maps)
    validation = _folders(recipe, data.validation, None)
    _check_apart(train, validation)
    for text in dict.fromkeys(text for folder in (*train, *validation) for text in _notes(folder, data.near)):
        note(text)

    def read(title: str, folders: list[DataFolder]) -> list[Sample]:
        if not folders:
            return []
        return read_samples(folders, size=data.size, progress=lambda done, total: progress(title, done, total))

    return read("training samples", train), read("validation samples", validation)


def _folders(recipe: Recipe, parts: tuple[Any, ...], maps: str | None) -> list[DataFolder]:
    """Find the data sets of all parts; where parts share names, the samples' tell from which they are."""
    found: list[DataFolder] = []
    for part in parts:
        folder, names = (part, None) if isinstance(part, str) else (part["folder"], part.get("list"))
        root = Path(recipe.data.root) / folder
        sets = find_data(root, depth=recipe.data.depth, list_file=names, teacher=maps, near=recipe.data.near)
        found += sets if len(parts) == 1 else [_prefixed(each, str(folder)) for each in sets]
    return decide_near(found)


def _notes(folder: DataFolder, near: str) -> list[str]:
    """What the user should know of a data set."""
    decided = near == "auto" and any(each.depth for each in folder.files)
    return [*folder.notes, *([f"near is {folder.near} in the depth files of {folder.name}"] if decided else [])]


def _prefixed(folder: DataFolder, prefix: str) -> DataFolder:
    files = (replace(each, name=f"{prefix}/{each.name}") for each in folder.files)
    return replace(folder, name=f"{prefix}/{folder.name}", files=tuple(files))


def _check_apart(train: list[DataFolder], validation: list[DataFolder]) -> None:
    """Raise if an image comes twice."""
    for part, folders in (("train", train), ("validation", validation)):
        times = Counter(each.image.resolve() for folder in folders for each in folder.files)
        again = [image for image, count in times.items() if count > 1]
        if again:
            raise ValueError(
                f"data.{part}: expected each image once, got {len(again)} more than once, the first {again[0]}; leave "
                "out one of its folders, or name the samples of each in list files"
            )
    trained = {each.image.resolve() for folder in train for each in folder.files}
    both = [each.name for folder in validation for each in folder.files if each.image.resolve() in trained]
    if both:
        raise ValueError(
            f"data: expected other images for validation than for training, got {len(both)} in both, the first "
            f"{both[0]}; name the samples of each in list files"
        )
