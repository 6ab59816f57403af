"""Which tests run which line, by branch coverage; its reports are the project's coverage figures, too."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import forks
import pytest
from selection import Selection

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path(__file__).with_name("coverage.ini")
# Children are forked from a process that has imported much of what pytest would rewrite assertions in.
OPTIONS = ["-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--timeout=0"]
DOCTESTS = ["dynamic_kd/losses", "dynamic_kd/metrics"]
ADDRESSES = 64 * 2**30
ELSEWHERE = [
    "tests/test_array_support.py",
    "tests/package/test_signatures.py",
    "tests/torch/test_loss.py",
    "tests/torch/test_sod_metric.py",
]
AT_IMPORT = ""  # coverage's context where no test runs
CUDA = "tests/metrics/test_cuda_statistics.py"


@dataclass(frozen=True)
class Map:
    """Which tests run which lines of which files, how long each takes, and all tests that there are."""

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]
    known: frozenset[str]

    @cached_property
    def readers(self) -> set[str]:
        """Tests that run nothing of any file."""
        return self.seconds.keys() - {name for lines in self.lines.values() for each in lines.values() for name in each}

    @cached_property
    def digest(self) -> str:
        """What changes with the tests that count."""
        return hashlib.sha256(json.dumps([self.lines, sorted(self.known)], sort_keys=True).encode()).hexdigest()[:12]

    def tests(self, path: str, lines: range | None) -> list[tuple[str, float]]:
        """Return the tests that run any of these lines of a file, with their seconds, the quick ones first.

        Without lines, of what runs at import: those that run nothing of any file, but look at what is imported, and
        then those that run any line of the file.
        """
        known = self.lines.get(path, {})
        names = {name for line in lines or () for name in known.get(line, [])}
        if lines is None or AT_IMPORT in names:
            names = self.readers | {name for each in known.values() for name in each} - {AT_IMPORT}
        in_order = sorted(names, key=lambda name: (name not in self.readers, self.seconds[name], name))
        return [(name, self.seconds[name]) for name in in_order]


def confine(tests: list[str]) -> None:
    """Leave the GPU to the tests of its kernels, and bound the memory of all others (in a child).

    A mutant that asks for too much gets a MemoryError; CUDA reserves more addresses than any bound allows.
    """
    if not any(name.startswith(CUDA) for name in tests):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))


def mapped(folder: Path, workers: int, until: float, tests: list[str], gpu: bool) -> Map:
    """Map tests to lines, or read the map that an earlier run left in the folder."""
    stored = folder / "map.json"
    if stored.exists():
        read = json.loads(stored.read_text())
        lines = {path: {int(line): names for line, names in each.items()} for path, each in read["lines"].items()}
        return Map(lines, read["seconds"], frozenset(read["known"]))
    made = [
        forks.Job(name, partial(_map, name, folder / f"data.{number}"), 600)
        for number, name in enumerate(tests or _test_files(gpu))
    ]
    passed: dict[str, float] = {}
    known: set[str] = set()
    for name, result, seconds in forks.run(made, workers, until):
        found = {"passed": {}, "failed": "killed, or too slow", "known": []} | (result or {})
        passed.update(found["passed"])
        known.update(found["known"])
        print(f"{seconds:6.1f} s, {len(found['passed']):4} tests, failed: {found['failed']}, {name}", flush=True)
    who = Map(_who(folder, passed), passed, frozenset(known))
    stored.write_text(json.dumps(asdict(who) | {"known": sorted(known)}))
    return who


def _test_files(gpu: bool) -> list[str]:
    """Return what one child each runs: the test files, and the docstrings of each folder."""
    found = [path for folder in ("losses", "metrics") for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return [name for name in names if gpu or name != CUDA] + [*ELSEWHERE, *DOCTESTS]


def _map(name: str, data: Path) -> dict[str, Any]:
    """Run a file's tests under coverage that knows which test ran which line (in a child)."""
    confine([name])
    os.environ["COVERAGE_FILE"] = str(data)
    selection = Selection()
    coverage = ["-p", "pytest_cov", "--cov", f"--cov-config={CONFIGURATION}", "--cov-context=test", "--cov-report="]
    pytest.main([*OPTIONS, *coverage, name], plugins=[selection])
    passed = set(selection.seconds) - set(selection.failed) - selection.skipped
    return {
        "passed": {name: round(selection.seconds[name], 4) for name in passed},
        "failed": sorted(set(selection.failed)),
        "known": sorted(selection.collected),
    }


def _who(folder: Path, passed: dict[str, float]) -> dict[str, dict[int, list[str]]]:
    """Combine the children's coverage, report it, and return the tests that ran each line of each file."""
    import coverage

    combined = coverage.Coverage(data_file=folder / ".coverage", config_file=CONFIGURATION)
    combined.combine([str(path) for path in folder.glob("data.*")], keep=True)
    combined.save()
    combined.json_report(outfile=str(folder / "coverage.json"))
    data = combined.get_data()
    return {
        Path(path).resolve().relative_to(ROOT).as_posix(): {
            line: sorted({name.partition("|")[0] for name in names} & {*passed, AT_IMPORT})
            for line, names in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }
