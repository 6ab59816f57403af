"""The maps that a network predicts of an image set, their scores, and the records that any scores come from."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dynamic_kd._files import write_whole
from dynamic_kd.metrics import MetricReport, Records, SODMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accelerate import Accelerator
    from torch import Tensor, nn

    from dynamic_kd.training._image_set import ImageSet

_AT_ONCE = 16
# Of the default metrics, those that can leave void pixels out.
COUNTED = ("MAE", "F", "E")


def predicted(
    model: nn.Module, data: ImageSet, positions: Tensor
) -> Iterator[tuple[list[int], Tensor, Tensor, Tensor | None]]:
    """Yield positions with 8-bit maps, masks and valid pixels, on the batches' device; the model keeps its mode."""
    training = model.training
    model.eval()
    # With more processes than images, a process has no share, of which split would make one empty part.
    for index in torch.split(positions, _AT_ONCE) if len(positions) else ():
        with torch.no_grad():
            batch = data.batch(index)
            maps = (255 * torch.sigmoid(model(batch.inputs).float())).round().to(torch.uint8)
            yield index.tolist(), maps, batch.targets > 0, batch.valid
    model.train(training)


def scores(model: nn.Module, data: ImageSet, accelerator: Accelerator) -> MetricReport:
    """Score a network's maps, rounded to 8 bits as in a file. Each process scores a share of the images.

    All processes return the same report, and it equals that of one process.
    """
    metrics = accumulator(data)
    for positions, maps, targets, valid in predicted(model, data, _share(data, accelerator)):
        names = [data.names[position] for position in positions]
        metrics.update(maps, targets, names=names, valid=valid)
    if accelerator.num_processes == 1:
        return metrics.compute()
    from accelerate.utils import gather_object

    whole = accumulator(data)
    for state in gather_object([metrics.state_dict()]):
        part = accumulator(data)
        part.load_state_dict(state)
        whole.merge(part)
    return whole.compute()


def accumulator(data: ImageSet) -> SODMetrics:
    """Return an empty accumulator of the default metrics; where masks have void, of those that can leave it out."""
    return SODMetrics(None if data.valid is None else COUNTED)


def _share(data: ImageSet, accelerator: Accelerator) -> Tensor:
    """Return the positions of this process; those of all processes, one after the other, are in order."""
    own: Tensor = torch.arange(len(data)).tensor_split(accelerator.num_processes)[accelerator.process_index]
    return own


def write_records(path: str | Path, model: nn.Module, data: ImageSet, accelerator: Accelerator) -> None:
    """Measure a network's 8-bit maps, each process a share of the images; the first process writes the file.

    The file is an ``.npz`` of the images' names, in the data set's order, and the bytes of their `Records`, a few
    kilobytes for each image. Maps are measured on the CPU, so records of different devices agree.
    """
    metrics, own = accumulator(data), []
    for positions, maps, targets, valid in predicted(model, data, _share(data, accelerator)):
        there = None if valid is None else valid.cpu()
        own.append((positions, metrics.measure(maps.cpu(), targets.cpu(), valid=there).to_bytes()))
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        own = gather_object(own)
    if not accelerator.is_main_process:
        return
    names = [data.names[position] for positions, _ in own for position in positions]
    joined = Records.join([Records.from_bytes(content) for _, content in own])
    content = io.BytesIO()
    np.savez_compressed(content, names=np.array(names), records=np.frombuffer(joined.to_bytes(), np.uint8))
    write_whole(path, content.getvalue())


def read_records(path: str | Path) -> MetricReport:
    """Return the report of the images whose records a run folder holds, sorted by name.

    Parameters
    ----------
    path : str or Path
        A file such as ``student-report.npz`` of a run folder.

    Returns
    -------
    MetricReport
        With the scores and curves of each image.

    Raises
    ------
    ValueError
        If the file is missing, or holds no records.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names, records = file["names"].tolist(), Records.from_bytes(file["records"].tobytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; a finished run has the records of its images") from None
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a file of image records: {error}") from None
    metrics = SODMetrics(COUNTED if records.partial else None, per_image_curves=True)
    order = sorted(range(len(names)), key=names.__getitem__)
    positions = np.arange(len(records))
    in_order = Records.join([records.select(positions == image) for image in order])
    metrics.update_records(in_order, names=[names[image] for image in order])
    return metrics.compute()
