"""A data set as arrays of one size, in memory, on disk or on a GPU, and the batches that training takes from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynamic_kd.data import Sample
from dynamic_kd.models import network_input

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class TrainingBatch(NamedTuple):
    """The input of a network and of its loss, each (B, C, H, W), and the samples' positions in the data set, (B,)."""

    inputs: Tensor
    targets: Tensor
    teacher_maps: Tensor | None = None
    valid: Tensor | None = None
    positions: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set at one size.

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
    valid : Tensor or None
        Where the masks are not void, shape (N, 1, H, W), bool; None if they name no void levels.
    spoilt : tuple of (str or None)
        How each depth map or teacher map is spoilt, as `Sample.spoilt`.
    device : torch.device
        Where batches go. The arrays may stay in the computer's memory or on its disk.
    source : str
        Digest of the files, or of the settings of a synthetic set; empty for arrays of another source.
    """

    names: tuple[str, ...]
    images: Tensor
    depths: Tensor | None
    targets: Tensor
    teacher_maps: Tensor | None
    spoilt: tuple[str | None, ...]
    device: torch.device
    source: str = ""
    valid: Tensor | None = None

    @classmethod
    def from_arrays(
        cls, names: Sequence[str], spoilt: Sequence[str | None], arrays: Mapping[str, NDArray[np.generic]]
    ) -> ImageSet:
        """Take arrays as `sample_arrays` stacks them, without a copy."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(
            tuple(names),
            tensors["images"],
            tensors.get("depths"),
            tensors["targets"],
            tensors.get("teacher_maps"),
            tuple(spoilt),
            tensors["images"].device,
            valid=tensors.get("valid"),
        )

    @classmethod
    def from_samples(cls, samples: Sequence[Sample], *, depth: bool = True) -> ImageSet:
        """Stack samples of one size in memory, with or without their depth."""
        arrays = sample_arrays(samples, depth=depth)
        return cls.from_arrays([sample.name for sample in samples], [sample.spoilt for sample in samples], arrays)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(each.nbytes for each in self._tensors().values())

    @property
    def is_on_device(self) -> bool:
        """Whether the arrays lie where batches go, so that a batch needs no copy from the host."""
        return self.images.device == self.device

    def digest(self) -> str:
        """Return a digest of the samples' names in their order, and of where their arrays come from."""
        return sha256("\n".join([self.source, *self.names]).encode()).hexdigest()

    def for_device(self, device: torch.device, *, move: bool) -> ImageSet:
        """Return the data set with its batches on a device; ``move`` copies the arrays there."""
        if not move:
            return replace(self, device=device)
        moved = {name: each.to(device) for name, each in self._tensors().items()}
        # "cuda" may stand for "cuda:0"; the arrays know.
        return replace(self, device=moved["images"].device, **moved)  # type: ignore[arg-type]

    def batch(self, index: Tensor) -> TrainingBatch:
        """Return the samples at the given positions, without augmentation."""
        index = index.to(self.images.device)
        found = {name: each[index].to(self.device) for name, each in self._tensors().items()}
        inputs = network_input(found["images"], found.get("depths"))
        return TrainingBatch(
            inputs,
            found["targets"].float(),
            found.get("teacher_maps"),
            found.get("valid"),
            index.to(self.device),
        )

    def sample(self, position: int) -> Sample:
        """Return one sample, for figures."""
        found = {name: each[position].cpu().numpy() for name, each in self._tensors().items()}
        return Sample(
            self.names[position],
            np.ascontiguousarray(found["images"].transpose(1, 2, 0)),
            found["depths"][0] if "depths" in found else None,
            found["targets"][0],
            self.spoilt[position],
            found["teacher_maps"][0] if "teacher_maps" in found else None,
            found["valid"][0] if "valid" in found else None,
        )

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {name: getattr(self, name) for name in ("images", "depths", "targets", "teacher_maps", "valid")}
        return {name: each for name, each in tensors.items() if each is not None}


def sample_arrays(samples: Sequence[Sample], *, depth: bool) -> dict[str, NDArray[np.generic]]:
    """Stack samples of one size, as the fields of `ImageSet` of the same names.

    Raises
    ------
    ValueError
        If depth is required and a sample has none.
    """
    lacking = [sample.name for sample in samples if depth and sample.depth is None]
    if lacking:
        raise ValueError(
            f"{len(lacking)} images have no depth map, the first is {lacking[0]}; set data.depth=false to train on "
            "colour alone"
        )
    arrays: dict[str, NDArray[np.generic]] = {
        "images": np.stack([sample.image.transpose(2, 0, 1) for sample in samples]),
        "targets": np.stack([sample.mask[None] for sample in samples]),
    }
    depths = [sample.depth[None] for sample in samples if depth and sample.depth is not None]
    maps = [sample.teacher[None] for sample in samples if sample.teacher is not None]
    valid = [sample.valid[None] for sample in samples if sample.valid is not None]
    optional: dict[str, Sequence[NDArray[Any]]] = {"depths": depths, "teacher_maps": maps, "valid": valid}
    return arrays | {name: np.stack(each) for name, each in optional.items() if len(each) == len(samples)}
