"""``dynamic-kd experiment``: methods on a grid of settings and seeds, all of it resumable."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dynamic_kd.cli._listing import print_listing
from dynamic_kd.cli._progress import progress_bar

if TYPE_CHECKING:
    from dynamic_kd.experiments import Experiment, ExperimentProgress, Plan

_DESCRIPTION = """\
Train what an experiment compares: every method at every point of a grid of
settings, with every seed, several runs side by side. EXPERIMENT is a TOML file,
or the name of one that comes with the package: see --list.

The folder holds a run folder for each run, and what was found: a table with
mean and standard deviation over seeds, and the difference to the best fixed
weight with its bootstrap interval (Markdown, LaTeX, CSV, JSON), a row for each
run (runs.json), and figures. Finished runs are kept and others go on, whenever
the same command is given again; a run that fails stops no other."""

_EPILOG = """\
Examples:
  dynamic-kd experiment smoke
  dynamic-kd experiment ecssd-weights --data ECSSD --dry-run \\
    --set student.weights=vgg16.safetensors
  dynamic-kd experiment ecssd-weights --data ECSSD --gpus 0,1 --at-once 8 \\
    --set student.weights=vgg16.safetensors --only seed0
  dynamic-kd experiment mine.toml --report-only --paper --pictures 6

--set changes a setting of every run (training.epochs=2), or one of the
experiment itself (seeds=[0,1], resamples=10000)."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "experiment",
        help="train methods on a grid of settings and seeds, and compare them",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT", help="TOML file, or an experiment's name")
    parser.add_argument("--data", metavar="DIR", help="the folder that the data sets lie in (data.root)")
    parser.add_argument("--out", metavar="DIR", help="folder of runs and results (default: experiments/NAME)")
    parser.add_argument(
        "--at-once", type=int, default=1, metavar="N", help="runs side by side, on each GPU or on the CPU (default: 1)"
    )
    parser.add_argument("--gpus", metavar="0,1", help="the GPUs to use (default: all; none: the CPU)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="SETTING=VALUE", help="settings of every run"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN", help="only runs whose names match one, such as seed0 or 'dynamic*'"
    )
    parser.add_argument(
        "--keep",
        choices=("all", "weights", "records"),
        default="weights",
        help="what stays of a finished run: all, all but the checkpoint (weights), or what the scores are made of "
        "(records; default: weights)",
    )
    parser.add_argument(
        "--reuse", nargs="+", default=[], metavar="DIR", help="folders of experiments to copy finished runs of"
    )
    parser.add_argument("--dry-run", action="store_true", help="list the runs, and train nothing")
    parser.add_argument("--report-only", action="store_true", help="train nothing; report what is finished")
    parser.add_argument("--paper", action="store_true", help="put the paper's numbers beside, where it has them")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="draw so many images with all maps")
    parser.add_argument("--list", action="store_true", help="list the experiments that come with the package")


def run(arguments: argparse.Namespace) -> int:
    """Train what is not trained yet, and report; status 1 if a run failed."""
    from dynamic_kd.experiments import bundled_experiments, plan_experiment, read_experiment, reuse_runs, run_plan

    if arguments.list:
        print_listing(bundled_experiments())
        return 0
    if arguments.experiment is None:
        raise ValueError("expected an EXPERIMENT, got none; dynamic-kd experiment --list names those of the package")
    if arguments.at_once < 1:
        raise ValueError(f"--at-once: expected a number from 1, got {arguments.at_once}")
    experiment = read_experiment(arguments.experiment, arguments.set)
    folder = Path(arguments.out or f"experiments/{experiment.name}")
    plan = plan_experiment(experiment, folder, data=arguments.data)
    chosen = plan.only(*arguments.only) if arguments.only else plan
    if arguments.dry_run:
        return _list_runs(chosen, folder)
    if arguments.reuse:
        reuse_runs(chosen, folder, arguments.reuse)
    failed: dict[str, str] = {}
    if not arguments.report_only:
        gpus = _gpus(arguments.gpus)
        with _hint(folder), _display() as show:
            failed = run_plan(
                chosen,
                folder,
                gpus=gpus,
                at_once=arguments.at_once,
                keep=arguments.keep,
                show=show,
            ).failed
    for name, said in failed.items():
        print(f"dynamic-kd: {name} failed: {said} (all of it: {folder}/logs/{name}.log)", file=sys.stderr)
    if not failed or _anything_finished(plan, folder):
        _report(experiment, plan, folder, arguments)
    return 1 if failed else 0


def _anything_finished(plan: Plan, folder: Path) -> bool:
    from dynamic_kd.experiments import state_of

    return any(state_of(folder, run) == "finished" for run in plan.runs if not run.recipe.teacher_only)


def _list_runs(plan: Plan, folder: Path) -> int:
    from dynamic_kd.experiments import state_of

    states = {run.name: state_of(folder, run) for run in plan.runs}
    for run in plan.runs:
        print(f"{states[run.name]:<10}  {run.name}{f'  (after {run.needs})' if run.needs else ''}")
    counts = {state: list(states.values()).count(state) for state in ("finished", "unfinished", "new")}
    print(f"{len(states)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    return 0


def _gpus(words: str | None) -> list[int] | Literal["all"]:
    """Return the GPUs to use; none for the CPU."""
    if words is None:
        return "all"
    if words == "none":
        return []
    parts = words.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--gpus: expected numbers, as 0,1, or none, got {words}")
    return [int(part) for part in parts]


def _report(experiment: Experiment, plan: Plan, folder: Path, arguments: argparse.Namespace) -> None:
    """Write and print what is known."""
    from dynamic_kd.experiments import read_results, write_results

    results = read_results(experiment, plan, folder)
    written = write_results(results, folder, paper=arguments.paper, pictures=arguments.pictures)
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"In {folder}: {', '.join(path.name for path in written)}")


@contextmanager
def _hint(folder: Path) -> Iterator[None]:
    """Say how an experiment goes on that was interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        words = shlex.join(sys.argv[1:]) if sys.argv[1:2] == ["experiment"] else "experiment ..."
        print(
            f"dynamic-kd: the runs in {folder} go on, after the last epoch each finished, with the same command: "
            f"dynamic-kd {words}",
            file=sys.stderr,
        )
        raise


@contextmanager
def _display() -> Iterator[Callable[[ExperimentProgress], None]]:
    """Show how many runs are done, running and failed, which, and the time that is left."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("runs"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with progress_bar(*columns, transient=False) as bar:
        task = bar.add_task("", total=None, left="", words="")
        in_a_log = _Lines()

        def show(progress: ExperimentProgress) -> None:
            bar.update(task, **_shown(progress))
            if not bar.console.is_terminal:
                in_a_log.show(progress)

        yield show


class _Lines:
    """A line for each run that ends, where nobody watches a bar."""

    def __init__(self) -> None:
        self._said: set[str] | None = None

    def show(self, progress: ExperimentProgress) -> None:
        ended = {*progress.finished, *progress.failed}
        left = "" if progress.seconds_left is None else f", {_time(progress.seconds_left)} left"
        for name in sorted(ended - (ended if self._said is None else self._said)):
            how = "failed" if name in progress.failed else "finished"
            print(f"{len(ended)}/{progress.total} runs{left}: {name} {how}", file=sys.stderr, flush=True)
        self._said = ended


def _shown(progress: ExperimentProgress) -> dict[str, Any]:
    left = "" if progress.seconds_left is None else f"{_time(progress.seconds_left)} left"
    failed = f"{len(progress.failed)} failed, " if progress.failed else ""
    running = f"{len(progress.running)} running: {', '.join(progress.running)}" if progress.running else ""
    return {"total": progress.total, "completed": len(progress.finished), "left": left, "words": failed + running}


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
