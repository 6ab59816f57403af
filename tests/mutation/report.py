"""Make results.json of the folders of runs: `python tests/mutation/report.py FOLDER ...`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from explained import group_of, groups

# Of several runs the one that says most about a mutant counts.
SAYS_LEAST_FIRST = ("no tests", "survived", "timed out", "crashed", "killed")


def results(folders: list[Path]) -> list[dict[str, Any]]:
    """Return each mutant's verdict."""
    last: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for each in map(json.loads, (folder / "verdicts.jsonl").read_text().splitlines()):
            before = last.get(each["name"])
            if before is None or _said(each) >= _said(before):
                last[each["name"]] = each
    return list(last.values())


def _said(result: dict[str, Any]) -> int:
    return SAYS_LEAST_FIRST.index(result["outcome"])


def main() -> None:
    """Print a row for each file, and write results.json."""
    folders = [Path(each) for each in sys.argv[1:]]
    known = groups()
    counts: dict[str, Counter[str]] = {}
    explained: Counter[str] = Counter()
    left = []
    for result in results(folders):
        outcome = result["outcome"]
        if outcome == "survived" and (group := group_of(result, known)):
            outcome = "explained"
            explained[group.reason] += 1
        elif outcome == "survived":
            left.append({name: result[name] for name in ("file", "line", "operator", "before", "after")})
        counts.setdefault(result["file"].removeprefix("dynamic_kd/"), Counter({"made": 0}))[outcome] += 1
    for each in counts.values():
        each["made"] = each.total()
    covered, interpreted = (_covered(folders[0] / f"{name}.json") for name in ("coverage", "interpreted"))
    content = {
        "runs": [json.loads(line) for folder in folders for line in (folder / "runs.jsonl").read_text().splitlines()],
        "total": dict(sum(counts.values(), Counter())),
        "files": {
            name: dict(each) | {"covered": covered.get(name), "with Triton's interpreter": interpreted.get(name)}
            for name, each in sorted(counts.items())
        },
        "explained": [{"mutants": number, "reason": reason} for reason, number in explained.most_common()],
        "left": left,
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(content, indent=1) + "\n")
    for name, each in content["files"].items():
        print(f"{name:40}", *(f"{number} {what}" for what, number in each.items()), sep="  ")
    print(content["total"])


def _covered(report: Path) -> dict[str, float]:
    """Return the files' branch coverage in percent."""
    files = json.loads(report.read_text())["files"] if report.exists() else {}
    percent = {name: file["summary"]["percent_covered"] for name, file in files.items()}
    return {name.removeprefix("dynamic_kd/"): round(value, 1) for name, value in percent.items()}


if __name__ == "__main__":
    main()
