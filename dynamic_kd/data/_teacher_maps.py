"""Where a teacher's saliency maps lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynamic_kd.data._known_sets import known_name

if TYPE_CHECKING:
    from dynamic_kd.data._layouts import Layout


def teacher_folders(root: Path, layouts: list[Layout], teacher: str | Path) -> list[Path]:
    """Return the folder of a teacher's maps for each data set.

    Raises
    ------
    ValueError
        If a data set has none.
    """
    found = [_folder(root, layout, Path(teacher), alone=len(layouts) == 1) for layout in layouts]
    lacking = [str(layout.folder) for layout, maps in zip(layouts, found, strict=True) if maps is None]
    if lacking:
        raise ValueError(
            f"teacher {teacher}: expected a sub-folder of each data set, or a folder of saliency maps (one that holds "
            f"a folder for each data set if they are several), got none for {', '.join(lacking)}"
        )
    return [maps for maps in found if maps]


def _folder(root: Path, layout: Layout, teacher: Path, *, alone: bool) -> Path | None:
    if not teacher.is_absolute() and (layout.folder / teacher).is_dir():
        return layout.folder / teacher
    if not teacher.is_dir():
        return None
    below = teacher / layout.folder.relative_to(root)
    if below != teacher and below.is_dir():
        return below
    named = [path for path in sorted(teacher.iterdir()) if path.is_dir() and _same(path.name, layout)]
    if len(named) == 1:
        return named[0]
    return teacher if alone else None


def _same(name: str, layout: Layout) -> bool:
    known, split = known_name(name)
    return (known or name) == layout.name and split in (None, layout.split)
