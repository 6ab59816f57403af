"""All scores of a data set, one batch at a time."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dynamic_kd._array import Array, to_host
from dynamic_kd._checks import check_choice, check_flag
from dynamic_kd._version import __version__
from dynamic_kd.metrics._exact_sum import ExactSum, exact_words
from dynamic_kd.metrics._f_measure import BETA_SQUARED
from dynamic_kd.metrics._inputs import CHECKS, as_pairs
from dynamic_kd.metrics._measure import Scores, measure, measure_strictly
from dynamic_kd.metrics._report import CURVES, PER_IMAGE, MetricReport
from dynamic_kd.metrics._statistics import DeferredStatistics, Evaluated, Statistics, refuse_faults, statistics
from dynamic_kd.metrics._statistics._interface import THRESHOLDS

EMPTY_TARGET = ("count", "skip", "refuse")
# Batches on the GPU that may be on their way before `update` waits for the oldest.
BACKLOG = 8
COUNTS = ("images", "empty_target", "full_target", "constant_prediction", "skipped")


class SODMetrics:
    """Streaming salient-object-detection scores: MAE, F, weighted F, S and E of any number of images.

    Batches may differ in size and come from any array library. What is kept of an image is its name and nine
    numbers; the curves are summed exactly, so that the order of the images, and how they were shared out before
    `merge`, do not change a bit of the result.

    Parameters
    ----------
    normalize
        Stretch each prediction to [0, 1] first, as the original code does.
    quantize
        Round floating predictions to 8 bits first, so that scores in training equal those of the saved maps.
    strict
        Cut maps with ``>`` in the E-measure, as the original code does, instead of ``>=`` as PySODMetrics does.
    empty_target
        Images without a salient pixel are scored like the others (``"count"``), left out and counted as skipped
        (``"skip"``), or an error (``"refuse"``).
    check
        ``"auto"`` refuses bad values, ``"off"`` trusts them.

    Raises
    ------
    ValueError, TypeError
        Settings out of range.

    Examples
    --------
    >>> import numpy as np
    >>> metrics = SODMetrics()
    >>> target = np.zeros((2, 16, 16), bool)
    >>> target[:, 4:12, 4:12] = True
    >>> metrics.update(np.where(target, 200, 40).astype(np.uint8), target, names=["a", "b"])
    >>> report = metrics.compute()
    >>> round(report["maxF"], 3), round(report["MAE"], 3), report.counts["images"]
    (1.0, 0.0, 2)
    """

    def __init__(
        self,
        *,
        normalize: bool = True,
        quantize: bool = False,
        strict: bool = False,
        empty_target: str = "count",
        check: str = "auto",
    ) -> None:
        for name, value in (("normalize", normalize), ("quantize", quantize), ("strict", strict)):
            check_flag(name, value)
        check_choice("empty_target", empty_target, EMPTY_TARGET)
        check_choice("check", check, CHECKS)
        self._inputs = {"normalize": normalize, "quantize": quantize, "check": check}
        self._strict = strict
        self._empty_target = empty_target
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        self._names: list[str] = []
        self._scores = array("d")
        self._curves = ExactSum(len(CURVES) * THRESHOLDS)
        self._counts = dict.fromkeys(COUNTS, 0)
        self._backends: set[str] = set()
        self._seen = 0
        self._pending: deque[tuple[Callable[[], Evaluated], list[str], int, str]] = deque()

    def __repr__(self) -> str:
        return f"SODMetrics({len(self)} images, strict={self._strict}, empty_target={self._empty_target!r})"

    def __len__(self) -> int:
        """Images scored so far."""
        self._settle()
        return len(self._names)

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        return self.__dict__.copy()

    def update(self, pred: Array, target: Array, names: Iterable[str] | None = None) -> None:
        """Score a batch and keep its numbers.

        Parameters
        ----------
        pred
            Saliency maps, shape (H, W), (B, H, W) or (B, 1, H, W); uint8, or floating values in [0, 1].
        target
            Masks of the same shape: bool, integers 0 to 255 (more than 128 is salient) or floats (more than 0.5 is).
        names
            One name for each image, for the per-image rows; by default their positions in the stream.

        Raises
        ------
        ValueError, TypeError
            As for `mean_absolute_error`; a wrong number of names; an empty target under ``empty_target="refuse"``.
            Nothing of the batch is kept then.

        Notes
        -----
        On an NVIDIA GPU nobody waits for the device: bad values and refused targets, with the names of their images,
        raise from a later call, `compute` at the latest, and nothing of their batch is kept.
        """
        pairs = as_pairs(pred, target, **self._inputs)  # type: ignore[arg-type]
        listed = self._checked_names(names, pairs.pred.shape[0])
        measured = statistics(pairs)
        formula = measure_strictly if self._strict else measure
        skip_empty = self._empty_target == "skip"
        if isinstance(measured, DeferredStatistics):
            wait = measured.evaluate(formula, skip_empty=skip_empty)
            self._pending.append((wait, listed, measured.pixels, measured.backend))
        else:
            self._keep(_evaluate(measured, formula, skip_empty=skip_empty), listed, measured.pixels, measured.backend)
        self._seen += len(listed)
        self._settle(backlog=BACKLOG)

    def _settle(self, *, backlog: int = 0) -> None:
        """Keep the numbers of all batches on their way but the newest ``backlog``."""
        while len(self._pending) > backlog:
            wait, names, pixels, backend = self._pending.popleft()
            batch = wait()
            if self._inputs["check"] == "auto":
                refuse_faults(batch.flags, names)
            self._keep(batch, names, pixels, backend)

    def _keep(self, batch: Evaluated, names: list[str], pixels: int, backend: str) -> None:
        """Keep the numbers of a batch."""
        empty = batch.foreground == 0
        if self._empty_target == "refuse" and empty.any():
            listed = ", ".join(names[image] for image in np.flatnonzero(empty))
            raise ValueError(
                f"target: expected salient pixels in every mask, got none in {listed}; "
                f"fix the masks, or choose empty_target='count' or 'skip'"
            )
        keep = ~empty if self._empty_target == "skip" else np.ones_like(empty)
        self._curves.words += batch.words
        self._scores.extend(batch.numbers[keep].ravel())
        self._names += [name for name, kept in zip(names, keep, strict=True) if kept]
        self._backends.add(backend)
        found = {
            "images": keep,
            "empty_target": empty,
            "full_target": batch.foreground == pixels,
            "constant_prediction": batch.constant & keep,
            "skipped": ~keep,
        }
        for name, flags in found.items():
            self._counts[name] += int(np.count_nonzero(flags))

    def _checked_names(self, names: Iterable[str] | None, size: int) -> list[str]:
        if names is None:
            return [str(self._seen + image) for image in range(size)]
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, Iterable):
            raise TypeError(f"names: expected one string for each image, got {names!r} ({type(names).__name__})")
        names = list(names)
        if len(names) != size:
            raise ValueError(f"names: expected one for each of {size} images, got {len(names)}")
        return [str(name) for name in names]

    def merge(self, other: SODMetrics) -> None:
        """Add what another accumulator, with the same settings, has seen.

        Parameters
        ----------
        other
            An accumulator of another part of the data set; it is left as it is.

        Raises
        ------
        TypeError
            ``other`` is not a `SODMetrics`.
        ValueError
            Its settings differ, or it is this very object.
        """
        if not isinstance(other, SODMetrics):
            raise TypeError(f"other: expected SODMetrics, got {type(other).__qualname__}")
        if other is self:
            raise ValueError("other: expected another accumulator, got this one, whose images would count twice")
        mine, theirs = self._settings(), other._settings()
        differing = [name for name in mine if name != "backend" and mine[name] != theirs[name]]
        if differing:
            listed = ", ".join(f"{name}={mine[name]!r} and {theirs[name]!r}" for name in differing)
            raise ValueError(f"other: expected the same settings, got {listed}; their scores do not mix")
        self._settle()
        other._settle()
        self._seen += other._seen
        self._names += other._names
        self._scores.extend(other._scores)
        self._curves.merge(other._curves)
        self._backends |= other._backends
        for name, count in other._counts.items():
            self._counts[name] += count

    def compute(self) -> MetricReport:
        """Scores of all images so far.

        Returns
        -------
        MetricReport
            Scores, curves, per-image rows, counts and settings.

        Raises
        ------
        ValueError
            No image has been scored.
        """
        images = len(self)
        if images == 0 and self._counts["skipped"]:
            raise ValueError(
                f"compute: expected at least one scored image, got {self._counts['skipped']} skipped for their empty "
                f"targets; check the masks, or choose empty_target='count'"
            )
        if images == 0:
            raise ValueError("compute: expected at least one scored image, got none; call update first")
        rows = np.frombuffer(self._scores, np.float64).reshape(images, -1).copy()
        sums = self._curves.total().reshape(len(CURVES), THRESHOLDS)
        curves = dict(zip(CURVES, sums / images, strict=True))
        means = {name: math.fsum(column) / images for name, column in zip(PER_IMAGE, rows.T, strict=True)}
        scores = {
            **means,
            # What papers print: the maximum of the data set's mean curve.
            "maxF": float(curves["f_measure"].max()),
            "meanF": float(curves["f_measure"].mean()),
            "maxE": float(curves["e_measure"].max()),
            "meanE": float(curves["e_measure"].mean()),
            "maxF_per_image": means["maxF"],
            "maxE_per_image": means["maxE"],
        }
        return MetricReport(
            scores=scores,
            counts=dict(self._counts),
            settings=self._settings(),
            curves={"threshold": np.arange(THRESHOLDS) / (THRESHOLDS - 1), **curves},
            names=tuple(self._names),
            rows=rows,
        )

    def _settings(self) -> dict[str, object]:
        return {
            "version": __version__,
            "backend": " + ".join(sorted(self._backends)),
            **self._inputs,
            "strict": self._strict,
            "empty_target": self._empty_target,
            "f_beta_squared": BETA_SQUARED,
            "wf_beta_squared": 1.0,
            "s_alpha": 0.5,
        }


def _evaluate(measured: Statistics, formula: Callable[[Statistics], Scores], *, skip_empty: bool) -> Evaluated:
    """Curves and scores of a batch, on the host, at once."""
    foreground = to_host(measured.foreground)
    curves, scores = ([to_host(value) for value in values] for values in formula(measured))
    kept = foreground > 0 if skip_empty else slice(None)
    return Evaluated(
        words=exact_words(np.concatenate(curves, axis=1)[kept]),
        numbers=np.stack(scores, axis=1).astype(np.float64),
        foreground=foreground,
        flags=np.zeros(len(foreground)),
        constant=to_host(measured.constant),
    )
