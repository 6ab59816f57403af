"""What `check_data` found in data sets, as values, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dynamic_kd._mask import written
from dynamic_kd._tables import Table

if TYPE_CHECKING:
    from dynamic_kd.data._polarity import Polarity

_NAMES = {"image": "images", "depth": "depth maps", "mask": "masks", "teacher": "teacher's maps"}
_REMARKS = {
    "empty": "empty",
    "full": "full",
    "grey": "with grey edges",
    "void": "with void",
    "flat": "flat",
    "zero_one": "of 0 and 1",
    "colour": "in colour",
    "resized": "of another size",
}


@dataclass(frozen=True)
class RoleReport:
    """The files of one role in a data set.

    Attributes
    ----------
    role, folder : str
        The role, and the name of its sub-folder.
    files, looked_at : int
        How many files there are, and how many were decoded.
    stored, sizes, marks : dict
        How many of the decoded files have each format, each size (``"640x480"``, width first), and each mark: masks
        ``"empty"``, ``"full"``, ``"grey"`` or ``"void"``; depth and teacher's maps ``"flat"``; depth maps in
        ``"colour"``; files of another size than their image ``"resized"``.
    """

    role: str
    folder: str
    files: int
    looked_at: int
    stored: dict[str, int]
    sizes: dict[str, int]
    marks: dict[str, int]


@dataclass(frozen=True)
class SetReport:
    """One data set of a `DataReport`.

    Attributes
    ----------
    name, folder : str
        Its canonical name, and its folder.
    split : str or None
        The split that a folder's name states.
    samples, looked_at : int
        How many samples there are, and how many were decoded.
    roles : tuple of RoleReport
        Its images, depth maps, masks and teacher's maps.
    polarity : Polarity or None
        What is near in its depth maps.
    teacher_iou : float or None
        Mean soft intersection over union of the teacher's maps and the masks.
    levels : tuple of int
        All levels of the masks, void ones excluded; (0, 255) for masks with grey edges.
    salient : tuple of int
        Those that are salient; empty if that is unclear, which is a problem.
    void_share : float
        Share of void pixels, mean over the masks.
    problems, warnings : tuple of str
        What training would refuse, and what is unusual.
    """

    name: str
    folder: str
    split: str | None
    samples: int
    looked_at: int
    roles: tuple[RoleReport, ...]
    polarity: Polarity | None
    teacher_iou: float | None
    levels: tuple[int, ...]
    salient: tuple[int, ...]
    void_share: float
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def table(self) -> Table:
        """Return a table with one row for each role, titled with the data set and how much of it was decoded."""
        split = f" ({self.split})" if self.split and self.split not in self.name else ""
        seen = f"{self.looked_at} of them looked at" if self.looked_at < self.samples else "all looked at"
        return Table(
            ("", "folder", "files", "stored as", "pixels", "remarks"),
            [_row(role) for role in self.roles],
            title=f"{self.name}{split} in {self.folder}: {_count(self.samples, 'sample')}, {seen}",
            notes=self._notes(),
        )

    def _notes(self) -> list[str]:
        """Return sentences about the depth polarity and the teacher."""
        notes = ["No depth maps: only networks that take colour alone can use it (data.depth = false)."]
        if polarity := self.polarity:
            is_near = f"Near is {polarity.near}" if polarity.sure else f"Near seems to be {polarity.near} (uncertain)"
            notes = [f"{is_near} in the depth files: {polarity.agreeing} of {polarity.maps} maps agree."]
        if self.levels:
            notes.append(_about_levels(self))
        if self.teacher_iou is not None:
            notes.append(f"Soft IoU of the teacher's maps and the masks: {self.teacher_iou:.3f}, mean over images.")
        return notes


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes
    ----------
    root : str
        The folder.
    sets : tuple of SetReport
        The data sets in it.
    duplicates : tuple of tuple of str
        Groups of samples whose images are identical, over all data sets.
    notes : tuple of str
        Folders that were left out, and why.
    """

    root: str
    sets: tuple[SetReport, ...]
    duplicates: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What training would refuse, in sentences."""
        return tuple(f"{each.name}: {problem}" for each in self.sets for problem in each.problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual but does not stop training, in sentences."""
        of_sets = [f"{each.name}: {warning}" for each in self.sets for warning in each.warnings]
        same = [f"the same image: {', '.join(names)}" for names in self.duplicates]
        return (*self.notes, *of_sets, *same)

    @property
    def verdict(self) -> str:
        """How many problems and warnings there are, in a sentence."""
        if not self.problems and not self.warnings:
            return "Nothing is wrong."
        problems, warnings = _count(len(self.problems), "problem"), _count(len(self.warnings), "warning")
        text = f"{problems} that training would refuse, {warnings}."
        return text[:1].upper() + text[1:]

    def as_dict(self) -> dict[str, Any]:
        """Return the whole report as values that JSON can hold."""
        return {**asdict(self), "problems": list(self.problems), "warnings": list(self.warnings)}


def _row(role: RoleReport) -> tuple[str | int, ...]:
    remarks = ", ".join(f"{role.marks[mark]} {text}" for mark, text in _REMARKS.items() if mark in role.marks)
    stored, sizes = _most_frequent(role.stored), _most_frequent(role.sizes)
    return _NAMES[role.role], role.folder, role.files, stored, sizes, remarks or "-"


def _about_levels(report: SetReport) -> str:
    chosen = f"salient: {written(report.salient)}" if report.salient else "none clearly salient"
    void = f"; void: {report.void_share:.1%} of the pixels" if report.void_share else ""
    return f"Levels of the masks: {written(report.levels)}; {chosen}{void}."


def _most_frequent(counts: Mapping[str, int]) -> str:
    """Return the first of the values, which is the most frequent, and the number of others."""
    first, others = next(iter(counts), "-"), len(counts) - 1
    return f"{first} and {others} more" if others > 0 else first


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
