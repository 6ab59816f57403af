"""Saliency maps of a folder of images, by a trained network."""

from __future__ import annotations

import os
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
from dynamic_kd._threads import in_order, thread_pool
from dynamic_kd.data import DataFolder, SampleFiles, read_inputs
from dynamic_kd.data._find_data import POLARITIES
from dynamic_kd.evaluation import evaluate_folders
from dynamic_kd.training._map_folder import begin, kept_maps, map_path, write_map
from dynamic_kd.training._predict_network import Network, ready_network
from dynamic_kd.training._predict_sources import PredictedFolder, find_sources, predicted_folders
from dynamic_kd.training._tensors import network_input

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.metrics import MetricReport

    Progress = Callable[[str, int, int], None]

_SIZE = 256


@dataclass(frozen=True)
class Prediction:
    """What `predict_folder` did.

    Attributes
    ----------
    folders : tuple of PredictedFolder
        The data sets.
    written, kept : int
        Maps made now, and those that were there already.
    size : int
        Height and width of the network's input.
    reports : dict
        From data set to the scores of its maps, if they were asked for.
    notes : tuple of str
        What the user should know of the data, such as data sets that were left out as they lack depth.
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

    Maps that are there already are kept, so that an interrupted call goes on where it was; a map is whole or not
    there. ``predict.json`` beside them says which weights, images, depth maps and settings they are of.

    Parameters
    ----------
    model : path or nn.Module
        A file of `dynamic_kd.models.save_model`; or a module that maps colour or colour and depth, (B, 3 or 4, H, W),
        normalised as in training, to logits (B, 1, H, W). It is moved to the device.
    data : path
        A data set, or a folder of several, as `dynamic_kd.data.find_data` knows them; or a plain folder of images.
    out : path
        Folder of the maps, each under its image's stem; of several data sets, a sub-folder for each.
    depth : path, optional
        The depth maps of a plain folder of images.
    size : int, optional
        Height and width of the network's input; by default those of the recipe in the weights' metadata, else 256.
    batch_size : int
        Images that the network takes at once.
    device : str
        ``"auto"`` (a CUDA GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    near : {"auto", "bright", "dark"}
        What is near in the depth files; see `dynamic_kd.data.decide_near`.
    in_channels : {3, 4}, optional
        What a module takes that does not say so in its ``settings``; by default 4.
    overwrite : bool
        Replace the maps that are there.
    evaluate : bool
        Score the maps against the masks beside the images, which must be there.
    workers : int, optional
        Threads that read images and write maps; by default one for each processor, eight at most.
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
        If the images or their depth maps cannot be found or read, if there are no masks to evaluate against, if the
        maps that are there are of other weights, images, depth maps or settings, if ``out`` is a folder of the data, or
        if the network's output is not of one logit per pixel.

    Notes
    -----
    Maps are resized as probabilities, bilinearly, then rounded to 8 bits.

    Examples
    --------
    >>> predict_folder("runs/des/student.safetensors", "DES", "maps/ours", evaluate=True)  # doctest: +SKIP
    """
    for name, value in (("size", size), ("batch_size", batch_size), ("workers", workers)):
        check_whole(name, value, low=1, optional=True)
    check_choice("near", near, POLARITIES)
    out, workers = Path(out), workers or min(8, os.cpu_count() or 1)
    network = ready_network(model, device, in_channels)
    found = find_sources(Path(data), depth, near, network.channels)
    folders = predicted_folders(found, Path(data), out, masks_needed=evaluate)
    size = size or network.size or _SIZE
    jobs = [_Job(files, folder.near) for folder in found for files in folder.files]
    names, settings = [job.files.name for job in jobs], _settings(network, found, folders, size, depth)
    kept = kept_maps(out, settings, names, overwrite=overwrite)
    left = [job for job in jobs if job.files.name not in kept]
    start = partial(begin, out, settings, replaced=names if overwrite else ())
    progress("predicting", len(kept), len(jobs))
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
    """Return what the maps depend on; the depth maps of a data set follow from where its images are."""
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
    """Read, predict and write, all three at once; yield how many maps are written.

    ``start`` is called when the first map is there to be written: what fails before leaves the folder as it was.
    """
    opencv()  # here, because its import is not made for several threads
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
    """Yield name, saliency and the image's size, in batches of the network."""
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
        raise ValueError(f"model: expected one logit per pixel, ({count}, 1, H, W), got {got}; wrap the network")


def _check_map(name: str, probabilities: NDArray[np.float32]) -> None:
    if not np.isfinite(probabilities).all():
        raise ValueError(
            f"{name}.png: expected a saliency map, got NaN or infinities from the network; are its weights?"
        )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Let a network be in evaluation mode, and afterwards as it was."""
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
