"""Runs side by side, each in a process of its own: what is finished is kept, what fails stops nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from benchmarks.experiments._folder import (
    KEEP,
    LOGS,
    check_teachers,
    epochs_done,
    last_lines,
    log_file,
    run_folder,
    state_of,
    tidy,
    words_of,
)
from benchmarks.experiments._plan import Plan, PlannedRun
from dynamic_kd._checks import check_choice, check_whole
from dynamic_kd.training._lock import alone
from dynamic_kd.training._stopping import stoppable

_POLL, _GRACE = 0.1, 20.0  # seconds: between two looks, and until a child that was asked to stop is killed


@dataclass
class ExperimentProgress:
    """How far an experiment has come.

    Attributes
    ----------
    total : int
        Runs.
    finished, running, failed : list of str
        Names of runs; the failed ones with the end of what they printed.
    seconds_left : float or None
        As far as one can tell from the epochs done until now.
    """

    total: int
    finished: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds_left: float | None = None


def run_plan(
    plan: Plan,
    folder: str | Path,
    *,
    gpus: Sequence[int] | Literal["all"] = (),
    at_once: int = 1,
    keep: str = "weights",
    show: Callable[[ExperimentProgress], None] = lambda progress: None,
) -> ExperimentProgress:
    """Make the runs of a plan that are not finished yet.

    Parameters
    ----------
    plan : Plan
        From `plan_experiment`.
    folder : path
        Where the runs go; those that it holds are kept, or go on.
    gpus : sequence of int or "all"
        GPUs to run on; none for the CPU.
    at_once : int
        Runs side by side on each GPU, or on the CPU.
    keep : {"all", "weights", "records"}
        What stays of a finished run: all; all but the checkpoint to go on from; or, without the student's weights
        either, the records that its scores are made of, and small logs.
    show : callable
        Called some times a second with the progress; what it is given changes afterwards.

    Returns
    -------
    ExperimentProgress
        What was finished, and what failed.

    Raises
    ------
    ValueError
        If a run folder holds another run, or one whose teacher is gone; if another process makes runs in the folder; if
        there is no such GPU.
    KeyboardInterrupt
        When stopped, after the runs' processes have ended; they go on the next time.

    Notes
    -----
    A run that is stopped keeps all epochs that it finished. One that is killed, as with its machine, does again what
    came after its last checkpoint: half a minute, and an epoch.
    """
    check_choice("keep", keep, KEEP)
    check_whole("at_once", at_once, low=1)
    places, folder = _numbers(gpus) or (None,), Path(folder)
    # Children hold the folder too, so that it stays held by those that outlive a killed parent.
    with alone(folder, "makes runs") as lock, stoppable():
        (folder / LOGS).mkdir(exist_ok=True)
        states = {run.name: state_of(folder, run) for run in plan.runs}
        check_teachers(folder, plan, states)
        return _Runner(plan, folder, states, places, at_once, keep, lock).run(show)


class _Runner:
    """Starts what can start on each free place, and looks after what has ended."""

    def __init__(
        self, plan: Plan, folder: Path, states: dict[str, str], gpus: Sequence[int | None], at_once: int, keep: str,
        lock: int | None,
    ) -> None:  # fmt: skip
        self._folder, self._states, self._keep, self._lock = folder, states, keep, lock
        self._waiting = [run for run in plan.runs if states[run.name] != "finished"]
        self._free: list[int | None] = [gpu for _ in range(at_once) for gpu in gpus]
        self._threads = str(max(1, (os.cpu_count() or 1) // len(self._free)))
        self._children: dict[str, tuple[subprocess.Popen[bytes], int | None, PlannedRun]] = {}
        done = [run.name for run in plan.runs if states[run.name] == "finished"]
        self._progress = ExperimentProgress(len(plan.runs), finished=done)
        self._start, self._work = time.monotonic(), {run.name: run.epochs for run in self._waiting}
        self._before = {name: min(epochs_done(folder, name), self._work[name]) for name in self._work}

    def run(self, show: Callable[[ExperimentProgress], None]) -> ExperimentProgress:
        """Make all runs."""
        for name in self._progress.finished:
            tidy(run_folder(self._folder, name), self._keep)
        show(self._progress)
        try:
            while self._waiting or self._children:
                self._fill()
                self._progress.running = list(self._children)
                self._progress.seconds_left = self._seconds_left()
                show(self._progress)
                time.sleep(_POLL)
                self._collect()
        finally:
            self._stop()
        self._progress.running, self._progress.seconds_left = [], None
        show(self._progress)
        return self._progress

    def _fill(self) -> None:
        for run in list(self._waiting):
            if run.needs in self._progress.failed:
                self._waiting.remove(run)
                self._progress.failed[run.name] = f"its teacher, {run.needs}, failed"
            elif self._free and (run.needs is None or run.needs in self._progress.finished):
                self._waiting.remove(run)
                self._launch(run, self._free.pop(0))

    def _launch(self, run: PlannedRun, gpu: int | None) -> None:
        words = words_of(self._folder, run, self._states[run.name])
        log = log_file(self._folder, run.name)
        with log.open("ab") as output:
            child = start_training(words, gpu, self._threads, output, self._lock)
        self._children[run.name] = child, gpu, run

    def _collect(self) -> None:
        for name, (child, gpu, run) in list(self._children.items()):
            if child.poll() is None:
                continue
            del self._children[name]
            self._free.append(gpu)
            if child.returncode == 0 and state_of(self._folder, run) == "finished":
                tidy(run_folder(self._folder, name), self._keep)
                self._progress.finished.append(name)
            else:
                said = last_lines(log_file(self._folder, name))
                self._progress.failed[name] = said or f"it ended with status {child.returncode}"

    def _seconds_left(self) -> float | None:
        """Judge by the epochs: of what is done since the start, and of what is left."""
        counts = {name: min(epochs_done(self._folder, name), all_) for name, all_ in self._work.items()}
        failed = self._progress.failed
        done = sum(counts[name] - self._before[name] for name in counts)
        left = sum(self._work[name] - counts[name] for name in counts if name not in failed)
        return (time.monotonic() - self._start) * left / done if done > 0 else None

    def _stop(self) -> None:
        """Ask what still runs to stop, which writes a checkpoint, and see to it; a run may be stopped at any moment."""
        for child, _, _ in self._children.values():
            child.terminate()
        end = time.monotonic() + _GRACE
        for child, _, _ in self._children.values():
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _numbers(gpus: Sequence[int] | Literal["all"]) -> Sequence[int]:
    """Return the GPUs' numbers, which are those that this process may see."""
    if gpus != "all" and not gpus:
        return gpus
    import torch

    count = torch.cuda.device_count()
    if gpus == "all":
        return range(count)
    for gpu in gpus:
        if not 0 <= gpu < count:
            known = f"numbers under {count}" if count else "none, which is the CPU"
            raise ValueError(f"gpus: expected {known}, since torch finds {count} GPUs here, got {gpu}")
    return gpus


def start_training(
    words: Sequence[str], gpu: int | None, threads: str, output: IO[bytes], lock: int | None
) -> subprocess.Popen[bytes]:
    """Start ``dynamic-kd train`` in a process that a terminal's Ctrl-C does not reach."""
    device = [] if gpu is not None else ["--cpu"]
    own = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": _visible(gpu)}
    return subprocess.Popen(
        [sys.executable, "-m", "dynamic_kd.cli", "train", *words, *device],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={"OMP_NUM_THREADS": threads, **os.environ, **own},
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
    )


def _visible(gpu: int) -> str:
    """Return a GPU as the driver knows it: of those that this process may see, if not all, the one of this number."""
    seen = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    return seen[gpu].strip() if seen else str(gpu)
