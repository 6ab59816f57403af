"""Prediction: the saliency maps of a folder of images, by a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from dynamic_kd._checks import check_choice, check_whole
from dynamic_kd._extras import opencv
from dynamic_kd._threads import default_workers, in_order, thread_pool
from dynamic_kd.data import DataFolder, SampleFiles, read_inputs
from dynamic_kd.evaluation import evaluate_folders
from dynamic_kd.models import network_input
from dynamic_kd.training._predict_folders import (
    PredictedFolder,
    begin_map_folder,
    find_inputs,
    kept_maps,
    map_path,
    predicted_folders,
    write_map,
)
from dynamic_kd.training._predict_network import Network, ready_network
from dynamic_kd.training._processes import gpu_memory_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.metrics import MetricReport

    Progress = Callable[[str, int, int], None]

_SIZE = 256


@dataclass(frozen=True)
class Prediction:
    """The outcome of `predict_folder`.

    Attributes
    ----------
    folders : tuple
        The data sets, each with its ``name``, the folders of its ``maps`` and ``masks``, and what is ``near`` in its
        depth files.
    written, kept : int
        Numbers of the maps that were predicted, and of those that existed before.
    size : int
        Height and width of the network's input.
    reports : dict
        From data set to the scores of its maps, with ``evaluate``.
    notes : tuple of str
        What the user should know of the data, such as data sets that are left out because they lack depth.
    """

    folders: tuple[PredictedFolder, ...]
    written: int
    kept: int
    size: int
    reports: dict[str, MetricReport] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Job(NamedTuple):
    files: SampleFiles
    near: str


class _Input(NamedTuple):
    name: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    shape: tuple[int, int]


def predict_folder(
    model: str | Path | nn.Module,
    data: str | Path,
    out: str | Path,
    *,
    depth: str | Path | None = None,
    size: int | None = None,
    batch_size: int = 8,
    device: str = "auto",
    near: str = "auto",
    in_channels: int | None = None,
    overwrite: bool = False,
    evaluate: bool = False,
    workers: int | None = None,
    progress: Progress = lambda step, done, total: None,
) -> Prediction:
    """Predict the saliency map of every image of a folder, as an 8-bit PNG of the image's own size.

    Existing maps are kept, so an interrupted call continues where it stopped; a map is complete or absent.
    ``predict.json`` beside the maps records their weights, images, depth maps and settings.

    Parameters
    ----------
    model : path or nn.Module
        A file of `dynamic_kd.models.save_model`; or a module that maps colour or colour and depth, (B, 3 or 4, H, W),
        normalised as in training, to logits (B, 1, H, W). It is moved to the device.
    data : path
        A data set or a folder of several, as `dynamic_kd.data.find_data` finds them; or a plain folder of images.
    out : path
        Folder of the maps, each under its image's stem. Several data sets get a sub-folder each.
    depth : path, optional
        The depth maps of a plain folder of images.
    size : int, optional
        Height and width of the network's input; by default those of the recipe in the weights' metadata, else 256.
    batch_size : int
        Number of images in a batch.
    device : str
        ``"auto"`` (a CUDA GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    near : {"auto", "bright", "dark"}
        Whether bright or dark means near in the depth files; see `dynamic_kd.data.decide_near`.
    in_channels : {3, 4}, optional
        Channels of a module without ``settings`` that tell them; by default 4.
    overwrite : bool
        Replace existing maps.
    evaluate : bool
        Score the maps against the masks beside the images.
    workers : int, optional
        Threads that read images and write maps; by default one for each core, at most eight.
    progress : callable
        Called with the step, how much of it is done, and how much there is.

    Returns
    -------
    Prediction
        The folders, the counts, and the scores.

    Raises
    ------
    TypeError
        If a number is not whole.
    ValueError
        If images or depth maps are missing or unreadable, if masks to evaluate against are missing, if existing maps
        have other weights, images, depth maps or settings, if ``out`` is a folder of the data, or if the network's
        output is not one logit per pixel.
    MemoryError
        If the GPU's memory is too small.

    Notes
    -----
    Maps are resized as probabilities, bilinearly, then rounded to 8 bits.

    Examples
    --------
    >>> predict_folder("runs/des/student.safetensors", "DES", "maps/ours", evaluate=True)  # doctest: +SKIP
    """
    for name, value in (("size", size), ("batch_size", batch_size), ("workers", workers)):
        check_whole(name, value, low=1, optional=True)
    check_choice("near", near, ("auto", "bright", "dark"))
    out, workers = Path(out), workers or default_workers()
    network = ready_network(model, device, in_channels)
    found = find_inputs(Path(data), depth, near, network.channels)
    folders = predicted_folders(found, Path(data), out, masks_needed=evaluate)
    size = size or network.size or _SIZE
    jobs = [_Job(files, folder.near) for folder in found for files in folder.files]
    names, settings = [job.files.name for job in jobs], _settings(network, found, folders, size, depth)
    kept = kept_maps(out, settings, names, overwrite=overwrite)
    left = [job for job in jobs if job.files.name not in kept]
    start = partial(begin_map_folder, out, settings, replaced=names if overwrite else ())
    progress("predicting", len(kept), len(jobs))
    with gpu_memory_errors("lower batch_size (--batch) or size (--size)"):
        for done in _written(network, left, out, size, batch_size, workers, start):
            progress("predicting", len(kept) + done, len(jobs))
    reports = _scores(folders, workers, progress) if evaluate else {}
    notes = tuple(dict.fromkeys(note for folder in found for note in folder.notes))
    return Prediction(folders, len(left), len(kept), size, reports, notes)


def _settings(
    network: Network,
    found: list[DataFolder],
    folders: tuple[PredictedFolder, ...],
    size: int,
    depth: str | Path | None,
) -> dict[str, Any]:
    """Return what the maps depend on; the place of a data set's images determines that of its depth maps."""
    return {
        **network.facts,
        "size": size,
        "near": {folder.name: folder.near for folder in folders if folder.near},
        "images": {folder.name: str(folder.files[0].image.parent.resolve()) for folder in found},
        **({} if depth is None else {"depth": str(Path(depth).resolve())}),
    }


def _written(
    network: Network, jobs: list[_Job], out: Path, size: int, batch_size: int, workers: int, start: Callable[[], None]
) -> Iterator[int]:
    """Read, predict and write at the same time, and yield the number of maps written so far.

    ``start`` is called before the first map is written, so an earlier error leaves the folder unchanged.
    """
    opencv()  # threads must not import it at the same time
    with thread_pool(workers) as pool, _evaluating(network.module):
        inputs = in_order(pool, lambda job: _read(job, size), jobs, ahead=batch_size + 4 * workers)
        maps = _predicted(network, inputs, batch_size)
        if first := list(islice(maps, 1)):
            start()
        made = chain(first, maps)
        writes = in_order(pool, lambda each: write_map(map_path(out, each[0]), *each[1:]), made, ahead=4 * workers)
        yield from (done for done, _ in enumerate(writes, start=1))


def _read(job: _Job, size: int) -> _Input:
    return _Input(job.files.name, *read_inputs(job.files, near=job.near, size=size))


def _predicted(
    network: Network, inputs: Iterator[_Input], batch_size: int
) -> Iterator[tuple[str, NDArray[np.float32], tuple[int, int]]]:
    """Yield name, saliency and the size of each image."""
    while batch := list(islice(inputs, batch_size)):
        images = torch.from_numpy(np.stack([each.image for each in batch])).permute(0, 3, 1, 2).to(network.device)
        depths = [each.depth[None] for each in batch if each.depth is not None]
        depth = torch.from_numpy(np.stack(depths)).to(network.device) if depths else None
        with torch.inference_mode():
            logits = network.module(network_input(images, depth))
            _check_logits(logits, len(batch))
            maps = torch.sigmoid(logits.float())[:, 0].cpu().numpy()
        for each, probabilities in zip(batch, maps, strict=True):
            _check_map(each.name, probabilities)
            yield each.name, probabilities, each.shape


def _check_logits(logits: Any, count: int) -> None:
    if not isinstance(logits, torch.Tensor) or logits.ndim != 4 or logits.shape[:2] != (count, 1):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"model: must return one logit per pixel, ({count}, 1, H, W), got {got}; wrap the network")


def _check_map(name: str, probabilities: NDArray[np.float32]) -> None:
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{name}.png: the network returned NaN or infinities; check its weights")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore its mode afterwards."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)


def _scores(folders: tuple[PredictedFolder, ...], workers: int, progress: Progress) -> dict[str, MetricReport]:
    reports = {}
    for folder in folders:
        if folder.masks is not None:
            advance = partial(progress, f"scoring {folder.name}")
            reports[folder.name] = evaluate_folders(folder.maps, folder.masks, workers=workers, progress=advance)
    return reports
