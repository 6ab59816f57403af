"""CUDA graphs of recurring work: for small batches, launching the kernels takes longer than running them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch

Tensors = Sequence[torch.Tensor]

# A graph holds memory for its inputs and intermediate results, so graphs are few and of small batches.
MOST_PIXELS = 1 << 22
MOST_GRAPHS = 8
# Work is captured the third time. A stream of images that all differ in size never pays for a graph.
UNCAPTURED = 2
# After this many calls the counts of past work are halved, so old graphs make room for new work.
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
    """Return ``work(inputs)``, from a graph if the same work recurs.

    Parameters
    ----------
    like
        Equal for the same work on tensors of the same shapes and dtypes.
    inputs, work
        Tensors on one GPU, and what computes tensors from them without synchronizing.

    Notes
    -----
    The next replay overwrites the outputs of a graph: use them on the same stream at once.
    """
    if not inputs[0].is_cuda or inputs[0].numel() > MOST_PIXELS or torch.cuda.is_current_stream_capturing():
        return work(inputs)
    stream = torch.cuda.current_stream(inputs[0].device)
    key = (like, stream.cuda_stream, threading.get_ident())  # graphs share buffers, so streams and threads do not
    with _lock:
        graph, worthwhile = _graphs.get(key), _is_worthwhile(key)
    if graph is not None:
        for copy, given in zip(graph.inputs, inputs, strict=True):
            copy.copy_(given)
    elif worthwhile:
        graph = _captured(inputs, work, stream)
        with _lock:
            _graphs[key] = graph
    else:
        return work(inputs)
    graph.graph.replay()
    return graph.outputs


def _is_worthwhile(key: Hashable) -> bool:
    """Count work; whether to capture it, and to give up the least used graph for it if there are too many."""
    _seen[key] += 1
    if next(_calls) % HALVED_EVERY == 0:
        for seen in list(_seen):
            _seen[seen] //= 2
            if not _seen[seen]:
                del _seen[seen]
    if key in _graphs or _seen[key] <= UNCAPTURED:
        return False
    if len(_graphs) >= MOST_GRAPHS:
        rarest = min(_graphs, key=_seen.__getitem__)
        if _seen[key] <= 2 * _seen[rarest] + UNCAPTURED:
            return False
        del _graphs[rarest]
    return True


def _captured(inputs: Tensors, work: Callable[[Tensors], Tensors], stream: torch.cuda.Stream) -> _Graph:
    """Capture work on copies of its inputs, without synchronizing with the device."""
    copies = [tensor.clone() for tensor in inputs]
    work(copies)  # compiles kernels for the copies' alignment, which a capture cannot do
    side_stream = torch.cuda.Stream(inputs[0].device)  # type: ignore[no-untyped-call]
    side_stream.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(side_stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            outputs = work(copies)
        finally:
            graph.capture_end()
    stream.wait_stream(side_stream)
    return _Graph(graph, copies, outputs)
