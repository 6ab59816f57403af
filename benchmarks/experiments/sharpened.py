"""Scores of every held-out image, with the network's logits sharpened, and the compact file that keeps them.

A map σ(kz) is surer with a larger k. Weighted F rewards a map for being sure where it is right, so it is measured at
each of `FACTORS`. What is left of a difference when every method has its best k is not sharpness.

Max F depends on how a map orders its pixels: σ(kz) ≥ t where z ≥ logit(t) / k. So k moves the thresholds along the same
curve. The maximum changes only because 256 equally spaced thresholds fall elsewhere, and because each map is stretched
to [0, 1] first, which differs from map to map. It is measured at k = 1.

Maps are scored in float32 without rounding to 8 bits, because a sharpened map would lose its levels.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dynamic_kd.data import find_data, read_samples
from dynamic_kd.metrics import SODMetrics
from dynamic_kd.models import load_model, network_input

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dynamic_kd.training import Recipe

Floats = NDArray[np.float64]

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
_AT_ONCE = 40  # images
_STEP, _FINE = 1000, 65535  # levels of F and of weighted F in the file


class HeldOut(NamedTuple):
    """The images that a recipe reports on: names, network inputs (N, 3, H, W) and masks (N, 1, H, W)."""

    names: tuple[str, ...]
    inputs: Tensor
    masks: Tensor


class Scores(NamedTuple):
    """Scores of a network's maps: F (images, 256) at k = 1, and weighted F (factors, images)."""

    names: tuple[str, ...]
    f_measure: Floats
    weighted_f: Floats


def read_held_out(recipe: Recipe, device: str | torch.device) -> HeldOut:
    """Read the reporting images of a recipe that has one data set for them, in colour alone."""
    [part] = recipe.data.report
    [folder] = find_data(Path(recipe.data.root or ".") / part["folder"], depth=False, list_file=part["list"])
    samples = read_samples([folder], size=recipe.data.size)
    images = torch.from_numpy(np.stack([sample.image.transpose(2, 0, 1) for sample in samples]))
    masks = torch.from_numpy(np.stack([sample.mask[None] for sample in samples]))
    names = tuple(sample.name for sample in samples)
    return HeldOut(names, network_input(images.to(device), None), masks.to(device))


def logits_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return logits (N, 1, H, W), computed in float32 without TF32."""
    network = network.eval()
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False, deterministic=True):
        return torch.cat([network(some).float() for some in inputs.split(_AT_ONCE)])


def sharpened_scores(logits: Tensor, masks: Tensor, names: Iterable[str]) -> Scores:
    """Return the scores of logits (N, 1, H, W) at each factor."""
    names, curves, weighted = tuple(names), np.empty(0), []
    for factor in FACTORS:
        metrics = SODMetrics(("F", "wF") if factor == 1 else ("wF",), per_image_curves=factor == 1)
        for start in range(0, len(names), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            metrics.update(torch.sigmoid(factor * logits[some]), masks[some], names=names[some])
        report = metrics.compute()
        weighted.append(report.rows[:, report.columns.index("wF")])
        if factor == 1:
            curves = report.per_image_curves["f_measure"]
    return Scores(names, np.asarray(curves, np.float64), np.array(weighted))


def score_run(folder: Path, held_out: HeldOut) -> Scores:
    """Return the scores of the weights after the last epoch of a run folder."""
    network = load_model(folder / "student-last.safetensors").to(held_out.inputs.device)
    return sharpened_scores(logits_of(network, held_out.inputs), held_out.masks, held_out.names)


def write_scores(path: Path, runs: Mapping[str, Scores]) -> None:
    """Write the scores of runs on the same images: F to .0005 as differences along its curve, weighted F to .00001.

    About 16 KB a run of 200 images.
    """
    [images] = {each.names for each in runs.values()}
    levels = np.array([np.round(each.f_measure * _STEP) for each in runs.values()]).astype(np.int16)
    arrays = {
        "runs": np.array(list(runs)),
        "images": np.array(images),
        "factors": np.array(FACTORS),
        "f_measure": np.diff(levels, axis=2, prepend=np.int16(0)),
        "weighted_f": np.array([np.round(each.weighted_f * _FINE) for each in runs.values()]).astype(np.uint16),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    path.write_bytes(lzma.compress(content.getvalue(), preset=9))


def read_scores(path: Path) -> dict[str, Scores]:
    """Return what `write_scores` wrote, by run."""
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
        runs, images = file["runs"].tolist(), tuple(file["images"].tolist())
        curves = np.cumsum(file["f_measure"], axis=2, dtype=np.int16) / _STEP
        weighted = file["weighted_f"] / _FINE
    return {run: Scores(images, *each) for run, *each in zip(runs, curves, weighted, strict=True)}
