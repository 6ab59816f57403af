"""What an accumulator keeps of the images it has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._evaluate import summed
from dynamic_kd.metrics._exact_sum import ExactSum
from dynamic_kd.metrics._measures import Plan
from dynamic_kd.metrics._rows import Rows
from dynamic_kd.metrics._statistics import Evaluated, RecordedStatistics
from dynamic_kd.metrics._statistics._interface import THRESHOLDS
from dynamic_kd.metrics._statistics._recorded import KEPT, KEPT_STRICT, SIZE

COUNTS = ("images", "empty_target", "full_target", "constant_prediction", "skipped", "duplicates")
_CHUNK = 256


class Tally:
    """Names and scores of images, and either sums of their curves or, to take images out again, their counts."""

    def __init__(self, plan: Plan, *, keep: bool) -> None:
        self.plan = plan
        self.names: dict[str | int, None] = {}  # in order; of an image without a name, its position in the stream
        self.skipped: set[str] = set()
        self.seen = 0
        self.pixels = 0
        self.backends: set[str] = set()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.scores = Rows(len(plan.numbers), np.float64)
        self.curves = ExactSum(len(plan.curves) * THRESHOLDS)
        self.totals = np.zeros(len(KEPT) - 1 if plan.pools else 0, np.int64)  # all that is kept but CONSTANT
        columns = KEPT_STRICT if plan.cuts_strictly else KEPT
        self.columns: Sequence[int] = columns if keep else ()
        self.kept = Rows(1 + len(self.columns), np.uint32)
        self.host_curves = Rows(len(plan.host_curves) * THRESHOLDS, np.float64)

    def __len__(self) -> int:
        return len(self.names)

    def knows(self, name: str | int) -> bool:
        """Whether an image of this name has been seen."""
        return isinstance(name, str) and (name in self.names or name in self.skipped)

    def shared(self, other: Tally) -> set[str]:
        """Names that both have seen."""
        return {str(name) for name in (*other.names, *other.skipped) if self.knows(name)}

    def add(self, batch: Evaluated, names: Sequence[str | int], pixels: Any, backend: str, *, skip_empty: bool) -> None:
        """Keep the numbers of a batch, whose sums leave empty targets out already if these are skipped.

        ``pixels`` is one number, or one for each image.
        """
        empty = batch.foreground == 0
        full = batch.foreground == pixels
        self.backends.add(backend)
        if skip_empty and empty.any():
            self._skip([name for name, nothing in zip(names, empty, strict=True) if nothing])
            keep = ~empty
            names = [name for name, there in zip(names, keep, strict=True) if there]
            rows = {name: getattr(batch, name) for name in ("numbers", "constant", "kept", "host_curves")}
            kept: dict[str, Any] = {name: None if rows[name] is None else rows[name][keep] for name in rows}
            batch = batch._replace(**kept)
            full, empty, pixels = full[keep], empty[keep], pixels[keep] if np.ndim(pixels) else pixels
        self.names.update(dict.fromkeys(names))
        self.scores.extend(batch.numbers)
        self.pixels += int(np.sum(pixels)) if np.ndim(pixels) else pixels * len(names)
        if batch.kept is None:
            self.curves.words += batch.words
            self.totals += batch.totals
        else:
            self.kept.extend(_with_pixels(pixels, batch.kept))
        if self.columns and batch.host_curves is not None:
            self.host_curves.extend(batch.host_curves)
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
        self.curves.merge(other.curves)
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
            if self.plan.host_curves:
                self.host_curves.extend(other.host_curves.table()[here])

    def state_dict(self) -> dict[str, Any]:
        """Return everything kept."""
        return {
            "names": list(self.names),
            "skipped": sorted(self.skipped),
            "seen": self.seen,
            "pixels": self.pixels,
            "backends": sorted(self.backends),
            "counts": dict(self.counts),
            "scores": self.scores.table(),
            "curves": self.curves.words.copy(),
            "totals": self.totals.copy(),
            "kept": self.kept.table(),
            "host_curves": self.host_curves.table(),
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
        self.seen, self.pixels = int(state["seen"]), int(state["pixels"])
        self.backends, self.counts = set(state["backends"]), {name: int(state["counts"][name]) for name in COUNTS}
        for name, table in {"scores": self.scores, "kept": self.kept, "host_curves": self.host_curves}.items():
            table.extend(np.asarray(state[name]))
        for name, words in {"curves": self.curves.words, "totals": self.totals}.items():
            if np.shape(state[name]) != words.shape:
                raise ValueError(f"{name} of shape {np.shape(state[name])}, not {words.shape}")
            words += np.asarray(state[name])
        for name, length in {"scores": len(self.scores), "kept": len(self.kept) if self.columns else len(self)}.items():
            if length != len(self):
                raise ValueError(f"{len(self)} names, and {length} rows of {name}")

    def sums(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the sums of the curves, shape (C, 256), and of the counts, over all images."""
        curves, totals = self.curves, self.totals
        if self.columns:
            curves, totals = ExactSum(len(self.plan.curves) * THRESHOLDS), np.zeros_like(self.totals)
            for statistics, own in self.own_curves():
                curves.add(own.reshape(len(own), -1))
                totals += summed(self.plan.totals(statistics))
        return curves.total().reshape(len(self.plan.curves), THRESHOLDS), totals

    def own_curves(self) -> Iterator[tuple[RecordedStatistics, npt.NDArray[np.float64]]]:
        """Yield a few images at a time: what is kept, as statistics, and their own curves, shape (B, C, 256)."""
        width = len(self.plan.host_curves)
        of_host = iter(self.host_curves) if width else (np.zeros((len(block), 0)) for block in self.kept)
        for kept, host in zip(self.kept, of_host, strict=True):
            for start in range(0, len(kept), _CHUNK):
                rows = kept[start : start + _CHUNK]
                records = np.full((len(rows), SIZE), np.nan)
                records[:, list(self.columns)] = rows[:, 1:]
                statistics = RecordedStatistics(np, records, pixels=rows[:, 0].astype(np.int64), backend="")
                parts = [each[:, None] for each in self.plan.curve_values(statistics)]
                parts.append(host[start : start + _CHUNK].reshape(len(rows), width, THRESHOLDS))
                yield statistics, np.concatenate(parts, axis=1)


def _with_pixels(pixels: Any, kept: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Put the pixels of each image before its counts."""
    column = np.broadcast_to(np.asarray(pixels, np.uint32), len(kept))[:, None]
    return np.concatenate([column, kept], axis=1)
