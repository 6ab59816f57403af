"""What is to be said of one data set, from the facts of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dynamic_kd.data._file_facts import FileFacts
from dynamic_kd.data._known_sets import count_note
from dynamic_kd.data._layouts import ROLES
from dynamic_kd.data._located import Located
from dynamic_kd.data._pairing import listing, other_files
from dynamic_kd.data._polarity import Polarity, doubt, polarity_of_files

_LOW_OVERLAP = 0.2


@dataclass(frozen=True)
class RoleReport:
    """The files of one role in a data set.

    Attributes
    ----------
    role, folder : str
        The role, and the name of the sub-folder that serves it.
    files, looked_at : int
        How many files there are, and how many were decoded.
    stored, sizes, marks : dict
        How many of those are stored in which format, have which size (``"640x480"``, width first), are ``"empty"``,
        ``"full"`` or ``"grey"`` (masks), ``"flat"`` or ``"colour"``, or are ``"resized"`` to their image.
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
    """One data set looked over.

    Attributes
    ----------
    name, folder : str
        Its canonical name, and where it lies.
    split : str or None
        What a folder's name says it is.
    samples, looked_at : int
        How many samples there are, and how many were decoded.
    roles : tuple of RoleReport
        Its images, depth maps, masks and teacher's maps.
    polarity : Polarity or None
        What its depth maps say of near.
    teacher_iou : float or None
        Mean soft intersection over union of the teacher's maps and the masks.
    problems, warnings : tuple of str
        What training would refuse, and what is odd.
    """

    name: str
    folder: str
    split: str | None
    samples: int
    looked_at: int
    roles: tuple[RoleReport, ...]
    polarity: Polarity | None
    teacher_iou: float | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def set_report(located: Located, facts: Sequence[list[FileFacts]], near: str) -> SetReport:
    """Sum up what is known of the files of a data set's samples, one list of facts for each sample looked at."""
    roles = tuple(_role_report(located, role, facts) for role in (*ROLES, "teacher") if role in located.files)
    depths = list(located.files.get("depth", {}).values())
    polarity = polarity_of_files(depths) if depths else None
    overlaps = [fact.soft_iou for sample in facts for fact in sample if fact.soft_iou is not None]
    teacher_iou = float(np.mean(overlaps)) if overlaps else None
    count = count_note(located.layout.name, located.layout.split, len(located.wanted))
    return SetReport(
        name=located.name,
        folder=str(located.layout.folder),
        split=located.layout.split,
        samples=len(located.wanted),
        looked_at=len(facts),
        roles=roles,
        polarity=polarity,
        teacher_iou=teacher_iou,
        problems=tuple(_problems(located, facts)),
        warnings=(
            *([count] if count else []),
            *_left_out(located),
            *_mark_warnings(roles),
            *_polarity_warnings(polarity, near),
            *_teacher_warnings(teacher_iou),
        ),
    )


def _role_report(located: Located, role: str, facts: Sequence[list[FileFacts]]) -> RoleReport:
    by_sample = [{fact.role: fact for fact in sample} for sample in facts]
    seen = [(each[role], each["image"]) for each in by_sample if role in each]
    readable = [(fact, image) for fact, image in seen if not fact.error]
    marks = Counter(mark for fact, _ in readable for mark in fact.marks)
    if resized := sum(fact.size != image.size for fact, image in readable if not image.error):
        marks["resized"] = resized
    return RoleReport(
        role=role,
        folder=located.layout.roles[role].name,
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
    """Name the files that are no images, which nobody reads; what `predict` keeps beside its maps is none of them."""
    folders = located.layout.roles.values()
    others = {folder.name: [name for name in other_files(folder) if name != "predict.json"] for folder in folders}
    return [
        f"left out of {folder}, as their suffixes are none of images: {listing(names)}"
        for folder, names in others.items()
        if names
    ]


def _mark_warnings(roles: Iterable[RoleReport]) -> list[str]:
    said = {
        ("mask", "empty"): "masks without a salient pixel",
        ("mask", "full"): "masks that are salient everywhere",
        ("mask", "resized"): "masks of another size than their image (a size to read them at is needed)",
        ("depth", "flat"): "depth maps that are flat",
        ("depth", "colour"): "depth maps in colour, of which the luma would be taken (store distances as grey)",
        ("depth", "resized"): "depth maps of another size than their image, to which they are resized",
        ("teacher", "flat"): "maps of the teacher that are flat",
        ("teacher", "resized"): "maps of the teacher of another size than their image, to which they are resized",
    }
    return [
        f"{said[role.role, mark]}: {count} of {role.looked_at}"
        for role in roles
        for mark, count in role.marks.items()
        if (role.role, mark) in said
    ]


def _polarity_warnings(polarity: Polarity | None, near: str) -> list[str]:
    if polarity is None:
        return []
    agree = f"{polarity.agreeing} of {polarity.maps} depth maps"
    if near != "auto" and polarity.sure and near != polarity.near:
        return [f"near is said to be {near}, but {agree} look as if it were {polarity.near}"]
    doubtful = doubt(polarity)
    return [doubtful] if doubtful and near == "auto" else []


def _teacher_warnings(teacher_iou: float | None) -> list[str]:
    if teacher_iou is None or teacher_iou >= _LOW_OVERLAP:
        return []
    return [f"the teacher's maps overlap the masks by {teacher_iou:.2f} only: inverted, or of other images?"]
