"""Mutation testing of the losses and metrics: `python tests/mutation/run.py --help`."""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import forks
import pytest
from about import about
from explained import group_of, groups
from mapping import OPTIONS, ROOT, Map, confine, mapped
from mutants import OPERATORS, Mutant, mutants
from selection import Selection

PACKAGE = ROOT / "dynamic_kd"
DETECTED = ("killed", "timed out", "crashed")


def files(patterns: list[str]) -> list[Path]:
    """Return the files to mutate: those of losses and metrics but the Triton kernels, or those that match."""
    found = [path for folder in ("losses", "metrics") for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return [
        path
        for path in found
        if "_triton" not in path.parts
        and (not patterns or any(path.relative_to(PACKAGE).match(pattern) for pattern in patterns))
    ]


@cache
def statements(path: str) -> dict[int, range]:
    """Return the lines of the statement (of compound ones the head) to which each line in a function belongs."""
    functions = [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)]
    found = {}
    for statement in (part for function in functions for child in function.body for part in ast.walk(child)):
        if isinstance(statement, ast.stmt):
            body = getattr(statement, "body", None)
            end = body[0].lineno if body else (statement.end_lineno or statement.lineno) + 1
            lines = range(statement.lineno, max(end, statement.lineno + 1))
            found.update(dict.fromkeys(lines, lines))
    return found


def tests_for(mutant: Mutant, who: Map) -> list[tuple[str, float]]:
    """Return the tests that run the mutant's statement with their seconds, the quick ones first."""
    return who.tests(mutant.path, statements(mutant.path).get(mutant.line))


def affordable(tests: list[tuple[str, float]], seconds: float) -> list[tuple[str, float]]:
    """Return the first tests that fit a budget, at least one where there are any."""
    total, count = 0.0, 0
    for count, (_, cost) in enumerate(tests):
        total += cost
        if total > seconds and count:
            return tests[:count]
    return tests


def try_mutant(mutant: Mutant, tests: list[str], known: frozenset[str]) -> dict[str, Any]:
    """Run tests with the mutant in the place of its file (in a child).

    A test that is gone, because the mutated code parametrised it, says nothing by itself; those that came instead run.
    """
    confine(tests)
    place, original = str(ROOT / mutant.path), SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        if os.path.realpath(self.path) == place:
            return compile(mutant.source, place, "exec", dont_inherit=True)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    selection = Selection(tests, known)
    modules = sorted({name.partition("::")[0] for name in tests})
    code = int(pytest.main([*OPTIONS, "-x", *modules], plugins=[selection]))
    gone = len(set(tests) - selection.collected)
    if code in (0, 5):  # all passed, or none were found
        return {"outcome": "survived", "gone": gone} if gone else {"outcome": "survived"}
    return {"outcome": "killed", "by": selection.failed[:1] or ["it cannot be imported"], "status": code}


@cache
def source_digest(path: str) -> str:
    """Return what changes with a file."""
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:12]


def described(mutant: Mutant) -> dict[str, Any]:
    """Return what the results say of a mutant: what makes it again, and the lines before and after."""
    before, after = (ROOT / mutant.path).read_text().splitlines(), mutant.source.splitlines()
    at = next((i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), 0)
    return {
        "file": mutant.path,
        "source": source_digest(mutant.path),
        "line": mutant.line,
        "operator": mutant.operator,
        "occurrence": mutant.occurrence,
        "before": before[at].strip(),
        "after": after[at].strip(),
    }


def identified(results: Iterable[dict[str, Any]]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield mutants with what names them wherever their lines move: the change, and which one of the same it is."""
    count: Counter[tuple[Any, ...]] = Counter()
    for result in sorted(results, key=lambda result: result["occurrence"]):
        key = tuple(result[name] for name in ("file", "operator", "before", "after"))
        count[key] += 1
        yield (*key, result.get("same", count[key])), {**result, "same": count[key]}


def keep(found: dict[Any, dict[str, Any]], key: Any, result: dict[str, Any]) -> None:
    """Keep the later of two results, but for what was killed, which stays killed."""
    if found.get(key, {}).get("outcome") not in DETECTED:
        found[key] = result


class Run:
    """Mutants and what became of them, a line of JSON for each as soon as it is known; a later line counts.

    Of an earlier run's results with other tests, or before other lines of a file changed, what was killed stays killed.
    """

    def __init__(self, folder: Path, made: list[Mutant], who: Map, workers: int, until: float) -> None:
        self.path = folder / "results.jsonl"
        self.made = {mutant.name: mutant for mutant in made}
        self.tests = {name: tests_for(mutant, who) for name, mutant in self.made.items()}
        self.known, self.digest = who.known, who.digest
        self.workers, self.until = workers, until
        listed = [{"name": name, **described(mutant)} for name, mutant in self.made.items()]
        self.same = {mutant["name"]: mutant["same"] for _, mutant in identified(listed)}
        self.results = self._earlier()
        listed = groups()
        self.explained = {name for name, mutant in self.made.items() if group_of(described(mutant), listed)}

    def _earlier(self) -> dict[str, dict[str, Any]]:
        """Return what the results that the folder has say of these mutants."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        by_name: dict[tuple[str, ...], dict[str, Any]] = {}
        for result in map(json.loads, lines):
            keep(by_name, (result.get("source"), result["name"]), result)
        moved: dict[tuple[Any, ...], dict[str, Any]] = {}
        for source in sorted({str(source) for source, _ in by_name}):
            for key, result in identified(each for (own, _), each in by_name.items() if str(own) == source):
                keep(moved, key, result)
        found = {}
        for key, mutant in identified({"name": name, **described(mutant)} for name, mutant in self.made.items()):
            if known := by_name.get((mutant["source"], mutant["name"]), moved.get(key)):
                found[mutant["name"]] = known | mutant
        return found

    def go_on(self, budget: float, *, first: bool) -> None:
        """Try what is not killed with the tests that this budget adds to what was tried.

        What is explained is tried with the first budget alone: it survives the others, too.
        """
        for name, result, seconds in forks.run(self._jobs(budget, first), self.workers, self.until):
            result = result or {"outcome": "timed out"}
            tried = len(affordable(self.tests[name], budget))
            self._note(name, {**result, "tried": tried, "of": len(self.tests[name]), "seconds": round(seconds, 2)})

    def _jobs(self, budget: float, first: bool) -> Iterator[forks.Job]:
        for name, mutant in self.made.items():
            before = self.results.get(name, {"outcome": "survived"})
            if not self.tests[name] and name not in self.results:
                self._note(name, {"outcome": "no tests", "tried": 0, "of": 0})
            tried = before["tried"] if before.get("tests") == self.digest else 0
            added = affordable(self.tests[name], budget)[tried:]
            if before["outcome"] not in DETECTED and added and (first or name not in self.explained):
                seconds = 15 + 5 * sum(cost for _, cost in added)
                work = partial(try_mutant, mutant, [test for test, _ in added], self.known)
                yield forks.Job(name, work, seconds)

    def _note(self, name: str, result: dict[str, Any]) -> None:
        same = {"same": self.same[name]}
        self.results[name] = {"name": name, **described(self.made[name]), **same, **result, "tests": self.digest}
        with self.path.open("a") as file:
            file.write(json.dumps(self.results[name]) + "\n")

    def finish(self) -> None:
        """Write what is known of each mutant that there is now."""
        content = "".join(json.dumps(self.results[name]) + "\n" for name in self.made if name in self.results)
        self.path.with_name("verdicts.jsonl").write_text(content)

    def summary(self) -> str:
        """Count outcomes."""
        outcomes = [self.results.get(name, {"outcome": "not tried"})["outcome"] for name in self.made]
        return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))


def make_mutants(paths: list[Path], workers: int, until: float) -> list[Mutant]:
    """Make the mutants, a child for each file and kind of operator, the long files first."""
    made: dict[str, list[Mutant]] = {}
    paths = sorted(paths, key=lambda path: -path.stat().st_size)
    work = [
        forks.Job(f"{path} {part}", partial(_as_json, path, operators), 300)
        for path in paths
        for part, operators in enumerate(OPERATORS)
    ]
    for name, result, _ in forks.run(work, workers, until):
        if not isinstance(result, list):
            raise RuntimeError(f"no mutants could be made of {name}: is cosmic-ray installed?")
        made[name] = [Mutant(**values) for values in result]
    return [mutant for name in sorted(made) for mutant in made[name]]


def _as_json(path: Path, operators: list[str]) -> list[dict[str, Any]]:
    return [vars(mutant) for mutant in mutants(path, ROOT, operators)]


def main() -> None:
    """Map the tests, make the mutants, try them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="what to mutate, such as losses/_weighting.py; default: everything")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; the same one again goes on")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=36000, help="seconds after which everything stops")
    parser.add_argument(
        "--budgets", type=float, nargs="*", default=[2, 20, 600], help="seconds of tests for a mutant, pass by pass"
    )
    parser.add_argument("--tests", nargs="*", default=[], help="test files that count; default: all of both folders")
    parser.add_argument("--gpu", action="store_true", help="run the tests of the CUDA kernels, too")
    options = parser.parse_args()
    start = time.monotonic()
    until = start + options.limit
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # only what the tests need, the same everywhere
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "runs.jsonl").open("a") as file:
        file.write(json.dumps(about(options.budgets)) + "\n")
    print("missing libraries:", forks.preload())
    who = mapped(options.out.resolve(), options.workers, until, options.tests, options.gpu)
    print(f"{time.monotonic() - start:.0f} s: tests mapped", flush=True)
    made = make_mutants(files(options.files), options.workers, until)
    run = Run(options.out, made, who, options.workers, until)
    print(f"{time.monotonic() - start:.0f} s: {len(made)} mutants made", flush=True)
    for budget in options.budgets:
        run.go_on(budget, first=budget == options.budgets[0])
        print(f"{time.monotonic() - start:.0f} s, budget {budget:g} s: {run.summary()}", flush=True)
    run.finish()


if __name__ == "__main__":
    main()
