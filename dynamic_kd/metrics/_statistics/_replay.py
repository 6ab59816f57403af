"""CUDA graphs of work that comes again and again: for small batches, launching takes longer than the work itself."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch

Tensors = Sequence[torch.Tensor]

# A graph holds memory of its own for inputs and intermediate results: graphs are of small batches, and few.
MOST_PIXELS = 1 << 22
MOST_GRAPHS = 8
# Work is captured the third time it comes: streams of images that all differ in size never pay for a graph.
UNCAPTURED = 2
# How often counts of what came are halved, so that old graphs make room for new work.
HALVED_EVERY = 512


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    outputs: Tensors


_graphs: dict[Hashable, _Graph] = {}
_seen: Counter[Hashable] = Counter()
_calls = itertools.count(1)
_lock = threading.Lock()


def replayed(like: Hashable, inputs: Tensors, work: Callable[[Tensors], Tensors]) -> Tensors:
    """Return ``work(inputs)``, from a graph if the same work was done on like tensors before.

    Outputs of a graph are overwritten by its next replay: use them on the same stream at once.
    """
    if not inputs[0].is_cuda or inputs[0].numel() > MOST_PIXELS or torch.cuda.is_current_stream_capturing():
        return work(inputs)
    stream = torch.cuda.current_stream(inputs[0].device)
    key = (like, stream.cuda_stream, threading.get_ident())  # graphs share buffers, so streams and threads do not
    with _lock:
        graph, wanted = _graphs.get(key), _wanted(key)
    if graph is not None:
        for own, given in zip(graph.inputs, inputs, strict=True):
            own.copy_(given)
    elif wanted:
        graph = _captured(inputs, work, stream)
        with _lock:
            _graphs[key] = graph
    else:
        return work(inputs)
    graph.graph.replay()
    return graph.outputs


def _wanted(key: Hashable) -> bool:
    """Count work, and say whether it is worth a graph, more than one that would be given up for it."""
    _seen[key] += 1
    if next(_calls) % HALVED_EVERY == 0:
        for each in list(_seen):
            _seen[each] //= 2
            if not _seen[each]:
                del _seen[each]
    if key in _graphs or _seen[key] <= UNCAPTURED:
        return False
    if len(_graphs) >= MOST_GRAPHS:
        rarest = min(_graphs, key=_seen.__getitem__)
        if _seen[key] <= 2 * _seen[rarest] + UNCAPTURED:
            return False
        del _graphs[rarest]
    return True


def _captured(inputs: Tensors, work: Callable[[Tensors], Tensors], stream: torch.cuda.Stream) -> _Graph:
    """Capture work on copies of its inputs; nobody waits for the device."""
    own = [each.clone() for each in inputs]
    work(own)  # compiles what the copies' alignment needs, which cannot be done in a capture
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
