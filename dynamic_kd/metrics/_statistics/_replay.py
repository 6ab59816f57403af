"""CUDA graphs of work that comes again and again: for small batches, launching takes longer than the work itself."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch

Tensors = Sequence[torch.Tensor]

# A graph holds memory of its own for inputs and intermediate results: a few, of small batches only.
MOST_GRAPHS = 4
MOST_PIXELS = 1 << 22
# Work is captured the third time it comes: streams of images that all differ in size never pay for a graph.
UNCAPTURED = 2


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    outputs: Tensors


_graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
_seen: Counter[Hashable] = Counter()


def replayed(like: Hashable, inputs: Tensors, work: Callable[[Tensors], Tensors]) -> Tensors:
    """Return ``work(inputs)``, from a graph if the same work was done on like tensors before.

    Outputs of a graph are overwritten by its next replay: use them on the same stream at once.
    """
    if not inputs[0].is_cuda or inputs[0].numel() > MOST_PIXELS or torch.cuda.is_current_stream_capturing():
        return work(inputs)
    stream = torch.cuda.current_stream(inputs[0].device)
    key = (like, stream.cuda_stream, threading.get_ident())  # graphs share buffers, so streams and threads do not
    graph = _graphs.get(key)
    if graph is None:
        if len(_seen) > 1 << 12:
            _seen.clear()
        _seen[key] += 1
        if _seen[key] <= UNCAPTURED:
            return work(inputs)
        graph = _graphs[key] = _captured(inputs, work, stream)
        if len(_graphs) > MOST_GRAPHS:
            _graphs.popitem(last=False)
    else:
        _graphs.move_to_end(key)
        for own, given in zip(graph.inputs, inputs, strict=True):
            own.copy_(given)
    graph.graph.replay()
    return graph.outputs


def _captured(inputs: Tensors, work: Callable[[Tensors], Tensors], stream: torch.cuda.Stream) -> _Graph:
    """Capture work on copies of its inputs; nobody waits for the device."""
    own = [each.clone() for each in inputs]
    aside = torch.cuda.Stream(inputs[0].device)  # type: ignore[no-untyped-call]
    aside.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(aside):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            outputs = work(own)
        finally:
            graph.capture_end()
    stream.wait_stream(aside)
    return _Graph(graph, own, outputs)
