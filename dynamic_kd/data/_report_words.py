"""A report on data in words: a table for each data set, and sentences."""

from __future__ import annotations

from collections.abc import Mapping

from dynamic_kd.data._set_report import RoleReport, SetReport

COLUMNS = ("", "folder", "files", "stored as", "pixels", "remarks")
_NAMES = {"image": "images", "depth": "depth maps", "mask": "masks", "teacher": "teacher's maps"}
_MARKS = {
    "empty": "empty",
    "full": "full",
    "grey": "not binary",
    "flat": "flat",
    "colour": "in colour",
    "resized": "of another size",
}


def heading(report: SetReport) -> str:
    """Say which data set it is, where it lies and how much of it was looked at."""
    split = f" ({report.split})" if report.split and report.split not in report.name else ""
    seen = f"{report.looked_at} of them looked at" if report.looked_at < report.samples else "all looked at"
    return f"{report.name}{split} in {report.folder}: {_count(report.samples, 'sample')}, {seen}"


def rows(report: SetReport) -> list[tuple[str, ...]]:
    """Return the rows of the table, one for each role; `COLUMNS` are its header."""
    return [_row(role) for role in report.roles]


def _row(role: RoleReport) -> tuple[str, ...]:
    marks = ", ".join(f"{role.marks[mark]} {words}" for mark, words in _MARKS.items() if mark in role.marks)
    stored, sizes = _most(role.stored), _most(role.sizes)
    return _NAMES[role.role], role.folder, str(role.files), stored, sizes, marks or "-"


def _most(counts: Mapping[str, int]) -> str:
    """Return the most frequent of what there is, and how many others there are."""
    most, others = next(iter(counts), "-"), len(counts) - 1
    return f"{most} and {others} more" if others > 0 else most


def sentences(report: SetReport) -> list[str]:
    """Say what is near in the depth files, and how good the teacher is."""
    said = []
    if polarity := report.polarity:
        is_near = f"Near is {polarity.near}" if polarity.sure else f"Near seems {polarity.near}, which is not sure,"
        said.append(f"{is_near} in the depth files: {polarity.agreeing} of {polarity.maps} maps looked at say so.")
    else:
        said.append("There are no depth maps: networks that take colour alone can use it (data.depth = false).")
    if report.teacher_iou is not None:
        said.append(f"The teacher's maps overlap the masks by {report.teacher_iou:.3f} (soft IoU, mean over images).")
    return said


def closing(problems: int, warnings: int) -> str:
    """Say how many problems and warnings there are."""
    if not problems and not warnings:
        return "Nothing is wrong."
    words = f"{_count(problems, 'problem')} that training would refuse, {_count(warnings, 'warning')}."
    return words[:1].upper() + words[1:]


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
