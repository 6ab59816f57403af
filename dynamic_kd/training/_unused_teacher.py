"""What to tell the user of a run whose teacher does nothing, because noise elimination flags nearly every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import array_api_compat.torch as xp
import torch

from dynamic_kd.losses import soft_iou

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._recipe import Recipe

_FEW = 0.05  # share of samples that pass; a teacher that is any good has far more
_CHUNK = 64  # maps in memory at a time, as float32


def note_on_maps(recipe: Recipe, data: ImageSet) -> str | None:
    """Return what to tell before a run if (nearly) no teacher map has an α above the noise threshold, and why.

    Other teachers, and ``noise_elimination="relative"``, are known after an epoch only; see `note_on_epoch`.
    """
    if data.teacher_maps is None or not _known_before(recipe):
        return None
    limit = recipe.loss.threshold
    alpha, inverted, top = _overlaps(data)
    share = float((alpha > limit).double().mean())
    if share > _FEW:
        return None
    if 0 < top < 1.5 / 255:
        cause = "their largest value is 1 of 255: if 1 stands for salient, save them with the levels 0 and 255"
    elif float((inverted > limit).double().mean()) > 0.5:
        cause = f"they look inverted: one minus the maps has a mean α of {inverted.mean():.2f}; invert the files"
    else:
        cause = "they may be inverted, hold 0 and 1 instead of 0 and 255, or belong to other images"
    return (
        f"noise elimination flags {_share(1 - share)} of the teacher's maps (α ≤ {limit:g}; the mean α is "
        f"{alpha.mean():.2f}), so the student hardly learns from the teacher: {cause}"
    )


def note_on_epoch(recipe: Recipe, kept: Tensor, columns: Sequence[str]) -> str | None:
    """Return what to tell after an epoch of distillation in which (nearly) every sample was flagged.

    Parameters
    ----------
    recipe : Recipe
        Of the run.
    kept : Tensor
        Values of each sample, shape (N, columns), as in ``Epoch.kept``.
    columns : sequence of str
        Of the objective.
    """
    by_image = recipe.loss.noise_elimination is not None and recipe.loss.granularity == "image"
    if not by_image or "reliable" not in columns or _known_before(recipe):
        return None
    share, alpha = (float(kept[:, columns.index(name)].mean()) for name in ("reliable", "teacher_iou"))
    if share > _FEW:
        return None
    return (
        f"noise elimination flagged {_share(1 - share)} of the training samples in the first epoch (the mean α is "
        f"{alpha:.2f}), so the student hardly learns from the teacher: check the teacher's scores on the masks, "
        "whether its maps or outputs are inverted, and loss.noise_threshold"
    )


def _known_before(recipe: Recipe) -> bool:
    """Whether each sample's flag follows from its teacher map alone, up to the augmentation."""
    teacher, loss = recipe.teacher, recipe.loss
    by_map = teacher.model == "maps" and recipe.needs_teacher and not teacher.probability_shift
    return by_map and loss.noise_elimination == "absolute" and loss.granularity == "image"


def _overlaps(data: ImageSet) -> tuple[Tensor, Tensor, float]:
    """Return α of each map, α of one minus it, and the largest value of all maps."""
    assert data.teacher_maps is not None
    alpha, inverted, top = [], [], 0.0
    for start in range(0, len(data), _CHUNK):
        saliency, mask = data.teacher_maps[start : start + _CHUNK, 0], data.targets[start : start + _CHUNK, 0]
        valid = None if data.valid is None else data.valid[start : start + _CHUNK, 0]
        alpha.append(soft_iou(saliency, mask, valid, xp=xp))
        inverted.append(soft_iou(1 - saliency, mask, valid, xp=xp))
        top = max(top, float(saliency.max()))
    return torch.cat(alpha), torch.cat(inverted), top


def _share(share: float) -> str:
    return "all" if share == 1 else f"{100 * share:.0f}%"
