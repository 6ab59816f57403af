"""What a network predicts of a data set in memory, and how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dynamic_kd.metrics import MetricReport, SODMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from accelerate import Accelerator
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dynamic_kd.training._tensors import Tensors

AT_ONCE = 16


def saliency(model: nn.Module, data: Tensors) -> NDArray[np.float32]:
    """Predict saliency maps in [0, 1], shape (N, 1, H, W)."""
    maps = [part for _, part in predicted(model, data, torch.arange(len(data)))]
    whole: NDArray[np.float32] = torch.cat(maps).float().cpu().contiguous().numpy()
    return whole


def scores(model: nn.Module, data: Tensors, accelerator: Accelerator) -> MetricReport:
    """Score a network's maps, rounded to the 8 bits that a file would have, each process a share of them.

    All processes return the same report, which is that of one process.
    """
    metrics = SODMetrics()
    for index, maps in predicted(model, data, share(data, accelerator)):
        names = [data.names[position] for position in index.tolist()]
        metrics.update((255 * maps).round().to(torch.uint8), data.targets[index.to(maps.device)], names=names)
    if accelerator.num_processes == 1:
        return metrics.compute()
    from accelerate.utils import gather_object

    whole = SODMetrics()
    for state in gather_object([metrics.state_dict()]):
        part = SODMetrics()
        part.load_state_dict(state)
        whole.merge(part)
    return whole.compute()


def share(data: Tensors, accelerator: Accelerator) -> Tensor:
    """Return this process's share of all positions; shares follow one another, so that joined they are in order."""
    own: Tensor = torch.arange(len(data)).tensor_split(accelerator.num_processes)[accelerator.process_index]
    return own


def predicted(model: nn.Module, data: Tensors, positions: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield positions and their maps, on the data's device; the model keeps the mode it is in."""
    training = model.training
    model.eval()
    # A process may have no share of a small set, of which split would make one empty part.
    for index in torch.split(positions, AT_ONCE) if len(positions) else ():
        with torch.no_grad():
            yield index, torch.sigmoid(model(data.batch(index.to(data.images.device)).inputs).float())
    model.train(training)
