"""Run folders, and the processes that train in them: several at the same time, each resumable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.experiments.experiment import flat
from benchmarks.experiments.plan import RUNS, Plan, PlannedRun
from dynamic_kd.training import Recipe, read_recipe, recipe_toml

_RECORDS = ("*.toml", "*.json", "*.npz", "epochs.csv", "noise.csv", "teacher-*.safetensors")
_POLL, _GRACE = 0.1, 20.0  # seconds between two looks at the processes, and before one that was asked to stop is killed


def run_folder(folder: Path, name: str) -> Path:
    """Return the folder of a run."""
    return folder / RUNS / name


def log_file(folder: Path, name: str) -> Path:
    """Return the file with the output of a run's processes."""
    return folder / "logs" / f"{name}.log"


def records_file(place: Path, recipe: Recipe) -> Path:
    """Return the records that a run is judged by: of the reporting images, or without them of the choosing images."""
    data = recipe.data
    reports = data.report_count if data.source == "synthetic" else data.report
    return place / f"{'teacher' if recipe.teacher_only else 'student'}-{'report' if reports else 'validation'}.npz"


def state_of(folder: Path, run: PlannedRun) -> str:
    """Return the state of a run: ``"new"``, ``"unfinished"`` or ``"finished"``.

    Raises
    ------
    ValueError
        If the folder holds a run of another recipe. Folders and files may have moved.
    """
    place = run_folder(folder, run.name)
    if not (place / "recipe.toml").is_file():
        return "new"
    recipe = read_recipe(place)
    same_teacher = run.needs is None or Path(recipe.teacher.checkpoint or "").parent.name == run.needs
    if essence(recipe) != essence(run.recipe) or not same_teacher:
        raise ValueError(f"{place}: the run in this folder has another recipe; remove it, or choose another --out")
    finished = (place / "results.json").is_file() and records_file(place, recipe).is_file()
    return "finished" if finished else "unfinished"


def essence(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a recipe that its result depends on; of absolute paths, the last part."""

    def essential(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: essential(each) for key, each in value.items()}
        if isinstance(value, list):
            return [essential(each) for each in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    ignored = ("name", "data.root")
    return {key: essential(value) for key, value in flat(recipe.as_dict()).items() if key not in ignored}


def sessions(place: Path) -> list[dict[str, Any]]:
    """Return the sessions that trained in a run folder, the first one first."""
    path = place / "environment.json"
    return json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.is_file() else []


@dataclass
class Progress:
    """The progress of an experiment.

    Attributes
    ----------
    total : int
        Number of runs.
    finished, running : list of str
        Names of runs.
    failed : dict
        From name to the last lines of the run's output.
    seconds_left : float or None
        Estimated from the epochs done so far.
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
    stagger: float = 0.0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train the runs of a plan that are not finished.

    Parameters
    ----------
    plan : Plan
        From `plan_experiment`.
    folder : path
        The experiment's folder. Finished runs in it are kept, and unfinished ones resume.
    gpus : sequence of int or "all"
        GPUs to train on; none for the CPU.
    at_once : int
        Number of runs at the same time on each GPU, or on the CPU.
    keep : {"all", "weights", "records"}
        Which files of a finished run to keep: all; all but the checkpoint; or only logs, the teacher's weights and the
        per-image records that its scores are computed from.
    stagger : float
        Seconds from one start to the next, so that runs do not compile all at once while the GPU is idle.
    show : callable
        Called several times a second with the progress, which changes afterwards.

    Returns
    -------
    Progress
        The finished and the failed runs.

    Raises
    ------
    ValueError
        If a run folder holds a run of another recipe, or one whose teacher is gone; if another process works in the
        folder; if there is no such GPU.
    KeyboardInterrupt
        If interrupted, after all processes have ended.

    Notes
    -----
    A run that is interrupted keeps its finished epochs. One that is killed repeats what followed its last checkpoint:
    at most half a minute and an epoch.
    """
    from filelock import FileLock, Timeout

    if at_once < 1:
        raise ValueError(f"--at-once: expected a number of at least 1, got {at_once}")
    places, folder = _gpu_numbers(gpus) or (None,), Path(folder)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            states = {run.name: state_of(folder, run) for run in plan.runs}
            _check_teachers(folder, plan, states)
            return _Runner(plan, folder, states, places, at_once, keep, stagger).run(show)
    except Timeout:
        raise ValueError(f"{folder}: another process works in this folder; wait for it, or stop it") from None


def _check_teachers(folder: Path, plan: Plan, states: dict[str, str]) -> None:
    """Raise if a run has begun and its teacher is not finished: a new teacher would not be the same one."""
    for run in plan.runs:
        if run.needs is not None and states[run.name] != "new" and states[run.needs] != "finished":
            raise ValueError(
                f"{run_folder(folder, run.name)}: this run has begun, but its teacher {run.needs} is "
                f"{states[run.needs]}; restore the teacher, or remove the runs that it taught"
            )


class _Runner:
    """Starts the runs that can start on free places, and collects those that have ended."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        states: dict[str, str],
        gpus: Sequence[int | None],
        at_once: int,
        keep: str,
        stagger: float,
    ) -> None:
        self._folder, self._states, self._keep = folder, states, keep
        self._stagger, self._next_start = stagger, 0.0
        self._waiting = [run for run in plan.runs if states[run.name] != "finished"]
        self._free = [gpu for _ in range(at_once) for gpu in gpus]
        self._threads = max(1, (os.cpu_count() or 1) // len(self._free))
        self._processes: dict[str, tuple[subprocess.Popen[bytes], int | None]] = {}
        self._runs = {run.name: run for run in plan.runs}
        self._progress = Progress(
            len(plan.runs), finished=[run.name for run in plan.runs if states[run.name] == "finished"]
        )
        self._start, self._epochs = time.monotonic(), {run.name: run.epochs for run in self._waiting}
        self._before = self._epochs_done()

    def run(self, show: Callable[[Progress], None]) -> Progress:
        """Train all runs."""
        for name in self._progress.finished:
            _tidy(run_folder(self._folder, name), self._keep)
        show(self._progress)
        try:
            while self._waiting or self._processes:
                self._fill()
                self._progress.running = list(self._processes)
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
            elif self._may_start() and (run.needs is None or run.needs in self._progress.finished):
                self._waiting.remove(run)
                self._next_start = time.monotonic() + self._stagger if self._stagger else 0.0
                gpu = self._free.pop(0)
                words = start_words(self._folder, run, self._states[run.name])
                process = start_training(words, gpu, self._threads, log_file(self._folder, run.name))
                self._processes[run.name] = process, gpu

    def _may_start(self) -> bool:
        return bool(self._free) and (not self._next_start or time.monotonic() >= self._next_start)

    def _collect(self) -> None:
        for name, (process, gpu) in list(self._processes.items()):
            if process.poll() is None:
                continue
            del self._processes[name]
            self._free.append(gpu)
            if process.returncode == 0 and state_of(self._folder, self._runs[name]) == "finished":
                _tidy(run_folder(self._folder, name), self._keep)
                self._progress.finished.append(name)
            else:
                output = log_file(self._folder, name).read_text(encoding="utf-8", errors="replace")
                lines = [line.rstrip() for line in output.splitlines() if line.strip()]
                self._progress.failed[name] = "\n".join(lines[-3:]) or f"exit status {process.returncode}"

    def _epochs_done(self) -> dict[str, int]:
        done = {}
        for name, epochs in self._epochs.items():
            path = run_folder(self._folder, name) / "epochs.csv"
            done[name] = min(path.read_bytes().count(b"\n") - 1, epochs) if path.is_file() else 0
        return done

    def _seconds_left(self) -> float | None:
        counts, failed = self._epochs_done(), self._progress.failed
        done = sum(counts[name] - self._before[name] for name in counts)
        left = sum(self._epochs[name] - counts[name] for name in counts if name not in failed)
        return (time.monotonic() - self._start) * left / done if done > 0 else None

    def _stop(self) -> None:
        """Ask the processes to stop, which writes a checkpoint, and kill those that do not."""
        for process, _ in self._processes.values():
            process.terminate()
        end = time.monotonic() + _GRACE
        for process, _ in self._processes.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_words(folder: Path, run: PlannedRun, state: str) -> list[str]:
    """Write the recipe of a run, and return the arguments of ``dynamic-kd train``."""
    place = run_folder(folder, run.name)
    path = place / "recipe.toml" if state == "unfinished" else folder / "planned" / f"{run.name}.toml"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(recipe_toml(run.recipe), encoding="utf-8")  # of an unfinished run too: paths may have changed
    return ["--resume", str(place)] if state == "unfinished" else [str(path), "--out", str(place)]


def start_training(words: Sequence[str], gpu: int | None, threads: int, log: Path) -> subprocess.Popen[bytes]:
    """Start ``dynamic-kd train`` in a process that a terminal's Ctrl-C does not reach."""
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if gpu is not None:
        visible = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
        environment["CUDA_VISIBLE_DEVICES"] = visible[gpu] if visible else str(gpu)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dynamic_kd.cli", "train", *words, *([] if gpu is not None else ["--cpu"])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _tidy(place: Path, keep: str) -> None:
    """Remove the files of a finished run that are not to be kept."""
    if keep == "all":
        return
    records = {path for pattern in _RECORDS for path in place.glob(pattern)}
    for path in place.iterdir():
        superfluous = path.name == "checkpoint.safetensors" or (keep == "records" and path not in records)
        if superfluous and path.is_file():
            path.unlink()


def _gpu_numbers(gpus: Sequence[int] | Literal["all"]) -> Sequence[int]:
    """Return the numbers of GPUs, as torch counts those that this process sees."""
    if gpus != "all" and not gpus:
        return gpus
    import torch

    count = torch.cuda.device_count()
    if gpus == "all":
        return range(count)
    if unknown := [gpu for gpu in gpus if not 0 <= gpu < count]:
        raise ValueError(f"--gpus {unknown[0]}: torch finds {count} GPUs here, numbered from 0")
    return gpus
