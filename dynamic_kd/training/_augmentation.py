"""Augmentation: the order of an epoch's images, and one geometric transform for all that belongs to an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dynamic_kd.training._image_set import TrainingBatch

if TYPE_CHECKING:
    from collections.abc import Sequence


def transformed(batch: TrainingBatch, mirror: Tensor, angle: Tensor, *, rotates: bool) -> TrainingBatch:
    """Mirror and rotate images together with their depth, masks and teacher maps.

    A rotation repeats the edge where the image does not reach. These pixels are not valid, because their ground truth
    is unknown, and neither are those to which a void pixel contributes. Maps are resampled as probabilities, so the
    edges of masks become soft.

    Parameters
    ----------
    batch : TrainingBatch
        Images without augmentation.
    mirror : Tensor
        Shape (B,), -1 mirrors an image left to right, 1 does not.
    angle : Tensor
        Shape (B,), degrees; ignored unless ``rotates``.
    rotates : bool
        Whether to rotate at all; without, pixels keep their values.
    """
    present = [each for each in batch[:3] if each is not None]
    present += [] if batch.valid is None else [batch.valid.to(batch.inputs.dtype)]
    everything = torch.cat(present, dim=1)
    valid = None
    if rotates:
        grid = _grid(mirror, torch.deg2rad(angle), list(everything.shape))
        everything = F.grid_sample(everything, grid, padding_mode="border", align_corners=False)
        valid = (grid.abs() <= 1 + 1e-6).all(dim=-1)[:, None]
    else:
        everything = torch.where((mirror < 0)[:, None, None, None], everything.flip(-1), everything)
    channels = batch.inputs.shape[1]
    inputs = everything[:, :channels].contiguous(memory_format=torch.channels_last)
    maps = everything[:, channels:].clamp(0, 1)
    if batch.valid is not None:
        labelled = maps[:, -1:] > 1 - 1e-3
        valid = labelled if valid is None else valid & labelled
    teacher_maps = None if batch.teacher_maps is None else maps[:, 1:2]
    return TrainingBatch(inputs, maps[:, :1], teacher_maps, valid, batch.positions)


def _grid(mirror: Tensor, angle: Tensor, shape: list[int]) -> Tensor:
    """Return the source of each pixel, (B, H, W, 2) in [-1, 1]; a rotation keeps right angles on oblong images."""
    height, width = shape[-2:]
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cosine * mirror, -sine * (height / width), zero, sine * mirror * (width / height), cosine, zero]
    return F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), shape, align_corners=False)


class EpochSteps(NamedTuple):
    """The images of each step of an epoch, for one process; each (steps, rounds, images of a round), float64.

    Attributes
    ----------
    position : Tensor
        Of samples in the data set.
    mirror, angle : Tensor
        As `transformed` takes them.
    share : Tensor
        Weight of each image's loss: one over the images of its step, or 0 for those that only fill the last step.
    """

    position: Tensor
    mirror: Tensor
    angle: Tensor
    share: Tensor


def epoch_steps(
    count: int, batch_size: int, rounds: int, rotation: float, flip: bool, seed: Sequence[int], rank: int, ranks: int
) -> EpochSteps:
    """Draw the order of the images and the transform of each, the same for any number of processes.

    The draw depends on the seed (run, stage, epoch) alone, so a resumed run repeats it exactly.
    """
    rng = np.random.default_rng(list(seed))
    order = rng.permutation(count)
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if flip else np.ones(count)
    angle = rng.uniform(-rotation, rotation, count)
    steps = math.ceil(count / batch_size)
    filled = np.resize(np.arange(count), steps * batch_size)
    share = (np.arange(steps * batch_size) < count).reshape(steps, batch_size)
    share = share / share.sum(axis=1, keepdims=True)
    columns = (order[filled], mirror[filled], angle[filled], share)
    shape = (steps, rounds, ranks, batch_size // (rounds * ranks))
    return EpochSteps(*(torch.from_numpy(column.astype(np.float64).reshape(shape)[:, :, rank]) for column in columns))
