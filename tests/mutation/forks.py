"""Jobs in forked children of a process that has imported the heavy libraries already, a few at a time."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

# All that the tests import and that takes long; never the package itself.
HEAVY = (
    "array_api_compat.numpy",
    "array_api_compat.torch",
    "array_api_strict",
    "coverage",
    "cv2",
    "hypothesis.extra.numpy",
    "hypothesis.stateful",
    "jax.numpy",
    "matplotlib.figure",
    "numba",
    "pytest",
    "pytest_cov.plugin",
    "pytest_timeout",
    "scipy.ndimage",
    "torch.utils._pytree",
    "triton",
)

# What ends a child for time, and for what kernels may do to memory. Anything else says nothing of a mutant.
LATE = (signal.SIGXCPU, signal.SIGKILL)
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True)
class Job:
    """Something to do in a child: what it returns must be JSON."""

    name: str
    work: Callable[[], Any]
    seconds: float  # of computing, after which it is killed; of waiting it may have ten times as many


def preload() -> list[str]:
    """Import the heavy libraries; return those that are missing."""
    missing = []
    for module in HEAVY:
        try:
            import_module(module)
        except ImportError:
            missing.append(module)
    return missing


def run(jobs: Iterable[Job], workers: int, until: float) -> Iterator[tuple[str, Any, float]]:
    """Yield (name, result, seconds) as jobs end: None is the result of one killed for time; none starts after until."""
    waiting = iter(jobs)
    running: dict[int, tuple[Job, float, Path]] = {}
    exhausted = False
    with tempfile.TemporaryDirectory() as folder:
        while running or not exhausted:
            while not exhausted and len(running) < workers:
                job = next(waiting, None) if time.monotonic() < until else None
                if job is None:
                    exhausted = True
                else:
                    answer = Path(folder, f"{time.monotonic_ns()}.json")
                    running[_start(job, answer)] = job, time.monotonic(), answer
            yield from _finished(running, until)
            time.sleep(0.005)


def _finished(running: dict[int, tuple[Job, float, Path]], until: float) -> Iterator[tuple[str, Any, float]]:
    """Take finished children from the running ones, and kill the late."""
    for process, (job, start, answer) in list(running.items()):
        elapsed = time.monotonic() - start
        ended, status = os.waitpid(process, os.WNOHANG)
        stopped = time.monotonic() > until
        if not ended and (elapsed > 10 * job.seconds or stopped):
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
        elif not ended:
            continue
        del running[process]
        if answer.exists():
            yield job.name, json.loads(answer.read_text()), elapsed
        elif not (stopped and not ended):  # what the end of the run cut off was not tried
            ending = os.WTERMSIG(status) if ended and os.WIFSIGNALED(status) else None
            if ended and ending not in (*LATE, *CRASHES):
                raise RuntimeError(f"{job.name}: not done; the file that MUTATION_LOG names has what it said")
            yield job.name, {"outcome": "crashed"} if ending in CRASHES else None, elapsed


def _start(job: Job, answer: Path) -> int:
    """Fork a child that does a job in a process group of its own, silently."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(process, process)
        return process
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(job.seconds), math.ceil(job.seconds) + 5))
        log = os.open(os.environ.get("MUTATION_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        result = job.work()
        partial = answer.with_suffix(".part")
        partial.write_text(json.dumps(result))
        partial.rename(answer)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
