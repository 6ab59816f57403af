"""Runs of the study on one fold of ECSSD: ``python -m benchmarks.experiments.study FOLD``.

The plan of the study is docs/results/study.md. Runs that ``--results`` has from earlier sessions are not made again.
Repeat the command to continue: interrupted runs resume in the same ``--out``. Each finished run is scored on the images
held out (`sharpened`), and its weights are removed. At the end, or when the time is up, ``--pack`` gets the finished:

- ``foldN.json``: a row for each run, earlier sessions included: method, share, seed, commit, seconds and versions
- ``foldN.npz.xz``: the scores of each image of the same runs (16 KB a run)
- ``foldN-seedS.tar``: recipes, logs and 8-bit records of this session's runs (280 KB a run, 27 runs a file)
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.experiments.experiment import PLANS, read_experiment
from benchmarks.experiments.plan import Plan, PlannedRun, plan_experiment
from benchmarks.experiments.run import Progress, run_folder, run_plan, sessions
from benchmarks.experiments.sharpened import HeldOut, read_held_out, read_scores, score_run, write_scores

Rows = dict[str, dict[str, Any]]

FOLDS = range(5)
RESULTS = Path(__file__).parents[1] / "results" / "study"
# What is answered first if a session ends early, within each seed.
ORDER = (
    ("s = 0.5 + threshold", "dynamic + threshold", "s = 0.5 relative", "s = 0.5"),
    ("cross-entropy", "dynamic", "s = 0.3"),
    ("replace", "pixel gate", "ratio", "smooth relative"),
)
_LEFT = ("recipe.toml", "results.json", "environment.json", "epochs.csv", "noise.csv", "student-report.npz")


class TimeIsUpError(Exception):
    """The session ends here."""


def seeds_of(fold: int) -> tuple[int, int]:
    """Return the seeds of a fold, which no other experiment has used."""
    return 100 + 10 * fold, 101 + 10 * fold


def fold_plan(fold: int, folder: Path, data: str | Path, overrides: Sequence[str] = ()) -> tuple[Plan, Rows]:
    """Return the runs of a fold in their order, and a row that describes each."""
    settings = (f"recipe=../recipes/study-fold{fold}.toml", f"seeds={list(seeds_of(fold))}", *overrides)
    experiments = [read_experiment(PLANS / f"{name}.toml", settings) for name in ("study", "study-candidates")]
    plans = [plan_experiment(experiment, folder, data=data) for experiment in experiments]
    cells = [cell for plan in plans for cell in plan.cells]
    rows: Rows = {}
    for cell in cells:
        row = rows.setdefault(cell.run, {"method": cell.method, "fold": fold, "seed": cell.seed, "shares": []})
        row["shares"].append(dict(cell.point)["teacher.spoil_share"])
    block = {method: place for place, methods in enumerate(ORDER) for method in methods}
    runs = sorted(
        (run for plan in plans for run in plan.runs),
        key=lambda run: (rows[run.name]["seed"], block[rows[run.name]["method"]]),
    )
    return Plan(tuple(runs), tuple(cells)), rows


class Session:
    """Scores runs as they finish, and ends the session when its time is up."""

    def __init__(self, plan: Plan, folder: Path, device: str, seconds: float) -> None:
        self._runs = {run.name: run for run in plan.runs}
        self._folder, self._device, self._end = folder, device, time.monotonic() + seconds
        self._held_out: HeldOut | None = None
        self._seen: set[str] = set()
        self.unscored: dict[str, str] = {}

    def show(self, progress: Progress) -> None:
        """Look at the progress of the runs.

        Raises
        ------
        TimeIsUpError
            When the session's seconds are over.
        """
        if time.monotonic() >= self._end:
            raise TimeIsUpError
        for name in [name for name in progress.finished if name not in self._seen]:
            self._seen.add(name)
            try:
                self._score(self._runs[name])
            except (OSError, RuntimeError, ValueError) as error:  # the others go on, and its weights stay
                self.unscored[name] = f"{type(error).__name__}: {error}"
                say(f"{name} NOT SCORED: {self.unscored[name]}")
            else:
                left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
                say(f"{len(progress.finished)}/{progress.total}{left}: {name} finished")
        for name in progress.failed.keys() - self._seen:
            self._seen.add(name)
            say(f"{name} FAILED: {progress.failed[name]}")

    def _score(self, run: PlannedRun) -> None:
        place = run_folder(self._folder, run.name)
        if scores_file(place).exists():
            return
        if self._held_out is None:
            self._held_out = read_held_out(run.recipe, self._device)
        write_scores(scores_file(place), {run.name: score_run(place, self._held_out)})
        (place / "student-last.safetensors").unlink()


def scores_file(place: Path) -> Path:
    """Return the file with the scores of a run."""
    return place / "scores.npz.xz"


def pack(fold: int, plan: Plan, rows: Rows, folder: Path, results: Path, target: Path, commit: str) -> dict[str, int]:
    """Write what is finished, here and in earlier results, into a folder, and return the bytes of each file."""
    target.mkdir(parents=True, exist_ok=True)
    table, scores = read_results(results, fold)
    done = [run for run in plan.runs if scores_file(run_folder(folder, run.name)).exists()]
    for run in done:
        place = run_folder(folder, run.name)
        scores |= read_scores(scores_file(place))
        table[run.name] = rows[run.name] | {"commit": commit} | _facts(place)
    written = []
    if scores:
        written = [target / f"fold{fold}.json", target / f"fold{fold}.npz.xz"]
        written[0].write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        write_scores(written[1], scores)
    for seed in sorted({run.recipe.seed for run in done}):
        written.append(target / f"fold{fold}-seed{seed}.tar")
        with tarfile.open(written[-1], "w") as archive:
            for run in done:
                for path in (run_folder(folder, run.name) / name for name in _LEFT if run.recipe.seed == seed):
                    if path.exists():
                        archive.add(path, f"{run.name}/{path.name}")
    return {path.name: path.stat().st_size for path in written}


def read_results(results: Path, fold: int) -> tuple[Rows, dict[str, Any]]:
    """Return the rows and the scores that sessions have left of a fold, by run."""
    table, scores = results / f"fold{fold}.json", results / f"fold{fold}.npz.xz"
    if not table.is_file():
        return {}, {}
    return json.loads(table.read_text(encoding="utf-8")), dict(read_scores(scores))


def _facts(place: Path) -> dict[str, Any]:
    """Return what a run folder says of how the run went."""
    results = json.loads((place / "results.json").read_text(encoding="utf-8"))
    session = sessions(place)[-1]
    facts = {"seconds": results["seconds"], "sessions": len(sessions(place))}
    noise = {
        key: results["noise"][key] for key in ("flagged", "recall", "precision") if key in results.get("noise", {})
    }
    return facts | noise | {key: session[key] for key in ("device", "versions") if key in session}


def say(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.study",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("fold", type=int, choices=FOLDS, metavar="FOLD", help="0 to 4: ids that leave it, divided by 5")
    parser.add_argument("--data", required=True, metavar="DIR", help="ECSSD: images, masks and pred_ISNet")
    parser.add_argument("--weights", metavar="FILE", help="of the VGG16 trunk (student.weights)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for run folders")
    parser.add_argument("--pack", type=Path, required=True, metavar="DIR", help="for what is to be kept")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="what earlier sessions packed")
    parser.add_argument("--commit", required=True, metavar="HASH", help="what the code is, for the rows")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="runs at the same time (default: 8)")
    parser.add_argument(
        "--stagger", type=float, default=8.0, metavar="SECONDS", help="from start to start (default: 8)"
    )
    parser.add_argument("--seconds", type=float, default=1e9, metavar="SECONDS", help="stop and pack after these")
    parser.add_argument("--cpu", action="store_true", help="use the CPU")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="only runs whose name matches one")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="SETTING=VALUE", help="of every run")
    parser.add_argument("--dry-run", action="store_true", help="list the runs that are left, in their order")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: status 1 if a run failed."""
    arguments = parser().parse_args(argv)
    begun = time.monotonic()
    chosen = [f"student.weights={arguments.weights}"] if arguments.weights else []
    compiled = [] if arguments.cpu else ["compile=true"]
    plan, rows = fold_plan(arguments.fold, arguments.out, arguments.data, [*chosen, *compiled, *arguments.set])
    plan = plan.only(*arguments.only) if arguments.only else plan
    known, _ = read_results(arguments.results, arguments.fold)
    plan = replace(plan, runs=tuple(run for run in plan.runs if run.name not in known))
    say(f"fold {arguments.fold}: {len(plan.runs)} runs, {len(known)} of earlier sessions")
    if arguments.dry_run:
        print("\n".join(run.name for run in plan.runs))
        return 0
    failed = _run(plan, arguments)
    sizes = pack(arguments.fold, plan, rows, arguments.out, arguments.results, arguments.pack, arguments.commit)
    files = [f"{name} {size / 2**20:.2f} MiB" for name, size in sizes.items()]
    say(f"{time.monotonic() - begun:.0f} s; {', '.join(files)}")
    return 1 if failed else 0


def _run(plan: Plan, arguments: argparse.Namespace) -> Mapping[str, str]:
    """Make the runs until the time is up, and return those that failed."""
    session = Session(plan, arguments.out, "cpu" if arguments.cpu else "cuda", arguments.seconds)
    gpus: Sequence[int] | Literal["all"] = () if arguments.cpu else "all"
    settings: dict[str, Any] = {"at_once": arguments.at_once, "stagger": arguments.stagger, "keep": "weights"}
    try:
        return run_plan(plan, arguments.out, gpus=gpus, show=session.show, **settings).failed | session.unscored
    except TimeIsUpError:
        say("the time is up; repeat the command to continue")
        return session.unscored


if __name__ == "__main__":
    sys.exit(main())
