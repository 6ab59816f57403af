"""Data sets in memory, as networks take them; one motion for image, depth map, mask and teacher's map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dynamic_kd.models import DEVIATION, MEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dynamic_kd.data import Sample


def network_input(images: Tensor, depths: Tensor | None) -> Tensor:
    """Normalise what a network takes.

    Parameters
    ----------
    images : Tensor
        Shape (B, 3, H, W), uint8.
    depths : Tensor or None
        Shape (B, 1, H, W), floating in [0, 1], near = bright.

    Returns
    -------
    Tensor
        Shape (B, 4, H, W), or (B, 3, H, W) without depth, float32, channels last in memory.
    """
    values = images.float() / 255
    if depths is not None:
        values = torch.cat([values, depths], dim=1)
    mean, deviation = _normal(values.shape[1], values.device)
    return ((values - mean) / deviation).contiguous(memory_format=torch.channels_last)


@cache
def _normal(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation on a device, made once: a copy from the host could not be part of a CUDA graph."""
    mean, deviation = (torch.tensor(each[:channels], device=device)[:, None, None] for each in (MEAN, DEVIATION))
    return mean, deviation


class Batch(NamedTuple):
    """What a network and its loss take."""

    inputs: Tensor
    targets: Tensor
    teacher_maps: Tensor | None = None
    valid: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Tensors:
    """A data set in memory, at one size.

    Attributes
    ----------
    names : tuple of str
        The samples.
    images : Tensor
        Shape (N, 3, H, W), uint8.
    depths : Tensor or None
        Shape (N, 1, H, W), float32 in [0, 1].
    targets : Tensor
        Masks, shape (N, 1, H, W), bool.
    teacher_maps : Tensor or None
        Shape (N, 1, H, W), float32 in [0, 1].
    """

    names: tuple[str, ...]
    images: Tensor
    depths: Tensor | None
    targets: Tensor
    teacher_maps: Tensor | None = None

    @classmethod
    def of(cls, samples: Sequence[Sample], *, depth: bool = True) -> Tensors:
        """Stack samples of one size, with or without their depth.

        Raises
        ------
        ValueError
            If depth is wanted and a sample has none.
        """
        lacking = [sample.name for sample in samples if depth and sample.depth is None]
        if lacking:
            raise ValueError(
                f"expected a depth map for every image, got none for {len(lacking)}, the first {lacking[0]}; "
                "train on colour alone with data.depth=false"
            )
        return cls(
            tuple(sample.name for sample in samples),
            torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2).contiguous(),
            _stacked([sample.depth for sample in samples]) if depth else None,
            torch.from_numpy(np.stack([sample.mask for sample in samples]))[:, None],
            _stacked([sample.teacher for sample in samples]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device) -> Tensors:
        """Return the data set in a device's memory."""
        images, targets = self.images.to(device), self.targets.to(device)
        depths, maps = (each if each is None else each.to(device) for each in (self.depths, self.teacher_maps))
        return replace(self, images=images, depths=depths, targets=targets, teacher_maps=maps)

    def digest(self) -> str:
        """Return what tells the samples' names and their order from others."""
        return sha256("\n".join(self.names).encode()).hexdigest()

    def lent(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples that this was stacked from in its own memory; on a GPU they keep theirs."""
        if self.images.is_cuda:
            return list(samples)
        images, masks = self.images.permute(0, 2, 3, 1).numpy(), self.targets[:, 0].numpy()
        owned = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]
        for name, maps in (("depth", self.depths), ("teacher", self.teacher_maps)):
            for fields, each in zip(owned, () if maps is None else maps[:, 0].numpy(), strict=maps is not None):
                fields[name] = each
        return [replace(sample, **fields) for sample, fields in zip(samples, owned, strict=True)]

    def batch(self, index: Tensor) -> Batch:
        """Return the samples at the given positions as they are."""
        depths, maps = (each if each is None else each[index] for each in (self.depths, self.teacher_maps))
        return Batch(network_input(self.images[index], depths), self.targets[index].float(), maps)


def _stacked(maps: Sequence[NDArray[np.float32] | None]) -> Tensor | None:
    present = [each for each in maps if each is not None]
    return torch.from_numpy(np.stack(present))[:, None] if len(present) == len(maps) else None


def moved(batch: Batch, mirror: Tensor, turn: Tensor, *, rotates: bool) -> Batch:
    """Mirror and turn images with all that belongs to them.

    What comes into view at a turn is the edge repeated, and is not valid: nobody knows whether it is salient. Maps
    move as probabilities, and edges of masks become soft.

    Parameters
    ----------
    batch : Batch
        Images as they are.
    mirror : Tensor
        Shape (B,), -1 for images to be mirrored left to right, else 1.
    turn : Tensor
        Shape (B,), degrees; looked at only if ``rotates``.
    rotates : bool
        Whether any image is turned; if not, pixels keep their values.
    """
    known = [each for each in batch[:3] if each is not None]
    everything = torch.cat(known, dim=1)
    valid = None
    if rotates:
        grid = _grid(mirror, torch.deg2rad(turn), list(everything.shape))
        everything = F.grid_sample(everything, grid, padding_mode="border", align_corners=False)
        valid = (grid.abs() <= 1 + 1e-6).all(dim=-1)[:, None]
    else:
        everything = torch.where((mirror < 0)[:, None, None, None], everything.flip(-1), everything)
    channels = batch.inputs.shape[1]
    inputs = everything[:, :channels].contiguous(memory_format=torch.channels_last)
    maps = everything[:, channels:].clamp(0, 1)
    teacher_maps = None if batch.teacher_maps is None else maps[:, 1:]
    return Batch(inputs, maps[:, :1], teacher_maps, valid)


def _grid(mirror: Tensor, turn: Tensor, shape: list[int]) -> Tensor:
    """Return where each pixel comes from, (B, H, W, 2) in [-1, 1]; on oblong images a turn keeps right angles."""
    height, width = shape[-2:]
    cosine, sine, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    rows = [cosine * mirror, -sine * (height / width), zero, sine * mirror * (width / height), cosine, zero]
    return F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), shape, align_corners=False)


class Plan(NamedTuple):
    """What each step of an epoch takes, for one process; each (steps, rounds, images of a round), float64.

    Attributes
    ----------
    position : Tensor
        Of samples in the data set.
    mirror, turn : Tensor
        As `moved` takes them.
    share : Tensor
        What the loss of each image counts: one over the images of its step; 0 for those that fill up the last step.
    """

    position: Tensor
    mirror: Tensor
    turn: Tensor
    share: Tensor


def epoch_plan(
    count: int, batch_size: int, rounds: int, rotation: float, flip: bool, seed: Sequence[int], rank: int, ranks: int
) -> Plan:
    """Draw an epoch: the order of the images and how each moves, whatever the number of processes.

    It depends on nothing but the seed (run, stage, epoch), so that a run that was stopped goes on as if it had not.
    """
    rng = np.random.default_rng(list(seed))
    order = rng.permutation(count)
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if flip else np.ones(count)
    turn = rng.uniform(-rotation, rotation, count)
    steps = math.ceil(count / batch_size)
    filled = np.resize(np.arange(count), steps * batch_size)
    share = (np.arange(steps * batch_size) < count).reshape(steps, batch_size)
    share = share / share.sum(axis=1, keepdims=True)
    columns = (order[filled], mirror[filled], turn[filled], share)
    shape = (steps, rounds, ranks, batch_size // (rounds * ranks))
    return Plan(*(torch.from_numpy(column.astype(np.float64).reshape(shape)[:, :, rank]) for column in columns))
