"""What the masks of a data set hold, collected while its images are measured, and whether it has one meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dynamic_kd._mask import LevelsSeen, Meaning, level_notes, written
from dynamic_kd.data import read_mask
from dynamic_kd.evaluation._matching import DataSetFiles
from dynamic_kd.evaluation._measure import MeasuredImage


class MasksSeen:
    """What the masks of a data set hold.

    Parameters
    ----------
    files
        The data set.
    wanted
        What the user says of its masks.
    """

    def __init__(self, files: DataSetFiles, wanted: Meaning) -> None:
        self._files, self._levels = files, LevelsSeen(wanted)
        self._stored: Counter[str] = Counter()
        self._pixels = self._void = 0

    def watched(self, images: Iterator[MeasuredImage]) -> Iterator[MeasuredImage]:
        """Yield the images; raise as soon as it is certain that their masks have several meanings."""
        names = {image.stem: image.target.name for image in self._files.images}
        for image in images:
            facts, kinds = image.mask, len(self._levels.kinds)
            self._levels.add(names[image.stem], facts.found)
            self._stored[facts.stored] += 1
            self._pixels += facts.pixels
            self._void += facts.void
            if len(self._levels.kinds) > kinds:
                self._refuse_early()
            yield image
        self._levels.decide(str(self._files.target))

    def _refuse_early(self) -> None:
        """Look at all masks if those so far are unclear: the error lists them before all maps are measured."""
        try:
            self._levels.decide(str(self._files.target), complete=False)
        except ValueError:
            every = LevelsSeen(self._levels.wanted)
            for image in self._files.images:
                every.add(image.target.name, read_mask(image.target, **every.wanted._asdict()).found)
            every.decide(str(self._files.target))

    def settings(self) -> dict[str, Any]:
        """Return what a report says of the masks."""
        return {
            "stored": dict(self._stored.most_common()),
            "levels": written(self._levels.levels()),
            "salient": written(self._levels.decide(str(self._files.target))),
            "void": written(self._levels.wanted.void),
            "void_share": self._void / self._pixels,
            "grey_edges": self._levels.soft,
            "notes": level_notes(self._levels),
        }
