"""CUDA's streams and graphs as far as `_replay.py` uses them, on a processor: what breaks CUDA's rules fails here."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

NO_NUMBER = float("nan")


class OnDevice(torch.Tensor):
    """A tensor on the processor that says it is on a GPU, as all that is made of it."""

    is_cuda = True


def on_device(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype).as_subclass(OnDevice)


class Recorded(TorchDispatchMode):
    """Notes operations instead of doing them: their results are no numbers before a replay."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        result = operation(*given, **(named or {}))
        self.steps.append((operation, given, named or {}, result))
        return result.fill_(NO_NUMBER)

    def again(self):
        for operation, given, named, result in self.steps:
            result.copy_(operation(*given, **named))


class Stream:
    """A stream, and those whose work it has waited for."""

    def __init__(self, handle):
        self.cuda_stream, self.waited = handle, set()

    def wait_stream(self, other):
        self.waited.add(other)


class Device:
    """What `torch.cuda` offers of streams and graphs; each thread has a current stream."""

    def __init__(self):
        self._handles = itertools.count(1)
        self._default, self._here = self.Stream(None), threading.local()
        self.capturing, self.graphs = False, []

    def Stream(self, device):  # noqa: N802 (torch's name)
        return Stream(next(self._handles))

    def current_stream(self, device=None):
        return getattr(self._here, "stream", self._default)

    @contextmanager
    def stream(self, stream):
        before, self._here.stream = self.current_stream(), stream
        yield
        self._here.stream = before

    def is_current_stream_capturing(self):
        return self.capturing

    def CUDAGraph(self):  # noqa: N802 (torch's name)
        self.graphs.append(Graph(self))
        return self.graphs[-1]


class Graph:
    """A graph: recorded on a stream of its own that waited for the caller's, and replayed where that was waited for."""

    def __init__(self, device):
        self._device, self._before = device, device.current_stream()
        self.stream, self.replays = None, 0
        self._work = Recorded()

    def capture_begin(self, capture_error_mode):
        # Other threads may allocate and synchronise meanwhile.
        assert capture_error_mode == "thread_local"
        self.stream = self._device.current_stream()
        assert self._before in self.stream.waited, "the inputs may not have been copied yet"
        self._device.capturing = True
        self._work.__enter__()

    def capture_end(self):
        self._work.__exit__(None, None, None)
        self._device.capturing = False

    def replay(self):
        assert not self._device.capturing
        assert self.stream in self._device.current_stream().waited, "memory of the capture may still be in use"
        self.replays += 1
        self._work.again()
