"""Data sets looked over before they are trained on: what is there, what is odd, what would be refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd.data._file_facts import FileFacts, sample_facts
from dynamic_kd.data._located import Located, locate_any
from dynamic_kd.data._polarity import LOOKED_AT, spread
from dynamic_kd.data._set_report import SetReport, set_report
from dynamic_kd.data._sources import POLARITIES


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
        Names of samples whose images are the same, pixel by pixel, in groups, over all data sets.
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
        """What is odd and does no harm by itself, in sentences."""
        of_sets = [f"{each.name}: {warning}" for each in self.sets for warning in each.warnings]
        same = [f"the same image: {', '.join(names)}" for names in self.duplicates]
        return (*self.notes, *of_sets, *same)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {**asdict(self), "problems": list(self.problems), "warnings": list(self.warnings)}


def check_data(
    root: str | Path,
    *,
    list_file: str | Path | None = None,
    teacher: str | Path | None = None,
    near: str = "auto",
    quick: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataReport:
    """Look over data sets as `find_data` finds them, and report instead of raising.

    Every file is decoded once: unmatched and unreadable files, masks that would read as empty, sizes, formats, depth
    polarity, flat depth, empty masks, the overlap of a teacher's maps with the masks, and images that come twice.

    Parameters
    ----------
    root, list_file, teacher, near
        As for `find_data`.
    quick : bool
        Decode fifty samples of each data set, evenly spread, instead of all.
    workers : int, optional
        Threads; by default one for each processor, eight at most.
    progress : callable
        Called with how many samples are looked at, and how many there are.

    Returns
    -------
    DataReport
        With `DataReport.problems` that training would refuse, and `DataReport.warnings`.

    Raises
    ------
    ValueError
        If there is no data set to speak of, if two sub-folders serve one role or two images share a stem, if the list
        file is wrong, or if a data set has no teacher's maps.

    Examples
    --------
    >>> check_data("NJU2K", quick=True).problems  # doctest: +SKIP
    ('NJUD: 1 missing in GT: 000017_left',)
    """
    check_choice("near", near, POLARITIES)
    check_flag("quick", quick)
    check_whole("workers", workers, low=1, optional=True)
    located, notes = locate_any(Path(root), list_file, teacher)
    looked_at = [spread(_whole(each), LOOKED_AT) if quick else _whole(each) for each in located]
    jobs = [each.of(stem) for each, stems in zip(located, looked_at, strict=True) for stem in stems]
    facts: list[list[FileFacts]] = []
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    try:
        for found in pool.map(sample_facts, jobs):
            facts.append(found)
            progress(len(facts), len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)
    sets, named = [], []
    for each, stems in zip(located, looked_at, strict=True):
        own, facts = facts[: len(stems)], facts[len(stems) :]
        sets.append(set_report(each, own, near))
        named += [(each.prefix + stem, found) for stem, found in zip(stems, own, strict=True)]
    return DataReport(str(root), tuple(sets), _duplicates(named), tuple(notes))


def _whole(located: Located) -> list[str]:
    """Return the stems that have an image: what lacks another file is looked at all the same."""
    return [stem for stem in located.wanted if stem in located.files["image"]]


def _duplicates(named: list[tuple[str, list[FileFacts]]]) -> tuple[tuple[str, ...], ...]:
    by_digest: dict[bytes, list[str]] = {}
    for name, facts in named:
        for fact in facts:
            if fact.digest:
                by_digest.setdefault(fact.digest, []).append(name)
    return tuple(tuple(names) for names in by_digest.values() if len(names) > 1)
