"""What a network's scores are computed from, image by image, as a file: any resample of the images can be scored."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dynamic_kd._files import write_whole
from dynamic_kd.metrics import MetricReport, Records, SODMetrics
from dynamic_kd.training._evaluation import predicted, share

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.training._tensors import Tensors


def write_records(path: str | Path, model: nn.Module, data: Tensors, accelerator: Accelerator) -> None:
    """Measure a network's maps, rounded to 8 bits, each process a share of them; the first writes the file.

    It is an ``.npz`` of the images' names, in the data set's order, and the bytes of their `Records`, some kilobytes
    for each image. They are measured on the CPU, so that records made on different devices compare.
    """
    metrics, own = SODMetrics(), []
    for index, maps in predicted(model, data, share(data, accelerator)):
        levels, targets = (255 * maps).round().to(torch.uint8), data.targets[index.to(maps.device)]
        own.append((index.tolist(), metrics.measure(levels.cpu(), targets.cpu()).to_bytes()))
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
    """Return the report of the images whose records a run has kept, in the order of their names.

    Parameters
    ----------
    path : str or Path
        A file such as ``student-report.npz`` of a run folder.

    Returns
    -------
    MetricReport
        With each image's own scores and curves.

    Raises
    ------
    ValueError
        If the file is missing, or another.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names, records = file["names"].tolist(), Records.from_bytes(file["records"].tobytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: expected the records of a run's images, got no such file; finish the run") from None
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: expected the records of a run's images, got another file: {error}") from None
    metrics = SODMetrics(per_image_curves=True)
    order = sorted(range(len(names)), key=names.__getitem__)
    metrics.update_records(Records.join([_one(records, image) for image in order]), names=[names[i] for i in order])
    return metrics.compute()


def _one(records: Records, image: int) -> Records:
    return records.select(np.arange(len(records)) == image)
