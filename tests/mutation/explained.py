"""Survivors that no test can kill, or that none needs to: explained.toml, and what it matches."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Group:
    """Mutants of some files whose changed line looks like a pattern, and why they may survive."""

    files: tuple[str, ...]
    operator: str
    change: str
    reason: str

    def holds(self, result: dict[str, Any]) -> bool:
        """Whether a mutant is one of the group: its change is the line before, an arrow, and the line after."""
        return (
            any(fnmatch(result["file"].removeprefix("dynamic_kd/"), file) for file in self.files)
            and fnmatch(result["operator"], self.operator)
            and re.search(self.change, f"{result['before']} -> {result['after']}") is not None
        )


def groups() -> list[Group]:
    """Read the groups."""
    listed = tomllib.loads(Path(__file__).with_name("explained.toml").read_text())["group"]
    return [
        Group(tuple(each["files"]), each.get("operator", "*"), each.get("change", ""), " ".join(each["reason"].split()))
        for each in listed
    ]


def group_of(result: dict[str, Any], known: list[Group]) -> Group | None:
    """Return the first group that a mutant belongs to."""
    return next((group for group in known if group.holds(result)), None)
