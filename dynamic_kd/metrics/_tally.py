"""What an accumulator keeps of the images it has seen, and the report that follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._mask import Levels, LevelsSeen
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._selection import Selection
from dynamic_kd.metrics._statistics import Contribution, Floats, RecordedStatistics, exact_total, exact_words, summed
from dynamic_kd.metrics._statistics._interface import THRESHOLDS
from dynamic_kd.metrics._statistics._recorded import KEPT, KEPT_STRICT, SIZE

COUNTS = ("images", "empty_target", "full_target", "constant_prediction", "skipped", "duplicates")
_CHUNK = 256


class Rows:
    """Rows of one width and dtype, appended at the end."""

    def __init__(self, width: int, dtype: npt.DTypeLike) -> None:
        self._parts = [np.empty((0, width), dtype)]

    def extend(self, rows: npt.NDArray[Any]) -> None:
        """Append a copy of rows, which may be a view of a whole batch."""
        self._parts.append(np.array(rows, self._parts[0].dtype))

    def table(self) -> npt.NDArray[Any]:
        """Return all rows as one array."""
        return np.concatenate(self._parts)


class Tally:
    """Names and scores of images, and either sums of their curves or, to take images out again, their counts."""

    def __init__(self, selection: Selection, *, keep: bool) -> None:
        self.selection = selection
        self.names: dict[str | int, None] = {}  # in order; of an image without a name, its position in the stream
        self.skipped: set[str] = set()
        self.seen = 0
        self.pixels = 0
        self.backends: set[str] = set()
        self.levels = LevelsSeen()  # of integer targets
        self.counts = dict.fromkeys(COUNTS, 0)
        self.scores = Rows(len(selection.numbers), np.float64)
        self.curves = np.zeros((2, len(selection.curves) * THRESHOLDS), np.int64)  # see `exact_words`
        self.totals = np.zeros(len(KEPT) - 1 if selection.pools else 0, np.int64)  # all that is kept but CONSTANT
        columns = KEPT_STRICT if selection.cuts_strictly else KEPT
        self.columns: Sequence[int] = columns if keep else ()
        self.kept = Rows(1 + len(self.columns), np.uint32)
        self.pixel_curves = Rows(len(selection.pixel_curves) * THRESHOLDS, np.float64)

    def __len__(self) -> int:
        return len(self.names)

    def knows(self, name: str | int) -> bool:
        """Whether an image of this name has been seen."""
        return isinstance(name, str) and (name in self.names or name in self.skipped)

    def shared(self, other: Tally) -> set[str]:
        """Names that both have seen."""
        return {str(name) for name in (*other.names, *other.skipped) if self.knows(name)}

    def add(
        self, batch: Contribution, names: Sequence[str | int], pixels: Any, backend: str, *, skip_empty: bool
    ) -> None:
        """Keep what a batch contributes; if empty targets are skipped, its sums leave them out already.

        ``pixels`` is one number, or one for each image.
        """
        empty = batch.foreground == 0
        full = batch.foreground == pixels
        self.backends.add(backend)
        if skip_empty and empty.any():
            self._skip([name for name, skipped in zip(names, empty, strict=True) if skipped])
            there = ~empty
            names = [name for name, kept in zip(names, there, strict=True) if kept]
            batch, pixels = batch.rows(there), pixels[there] if np.ndim(pixels) else pixels
            full, empty = full[there], empty[there]
        self.names.update(dict.fromkeys(names))
        self.scores.extend(batch.numbers)
        self.pixels += int(np.sum(pixels)) if np.ndim(pixels) else pixels * len(names)
        if batch.kept is None:
            self.curves += batch.words
            self.totals += batch.totals
        else:
            self.kept.extend(_with_pixels(pixels, batch.kept))
        if self.columns and batch.pixel_curves is not None:
            self.pixel_curves.extend(batch.pixel_curves)
        self._count(len(names), empty, full, batch.constant)

    def _skip(self, names: Sequence[str | int]) -> None:
        """Remember images with an empty target that are left out."""
        self.skipped.update(name for name in names if isinstance(name, str))
        self.counts["skipped"] += len(names)
        self.counts["empty_target"] += len(names)

    def _count(self, images: int, empty: Any, full: Any, constant: Any, *, sign: int = 1) -> None:
        for name, flags in {"empty_target": empty, "full_target": full, "constant_prediction": constant}.items():
            self.counts[name] += sign * int(np.count_nonzero(flags))
        self.counts["images"] += sign * images

    def merge(self, other: Tally, *, without: set[str]) -> None:
        """Add another tally, without its images of some names; these can be left out only if counts are kept."""
        here = np.array([name not in without for name in other.names], bool)
        for name, new in zip(other.names, here, strict=True):
            if new:
                self.names[name if isinstance(name, str) else name + self.seen] = None
        self.skipped |= other.skipped
        self.seen += other.seen
        self.pixels += other.pixels
        self.backends |= other.backends
        self.scores.extend(other.scores.table()[here])
        self.curves += other.curves
        self.totals += other.totals
        for name, count in other.counts.items():
            self.counts[name] += count
        both = len(without & other.skipped)
        for name, change in {"skipped": -both, "empty_target": -both, "duplicates": both}.items():
            self.counts[name] += change
        if self.columns:
            kept = other.kept.table()
            left_out = kept[~here]
            self.pixels -= int(left_out[:, 0].sum(dtype=np.int64))
            self.counts["duplicates"] += len(left_out)
            pixels, foreground, constant = left_out[:, 0], left_out[:, 1], left_out[:, 2]
            self._count(len(left_out), foreground == 0, foreground == pixels, constant > 0, sign=-1)
            self.kept.extend(kept[here])
            if self.selection.pixel_curves:
                self.pixel_curves.extend(other.pixel_curves.table()[here])

    def state_dict(self) -> dict[str, Any]:
        """Return everything kept."""
        return {
            "names": list(self.names),
            "skipped": sorted(self.skipped),
            "seen": self.seen,
            "pixels": self.pixels,
            "backends": sorted(self.backends),
            "levels": [[*found, *seen] for found, seen in self.levels.kinds.items()],
            "counts": dict(self.counts),
            "scores": self.scores.table(),
            "curves": self.curves.copy(),
            "totals": self.totals.copy(),
            "kept": self.kept.table(),
            "pixel_curves": self.pixel_curves.table(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, into an empty tally.

        Raises
        ------
        ValueError, TypeError
            Its parts do not fit together.
        """
        self.names = dict.fromkeys(state["names"])
        self.skipped = set(state["skipped"])
        for levels, edges, count, first in state["levels"]:
            self.levels.kinds[Levels(tuple(levels), edges)] = int(count), first
        self.seen, self.pixels = int(state["seen"]), int(state["pixels"])
        self.backends, self.counts = set(state["backends"]), {name: int(state["counts"][name]) for name in COUNTS}
        for name, table in {"scores": self.scores, "kept": self.kept, "pixel_curves": self.pixel_curves}.items():
            table.extend(np.asarray(state[name]))
        for name, words in {"curves": self.curves, "totals": self.totals}.items():
            if np.shape(state[name]) != words.shape:
                raise ValueError(f"{name} of shape {np.shape(state[name])}, not {words.shape}")
            words += np.asarray(state[name])
        for name in ("scores", *(["kept"] if self.columns else [])):
            if len(state[name]) != len(self):
                raise ValueError(f"{len(self)} names, and {len(state[name])} rows of {name}")

    def report(self, settings: dict[str, object], *, per_image_curves: bool) -> MetricReport:
        """Return the report of at least one image."""
        selection, images = self.selection, len(self)
        rows = self.scores.table()
        sums, totals = self._sums()
        curves = dict(zip(selection.curves, sums / images, strict=True))
        means = {name: math.fsum(column) / images for name, column in zip(selection.numbers, rows.T, strict=True)}
        scores, own_maxima = dict(means), {}
        for measure in selection.every:
            if measure.summarized:
                # What papers print: the maximum of the data set's mean curve.
                curve, (largest, average) = curves[measure.summarized], measure.numbers[:2]
                scores |= {largest: float(curve.max()), average: float(curve.mean())}
                own_maxima[f"{largest}_per_image"] = means[largest]
        return MetricReport(
            scores=scores | own_maxima,
            counts=dict(self.counts),
            settings=settings,
            curves={"threshold": np.arange(THRESHOLDS) / (THRESHOLDS - 1), **curves},
            names=tuple(map(str, self.names)),
            rows=rows,
            columns=selection.numbers,
            pooled=selection.pooled(totals, self.pixels),
            per_image_curves=self._per_image_curves() if per_image_curves else {},
        )

    def _sums(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Sums of the curves, shape (C, 256), and of the counts, over all images."""
        words, totals = self.curves, self.totals
        if self.columns:
            words, totals = np.zeros_like(words), np.zeros_like(totals)
            for statistics, curves in self._each_image():
                words += exact_words(curves.reshape(len(curves), -1))
                totals += summed(self.selection.totals(statistics))
        return exact_total(words).reshape(len(self.selection.curves), THRESHOLDS), totals

    def _per_image_curves(self) -> dict[str, Floats]:
        """Each image's own curves, in the order of the names."""
        curves = np.concatenate([part for _, part in self._each_image()])
        return {name: curves[:, index] for index, name in enumerate(self.selection.curves)}

    def _each_image(self) -> Iterator[tuple[RecordedStatistics, Floats]]:
        """Yield up to 256 images at a time: what is kept, as statistics, and their curves, shape (B, C, 256)."""
        width = len(self.selection.pixel_curves)
        kept, pixel_curves = self.kept.table(), self.pixel_curves.table()
        for start in range(0, len(kept), _CHUNK):
            rows = kept[start : start + _CHUNK]
            records = np.full((len(rows), SIZE), np.nan)
            records[:, list(self.columns)] = rows[:, 1:]
            statistics = RecordedStatistics(np, records, pixels=rows[:, 0].astype(np.int64), backend="")
            parts = [curve[:, None] for curve in self.selection.curve_values(statistics)]
            parts.append(pixel_curves[start : start + _CHUNK].reshape(len(rows), width, THRESHOLDS))
            yield statistics, np.concatenate(parts, axis=1)


def _with_pixels(pixels: Any, kept: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Put the pixels of each image before its counts."""
    column = np.broadcast_to(np.asarray(pixels, np.uint32), len(kept))[:, None]
    return np.concatenate([column, kept], axis=1)
