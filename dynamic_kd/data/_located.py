"""Data sets below a folder, and the files in each of their sub-folders, matched or not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynamic_kd._files import listing, plain_name, respelt
from dynamic_kd.data._known_sets import known_name
from dynamic_kd.data._layouts import Layout, find_layouts
from dynamic_kd.data._list_file import read_list
from dynamic_kd.data._pairing import images_by_stem


@dataclass(frozen=True, eq=False)
class Located:
    """A data set's files by role and stem.

    Attributes
    ----------
    layout : Layout
        Its folders, a teacher's included.
    name : str
        Unique over the data sets found together.
    prefix : str
        Start of the names of its samples.
    files : dict
        Role -> stem -> file.
    listed : list of str or None
        The stems that a list file names; None without one.
    """

    layout: Layout
    name: str
    prefix: str
    files: dict[str, dict[str, Path]]
    listed: list[str] | None

    @property
    def wanted(self) -> list[str]:
        """The stems of the samples: those of the list file, or those of all images."""
        return sorted(self.files["image"]) if self.listed is None else self.listed

    def lacking(self, role: str, stems: Iterable[str] | None = None) -> list[str]:
        """Return the stems (by default the samples') that have no file of a role; none if the role has no folder."""
        files = self.files.get(role)
        return [] if files is None else [stem for stem in (stems or self.wanted) if stem not in files]

    def missing(self) -> dict[str, list[str]]:
        """Return the stems that each role lacks, among those listed or else those of any role but the teacher."""
        stems = self.listed
        if stems is None:
            stems = sorted({stem for role, files in self.files.items() if role != "teacher" for stem in files})
        return {role: absent for role in self.files if (absent := self.lacking(role, stems))}

    def words(self, missing: dict[str, list[str]]) -> str:
        """List what each folder lacks."""
        names = {role: self.layout.roles[role].name for role in missing}
        return "; ".join(
            f"{len(absent)} missing in {names[role]}: {listing(absent)}" for role, absent in missing.items()
        )

    def of(self, stem: str) -> dict[str, Path]:
        """Return the files of one sample by role."""
        return {role: files[stem] for role, files in self.files.items() if stem in files}

    @property
    def notes(self) -> list[str]:
        """Remarks on names that differ between the folders."""
        count = respelt(self.of(stem).values() for stem in self.wanted)
        return [f"{count} samples have files whose names differ by Unicode normalisation only"] if count else []

    def without(self, role: str) -> Located:
        """Leave the files of a role out."""
        return replace(self, files={other: files for other, files in self.files.items() if other != role})


def locate(
    root: Path,
    needed: tuple[str, ...],
    ignored: tuple[str, ...] = (),
    list_file: str | Path | None = None,
    teacher: str | Path | None = None,
) -> tuple[list[Located], list[str]]:
    """Find the data sets that have the needed roles and, with a list file, named samples; return notes on others.

    Raises
    ------
    ValueError
        If there is no data set, if folders or the list file are wrong, or if a data set lacks the teacher's maps.
    """
    layouts, notes = _layouts(root, needed)
    indexed = [
        {role: images_by_stem(path) for role, path in layout.roles.items() if role not in ignored} for layout in layouts
    ]
    names = unique_names(root, layouts)
    listed: Sequence[list[str] | None] = [None] * len(layouts)
    if list_file is not None:
        listed = read_list(list_file, root, layouts, names, [files["image"] for files in indexed])
    located = [
        Located(layout, name, f"{name}/" if len(layouts) > 1 else "", files, stems)
        for layout, name, files, stems in zip(layouts, names, indexed, listed, strict=True)
        if stems != []
    ]
    return (located if teacher is None else _taught(root, located, teacher)), notes


def locate_any(
    root: Path, list_file: str | Path | None = None, teacher: str | Path | None = None
) -> tuple[list[Located], list[str]]:
    """Find data sets as `locate` does: those with images and masks or, if there are none, those with images."""
    try:
        return locate(root, ("image", "mask"), (), list_file, teacher)
    except ValueError:
        return locate(root, ("image",), (), list_file, teacher)


def unique_names(root: Path, layouts: list[Layout]) -> list[str]:
    """Return unique names of data sets: their names, with the split or else the path where several share one."""
    names = [plain_name(layout.name) for layout in layouts]
    for finer in (_with_split, lambda layout: layout.folder.relative_to(root).as_posix()):
        counts = Counter(names)
        names = [
            plain_name(finer(each)) if counts[name] > 1 else name for each, name in zip(layouts, names, strict=True)
        ]
    return names


def _with_split(layout: Layout) -> str:
    return f"{layout.name}/{layout.split}" if layout.split else layout.name


def _layouts(root: Path, needed: tuple[str, ...]) -> tuple[list[Layout], list[str]]:
    """Find what has the needed roles. Where only images are needed, a folder of images is a data set."""
    try:
        return find_layouts(root, needed)
    except ValueError:
        if needed != ("image",) or not root.is_dir() or not images_by_stem(root):
            raise
    return [Layout(root, {"image": root}, Path(os.path.abspath(root)).name, None)], []


def _taught(root: Path, located: list[Located], teacher: str | Path) -> list[Located]:
    taught = []
    for each, maps in zip(located, _teacher_folders(root, [each.layout for each in located], teacher), strict=True):
        layout = replace(each.layout, roles=each.layout.roles | {"teacher": maps})
        taught.append(replace(each, layout=layout, files=each.files | {"teacher": images_by_stem(maps, arrays=True)}))
    return taught


def _teacher_folders(root: Path, layouts: list[Layout], teacher: str | Path) -> list[Path]:
    """Return the folder of a teacher's maps for each data set.

    Raises
    ------
    ValueError
        If a data set has none.
    """
    found = [_teacher_folder(root, layout, Path(teacher), alone=len(layouts) == 1) for layout in layouts]
    lacking = [str(layout.folder) for layout, maps in zip(layouts, found, strict=True) if maps is None]
    if lacking:
        raise ValueError(
            f"teacher {teacher}: expected a sub-folder of each data set, or a folder of saliency maps (with a folder "
            f"for each data set if there are several), got none for {', '.join(lacking)}"
        )
    return [maps for maps in found if maps]


def _teacher_folder(root: Path, layout: Layout, teacher: Path, *, alone: bool) -> Path | None:
    if not teacher.is_absolute() and (layout.folder / teacher).is_dir():
        return layout.folder / teacher
    if not teacher.is_dir():
        return None
    below = teacher / layout.folder.relative_to(root)
    if below != teacher and below.is_dir():
        return below
    named = [path for path in sorted(teacher.iterdir()) if path.is_dir() and _is_of(path.name, layout)]
    if len(named) == 1:
        return named[0]
    return teacher if alone else None


def _is_of(name: str, layout: Layout) -> bool:
    known, split = known_name(name)
    return (known or name) == layout.name and split in (None, layout.split)
