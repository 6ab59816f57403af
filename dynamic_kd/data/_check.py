"""Data sets checked before training: what they hold, what is unusual, and what training would refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd._files import listing, printable
from dynamic_kd._mask import LevelsSeen, Meaning, meaning
from dynamic_kd._threads import default_workers, in_order, thread_pool
from dynamic_kd.data._file_facts import FileFacts, sample_facts
from dynamic_kd.data._find_data import POLARITIES
from dynamic_kd.data._known_sets import count_note
from dynamic_kd.data._layouts import ROLES
from dynamic_kd.data._located import Located, locate_any
from dynamic_kd.data._pairing import other_files
from dynamic_kd.data._polarity import LOOKED_AT, Polarity, doubt, polarity_of_files, spread
from dynamic_kd.data._report import DataReport, RoleReport, SetReport

_LOW_OVERLAP = 0.2
_WARNINGS = {
    ("mask", "empty"): "masks without a salient pixel",
    ("mask", "full"): "masks that are salient everywhere",
    ("mask", "resized"): "masks of another size than their image (read them with a size)",
    ("depth", "flat"): "flat depth maps",
    ("depth", "colour"): "depth maps in colour, read as their luma (store distances as grey)",
    ("depth", "resized"): "depth maps of another size than their image, which are resized to it",
    ("teacher", "flat"): "flat maps of the teacher",
    ("teacher", "zero_one"): "maps of the teacher whose largest level is 1 of 255 (if 1 is salient, save 0 and 255)",
    ("teacher", "resized"): "maps of the teacher of another size than their image, which are resized to it",
}


def check_data(
    root: str | Path,
    *,
    list_file: str | Path | None = None,
    teacher: str | Path | None = None,
    near: str = "auto",
    salient: Any = None,
    void: Any = None,
    channel: str = "auto",
    quick: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataReport:
    """Check data sets as `find_data` finds them, and report problems instead of raising.

    Every file is decoded once. The report covers unmatched and unreadable files, the levels of masks and what they
    mean, sizes, formats, depth polarity, flat depth maps, empty masks, the overlap of a teacher's maps with the masks,
    and duplicate images.

    Parameters
    ----------
    root, list_file, teacher, near, salient, void, channel
        As for `find_data`.
    quick : bool
        Decode fifty samples of each data set, evenly spread, instead of all.
    workers : int, optional
        Threads. By default one for each core, at most eight.
    progress : callable
        Called with the number of samples checked, and their total.

    Returns
    -------
    DataReport
        With `DataReport.problems`, which training would refuse, and `DataReport.warnings`.

    Raises
    ------
    ValueError
        If there is no data set, if two sub-folders have one role or two images share a stem, if the list file is
        wrong, or if a data set lacks the teacher's maps.

    Examples
    --------
    >>> check_data("NJU2K", quick=True).problems  # doctest: +SKIP
    ('NJUD: 1 missing in GT: 000017_left',)
    """
    check_choice("near", near, POLARITIES)
    check_flag("quick", quick)
    check_whole("workers", workers, low=1, optional=True)
    wanted = meaning(salient, void, channel)
    workers = workers or default_workers()
    located, notes = locate_any(Path(root), list_file, teacher)
    chosen = [spread(_with_image(each), LOOKED_AT) if quick else _with_image(each) for each in located]
    jobs = [each.of(stem) for each, stems in zip(located, chosen, strict=True) for stem in stems]
    facts: list[list[FileFacts]] = []
    with thread_pool(workers) as pool:
        for found in in_order(pool, partial(sample_facts, wanted=wanted), jobs, ahead=4 * workers):
            facts.append(found)
            progress(len(facts), len(jobs))
    sets, named = [], []
    for each, stems in zip(located, chosen, strict=True):
        of_set, facts = facts[: len(stems)], facts[len(stems) :]
        sets.append(_set_report(each, stems, of_set, near, wanted))
        named += [(each.prefix + stem, found) for stem, found in zip(stems, of_set, strict=True)]
    return DataReport(printable(str(root)), tuple(sets), _duplicates(named), tuple(notes))


def _with_image(located: Located) -> list[str]:
    """Return the stems that have an image, whatever other files they lack."""
    return [stem for stem in located.wanted if stem in located.files["image"]]


def _duplicates(named: list[tuple[str, list[FileFacts]]]) -> tuple[tuple[str, ...], ...]:
    by_digest: dict[bytes, list[str]] = {}
    for name, facts in named:
        for fact in facts:
            if fact.digest:
                by_digest.setdefault(fact.digest, []).append(name)
    return tuple(tuple(names) for names in by_digest.values() if len(names) > 1)


def _set_report(
    located: Located, stems: Sequence[str], facts: Sequence[list[FileFacts]], near: str, wanted: Meaning
) -> SetReport:
    """Summarize a data set; ``facts`` holds a list for each decoded sample."""
    seen = LevelsSeen(wanted)
    masks = [(stem, fact) for stem, sample in zip(stems, facts, strict=True) for fact in sample if fact.levels]
    for stem, fact in masks:
        assert fact.levels is not None
        seen.add(located.files["mask"][stem].name, fact.levels)
    chosen, unclear = _decided(seen, located.layout.roles["mask"].name if masks else "")
    roles = tuple(_role_report(located, role, facts) for role in (*ROLES, "teacher") if role in located.files)
    depths = list(located.files.get("depth", {}).values())
    polarity = polarity_of_files(depths) if depths else None
    overlaps = [fact.soft_iou for sample in facts for fact in sample if fact.soft_iou is not None]
    teacher_iou = float(np.mean(overlaps)) if overlaps else None
    count = count_note(located.layout.name, located.layout.split, len(located.wanted))
    return SetReport(
        name=located.name,
        folder=printable(str(located.layout.folder)),
        split=located.layout.split,
        samples=len(located.wanted),
        looked_at=len(facts),
        roles=roles,
        polarity=polarity,
        teacher_iou=teacher_iou,
        levels=seen.levels(),
        salient=chosen,
        void_share=float(np.mean([fact.void for _, fact in masks])) if masks else 0.0,
        problems=(*_problems(located, facts), *unclear),
        warnings=(
            *([count] if count else []),
            *_left_out(located),
            *located.notes,
            *_mark_warnings(roles),
            *_polarity_warnings(polarity, near),
            *_teacher_warnings(teacher_iou),
        ),
    )


def _decided(seen: LevelsSeen, folder: str) -> tuple[tuple[int, ...], list[str]]:
    """Return the salient levels of masks, or the problem that they are not clear."""
    try:
        return seen.decide(folder), []
    except ValueError as error:
        return (), [str(error)]


def _role_report(located: Located, role: str, facts: Sequence[list[FileFacts]]) -> RoleReport:
    by_sample = [{fact.role: fact for fact in sample} for sample in facts]
    seen = [(each[role], each["image"]) for each in by_sample if role in each]
    readable = [(fact, image) for fact, image in seen if not fact.error]
    marks = Counter(mark for fact, _ in readable for mark in fact.marks)
    if resized := sum(fact.size != image.size for fact, image in readable if not image.error):
        marks["resized"] = resized
    return RoleReport(
        role=role,
        folder=printable(located.layout.roles[role].name),
        files=len(located.files[role]),
        looked_at=len(seen),
        stored=dict(Counter(fact.stored or "unreadable" for fact, _ in seen).most_common()),
        sizes=dict(Counter(f"{fact.size[1]}x{fact.size[0]}" for fact, _ in readable).most_common()),
        marks=dict(marks),
    )


def _problems(located: Located, facts: Sequence[list[FileFacts]]) -> list[str]:
    problems = []
    if "mask" not in located.files:
        problems.append(f"no folder of masks ({', '.join(ROLES['mask'])})")
    if not located.wanted:
        problems.append("no images")
    if missing := located.missing():
        problems.append(located.words(missing))
    return problems + [fact.error for sample in facts for fact in sample if fact.error]


def _left_out(located: Located) -> list[str]:
    """Name the files that are not images, except for the settings that `predict` writes beside its maps."""
    folders = located.layout.roles.values()
    others = {folder.name: [name for name in other_files(folder) if name != "predict.json"] for folder in folders}
    return [
        f"ignored in {folder}, as their suffixes are not those of images: {listing(names)}"
        for folder, names in others.items()
        if names
    ]


def _mark_warnings(roles: Iterable[RoleReport]) -> list[str]:
    return [
        f"{_WARNINGS[role.role, mark]}: {count} of {role.looked_at}"
        for role in roles
        for mark, count in role.marks.items()
        if (role.role, mark) in _WARNINGS
    ]


def _polarity_warnings(polarity: Polarity | None, near: str) -> list[str]:
    if polarity is None:
        return []
    agree = f"{polarity.agreeing} of {polarity.maps} depth maps"
    if near != "auto" and polarity.sure and near != polarity.near:
        return [f"near is set to {near}, but {agree} look as if it were {polarity.near}"]
    doubtful = doubt(polarity)
    return [doubtful] if doubtful and near == "auto" else []


def _teacher_warnings(teacher_iou: float | None) -> list[str]:
    if teacher_iou is None or teacher_iou >= _LOW_OVERLAP:
        return []
    return [
        f"the teacher's maps have a soft IoU of only {teacher_iou:.2f} with the masks; are they inverted or swapped?"
    ]
