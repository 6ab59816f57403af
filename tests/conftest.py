"""Fixtures shared by every test folder."""

from __future__ import annotations

import gc
import importlib
import os
import sys

# Libraries read these when they are loaded: beside others, a worker of pytest-xdist computes with one thread, as do the
# processes that its tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from _pytest.doctest import DoctestModule

from dynamic_kd._array import to_host

# The slow float64 references import nothing of the package, so they are found by path, not by name.
sys.path.insert(0, str(Path(__file__).parent / "reference"))

from long_runs import LONG

# A first example may compile for seconds. In continuous integration the examples are the same in every run.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("long" if LONG else "ci" if os.environ.get("CI") else "default")

collect_ignore = ["mutation"]  # programs that run tests

# Each takes up to 3 GB of memory.
MOST_WORKERS = 8

NAMESPACES = {
    "numpy": "array_api_compat.numpy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "array_api_strict": "array_api_strict",
    "cupy": "array_api_compat.cupy",
}


@pytest.fixture
def cancelled(monkeypatch):
    """An event that is set when a pool of threads has cancelled what it has not begun."""
    event, shutdown = threading.Event(), ThreadPoolExecutor.shutdown

    def cancelling(self, wait=True, *, cancel_futures=False):
        shutdown(self, wait=False, cancel_futures=cancel_futures)
        event.set()
        shutdown(self, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", cancelling)
    return event


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for doctests in the package alone.

    The search for doctests ignores modules that cannot be imported. It comes first, and would leave the rest of such a
    module without tests and without an error.
    """
    return [collector for collector in (yield) if not isinstance(collector, DoctestModule)]


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers():
    """Return how many workers ``-n auto`` is."""
    return min(os.cpu_count() or 1, MOST_WORKERS)


def pytest_collection_finish():
    """Let the garbage collector pass over all that importing has made: it is called after every training."""
    gc.freeze()


def pytest_sessionfinish():
    """Let libraries tidy up at their end what they count."""
    gc.unfreeze()


@contextmanager
def x64(jax):
    """Give JAX 64 bits, and take them away again."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture
def jax():
    """JAX with 64 bits, for the length of one test."""
    module = pytest.importorskip("jax")
    with x64(module):
        yield module


@pytest.fixture(params=[name for name in NAMESPACES if name != "cupy" or find_spec("cupy")])
def xp(request):
    """Array namespace of each library in turn; JAX with 64 bits, for the length of one test."""
    library = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if request.param == "cupy" and not library.is_available():
        pytest.skip("CuPy finds no GPU")
    namespace = importlib.import_module(NAMESPACES[request.param])
    with x64(library) if request.param == "jax" else nullcontext():
        yield namespace


@pytest.fixture(scope="session")
def to_numpy():
    """Return a function that brings any library's array to NumPy, torch tensors that require grad too."""
    return to_host


@pytest.fixture(scope="session", autouse=True)
def _own_array_cache(tmp_path_factory):
    """Keep the arrays of data sets in a folder of the test session, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMIC_KD_CACHE", str(tmp_path_factory.mktemp("arrays")))
        yield


@pytest.fixture(scope="module")
def one_thread():
    """Have torch compute with one thread: tiny networks wait for each other with more, and bits depend on it."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
