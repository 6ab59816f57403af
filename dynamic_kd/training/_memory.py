"""Whether a data set, which lies in memory as a whole, has room there, and whether an error is want of memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from accelerate import Accelerator

    from dynamic_kd.training._recipe import Recipe

_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")
# Folder, limit, what is in use with all that it holds below it, and what of this is files' content that can go.
_CGROUP_VERSIONS = (
    (".", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def check_room(
    recipe: Recipe, counts: Mapping[str, int], accelerator: Accelerator, note: Callable[[str], None]
) -> None:
    """Raise unless the images of a recipe have room, in the computer's memory and in a GPU's.

    Parameters
    ----------
    recipe : Recipe
        Says how large the images are, and what belongs to them.
    counts : mapping
        From a part, ``"train"``, ``"validation"`` or ``"report"``, to the number of its images.
    accelerator : Accelerator
        Its processes each hold all images.
    note : callable
        Called with a sentence if they take more than half of what is free.

    Raises
    ------
    ValueError
        If they take more than what is free.
    """
    parts = [count * _bytes_of_image(recipe, maps=part == "train") for part, count in counts.items()]
    images = f"{sum(counts.values())} images of {recipe.data.size}²"
    # While a part is stacked it is there twice, and others are there already.
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    _check(images, "memory", processes * (sum(parts) + max(parts)), free_memory(), note)
    if accelerator.device.type == "cuda":
        _check(images, "the GPU's memory", sum(parts), torch.cuda.mem_get_info(accelerator.device)[0], note)


def free_memory() -> float:
    """Return how many bytes of memory this process may still take; infinite where nobody knows."""
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]

        free = float(psutil.virtual_memory().available)
    except ImportError:  # it comes with accelerate
        return float("inf")
    return min(free, *(_left_of_limit(_CGROUP / folder, *names) for folder, *names in _CGROUP_VERSIONS))


def _left_of_limit(folder: Path, limit: str, used: str, reclaimable: str) -> float:
    """Return what a container's limit still allows; infinite without a limit."""
    try:
        whole = float((folder / limit).read_text())
    except (OSError, ValueError):  # no container, or "max"
        return float("inf")
    try:
        taken = float((folder / used).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return whole
    return max(0.0, whole - max(0.0, taken - float(facts.get(reclaimable, 0))))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether the GPU's memory did not suffice, for torch or for a library that it calls."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "STATUS_ALLOC_FAILED" in said


def _bytes_of_image(recipe: Recipe, *, maps: bool) -> int:
    """Count colours and mask in bytes, depth and a teacher's map in float32, as `Tensors` holds them."""
    taught = maps and recipe.needs_teacher and recipe.teacher.model == "maps"
    return recipe.data.size**2 * (3 + 1 + 4 * recipe.data.depth + 4 * taught)


def _check(images: str, where: str, needed: float, free: float, note: Callable[[str], None]) -> None:
    said = f"{images}, which take up to {needed / _GIB:.1f} GiB of {where}, where {free / _GIB:.1f} GiB are free"
    if needed > free:
        raise ValueError(f"data: expected what memory holds, got {said}; lower data.size, or train on fewer images")
    if needed > free / 2:
        note(said)
