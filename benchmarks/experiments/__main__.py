"""``python -m benchmarks.experiments``: train and compare methods on a grid of settings and seeds."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiments.plan import Plan
    from benchmarks.experiments.results import Results
    from benchmarks.experiments.run import Progress

_DESCRIPTION = """\
Train what an experiment compares: every method at every point of a grid of
settings, with every seed, several runs at the same time. EXPERIMENT is a TOML
file, or the name of one in benchmarks/experiments/plans (see --list).

The output folder holds a run folder for each run, and the results: a table with
mean and standard deviation over seeds, and the differences from the best fixed
weight with bootstrap intervals (Markdown, LaTeX, CSV, JSON), a row for each run
(runs.json), and figures. Repeat the command to continue: finished runs are
kept, interrupted ones resume. A run that fails does not stop the others.

EXPERIMENT may also be a folder with results.json and runs.json: its tables and
figures are then made again, in another folder (--out)."""

_EPILOG = """\
Examples:
  python -m benchmarks.experiments smoke
  python -m benchmarks.experiments ecssd-weights --data ECSSD --dry-run \\
    --set student.weights=vgg16.safetensors
  python -m benchmarks.experiments ecssd-weights --data ECSSD --gpus 0,1 \\
    --at-once 8 --set student.weights=vgg16.safetensors --only seed0
  timeout 9m python -m benchmarks.experiments mine.toml --keep records
  python -m benchmarks.experiments mine.toml --report --paper
  python -m benchmarks.experiments benchmarks/results/experiments/ecssd-final \\
    --out again

--set changes a setting of every run (training.epochs=2), or one of the
experiment itself (seeds=[0,1], resamples=10000)."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments",
        usage="%(prog)s EXPERIMENT [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT", help="TOML file, plan, or folder of results")
    parser.add_argument("--list", action="store_true", help="list the plans and exit")
    parser.add_argument("--data", metavar="DIR", help="the folder that contains the data sets (data.root)")
    parser.add_argument("--out", metavar="DIR", help="folder for runs and results (default: experiments/NAME)")
    parser.add_argument(
        "--at-once", type=int, default=1, metavar="N", help="runs at the same time, per GPU or on the CPU (default: 1)"
    )
    parser.add_argument("--gpus", metavar="0,1", help="the GPUs to use, or 'none' for the CPU (default: all)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="SETTING=VALUE", help="settings of every run"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN", help="only runs whose name matches one, such as seed0 or 'dynamic*'"
    )
    parser.add_argument(
        "--keep",
        choices=("all", "weights", "records"),
        default="weights",
        help="which files of a finished run to keep: all, all but the checkpoint (weights), or only the per-image "
        "records and logs (records; default: weights)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their state; train nothing")
    parser.add_argument("--report", action="store_true", help="train nothing; report the finished runs")
    parser.add_argument("--paper", action="store_true", help="print the paper's numbers beside the results")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: status 1 if a run failed, 2 for a wrong argument or setting, 130 if interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        _say(f"error: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt:
        words = shlex.join(sys.argv[1:] if argv is None else argv)
        _say(f"interrupted; to continue, repeat: python -m benchmarks.experiments {words}")
        return 130


def _run(arguments: argparse.Namespace) -> int:
    # torch and matplotlib take seconds to import, which --help need not wait for
    from benchmarks.experiments.experiment import bundled_plans, read_experiment
    from benchmarks.experiments.plan import plan_experiment
    from benchmarks.experiments.results import read_published, read_results
    from benchmarks.experiments.run import run_plan, state_of

    if arguments.list:
        plans = bundled_plans()
        print("\n".join(f"{name:<{max(map(len, plans))}}  {about}" for name, about in plans.items()))
        return 0
    if arguments.experiment is None:
        raise ValueError("no EXPERIMENT given; --list prints the plans")
    if Path(arguments.experiment).is_dir():
        if arguments.out is None:
            raise ValueError(f"{arguments.experiment}: name the folder for the new report with --out")
        _report(read_published(arguments.experiment), Path(arguments.out), arguments)
        return 0
    experiment = read_experiment(arguments.experiment, arguments.set)
    folder = Path(arguments.out or f"experiments/{experiment.name}")
    plan = plan_experiment(experiment, folder, data=arguments.data)
    chosen = plan.only(*arguments.only) if arguments.only else plan
    if arguments.dry_run:
        _list_runs(chosen, folder)
        return 0
    failed: dict[str, str] = {}
    if not arguments.report:
        settings = {"gpus": _gpus(arguments.gpus), "at_once": arguments.at_once, "keep": arguments.keep}
        failed = run_plan(chosen, folder, show=_Lines().show, **settings).failed
    for name, output in failed.items():
        _say(f"{name} failed: {output} (whole log: {folder}/logs/{name}.log)")
    students = [run for run in plan.runs if not run.recipe.teacher_only]
    if not failed or any(state_of(folder, run) == "finished" for run in students):
        _report(read_results(experiment, plan, folder), folder, arguments)
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list_runs(plan: Plan, folder: Path) -> None:
    from benchmarks.experiments.run import state_of

    states = {run.name: state_of(folder, run) for run in plan.runs}
    for run in plan.runs:
        print(f"{states[run.name]:<10}  {run.name}{f'  (after {run.needs})' if run.needs else ''}")
    counts = {state: list(states.values()).count(state) for state in ("finished", "unfinished", "new")}
    print(f"{len(states)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}")


def _report(results: Results, folder: Path, arguments: argparse.Namespace) -> None:
    """Write the report, and print the tables."""
    from benchmarks.experiments.report import write_report

    written = write_report(results, folder, with_paper=arguments.paper)
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"In {folder}: {', '.join(path.name for path in written)}")


def _gpus(text: str | None) -> list[int] | Literal["all"]:
    """Return the GPUs to use; an empty list means the CPU."""
    if text is None:
        return "all"
    if text == "none":
        return []
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--gpus: expected numbers, such as 0,1, or none, got {text}")
    return [int(part) for part in parts]


class _Lines:
    """Prints a line for each run that starts or ends."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def show(self, progress: Progress) -> None:
        if not self._printed and progress.finished:
            _say(f"{len(progress.finished)} of {progress.total} runs are finished")
            self._printed = {f"{name} finished" for name in progress.finished}
        events = [f"{name} started" for name in progress.running]
        events += [f"{name} finished" for name in progress.finished] + [f"{name} failed" for name in progress.failed]
        ended = len(progress.finished) + len(progress.failed)
        left = "" if progress.seconds_left is None else f", {_time(progress.seconds_left)} left"
        for event in events:
            if event not in self._printed:
                _say(f"{ended}/{progress.total} runs{left}: {event}")
                self._printed.add(event)


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` and schedulers send it
    sys.exit(main())
