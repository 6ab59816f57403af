"""All scores of a data set, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice, check_flag
from dynamic_kd._mask import meaning
from dynamic_kd._version import __version__
from dynamic_kd.metrics._f_measure import BETA_SQUARED
from dynamic_kd.metrics._inputs import CHECKS, InputSettings, batch_parts
from dynamic_kd.metrics._measured import Measured
from dynamic_kd.metrics._pixels import pixel_values
from dynamic_kd.metrics._records import Records, check_records, measure_records
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._selection import DEFAULT, MEASURES, select
from dynamic_kd.metrics._statistics import Contribution, RecordedStatistics
from dynamic_kd.metrics._stream import Started, Stream
from dynamic_kd.metrics._tally import Tally

EMPTY_TARGET = ("count", "skip", "refuse")
DUPLICATES = ("refuse", "once")


class SODMetrics:
    """Streaming scores of salient object detection, such as MAE, F, weighted F, S and E, of any number of images.

    Batches may differ in size and come from any array library. Only the name and the numbers of an image are kept.
    Curves are summed exactly: results are bit-identical for any order of the images, and for any way to share them out
    before `merge`.

    Parameters
    ----------
    metrics
        Any of ``"MAE"``, ``"F"``, ``"wF"``, ``"S"``, ``"E"`` (the default is these five), ``"precision"``,
        ``"recall"``, ``"specificity"``, ``"FPR"``, ``"IoU"``, ``"Dice"``, ``"BER"``, ``"OA"``, ``"kappa"``, ``"AUC"``.
        Computed from pixels in the CPU's memory: ``"MSIoU"`` (multi-scale IoU), ``"HCE"`` (human correction effort),
        ``"SI-F"`` and ``"SI-MAE"`` (size-invariant), ``"CM"`` (context measure). `SCORES` lists the scores of each.
    normalize
        Stretch each prediction to [0, 1] first, as the original code does.
    quantize
        Round floating predictions to 8 bits first. Scores in training then equal those of the saved maps.
    strict
        Cut maps with ``>`` in the E-measure, as the original code does, instead of ``>=``, as PySODMetrics does.
    empty_target
        Images without a salient pixel are scored like the others (``"count"``), left out and counted as skipped
        (``"skip"``), or an error (``"refuse"``).
    duplicates
        A repeated name is an error (``"refuse"``), or its image is left out and counted (``"once"``), for example when
        a distributed sampler repeats images. Images without a name are never duplicates.
    per_image_curves
        Keep each image's curves for the report: 2.3 KB an image, 4.3 KB with ``strict``. ``duplicates="once"`` keeps as
        much.
    check
        ``"auto"`` raises for bad values, ``"off"`` skips the check.
    salient, void
        As for `mean_absolute_error`. With ``void``, the default metrics are those that can leave pixels out: not
        ``"wF"`` and ``"S"``.

    Raises
    ------
    ValueError, TypeError
        For settings out of range.

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
        metrics: Sequence[str] | None = None,
        *,
        normalize: bool = True,
        quantize: bool = False,
        strict: bool = False,
        empty_target: str = "count",
        duplicates: str = "refuse",
        per_image_curves: bool = False,
        check: str = "auto",
        salient: Any = None,
        void: Any = None,
    ) -> None:
        flags = {
            "normalize": normalize,
            "quantize": quantize,
            "strict": strict,
            "per_image_curves": per_image_curves,
        }
        for name, value in flags.items():
            check_flag(name, value)
        check_choice("empty_target", empty_target, EMPTY_TARGET)
        check_choice("duplicates", duplicates, DUPLICATES)
        check_choice("check", check, CHECKS)
        wanted = meaning(salient, void)
        self._inputs: InputSettings = {
            "normalize": normalize,
            "quantize": quantize,
            "check": check,
            "salient": wanted.salient,
            "void": wanted.void or None,
        }
        self._selection = select(metrics, strict=strict, void=bool(wanted.void))
        self._empty_target = empty_target
        self._duplicates = duplicates
        self._per_image_curves = per_image_curves
        self.reset()

    def reset(self) -> None:
        """Forget every image."""
        self._stream = self._empty_stream()

    def _empty_stream(self) -> Stream:
        tally = Tally(self._selection, keep=self._per_image_curves or self._duplicates == "once")
        check = self._inputs["check"] == "auto"
        return Stream(tally, empty_target=self._empty_target, duplicates=self._duplicates, check=check)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the scores of each image, in the order of a report's rows."""
        return self._selection.numbers

    @property
    def measured(self) -> dict[str, Any]:
        """What records from `measure` contain: records of accumulators that agree on it can be exchanged."""
        return {
            "normalize": self._inputs["normalize"],
            "quantize": self._inputs["quantize"],
            "strict": self._selection.cuts_strictly,
            "from_pixels": self._selection.from_pixels,
        }

    @property
    def _tally(self) -> Tally:
        """What is kept so far."""
        return self._stream.tally

    def __repr__(self) -> str:
        pending = self._stream.pending
        images = f"{len(self._tally)} images" + (f" and {pending} on their way" if pending else "")
        return f"SODMetrics({images}, strict={self._selection.strict}, empty_target={self._empty_target!r})"

    def __len__(self) -> int:
        """Images scored so far."""
        self._stream.settle()
        return len(self._tally)

    def update(
        self, pred: Array, target: Array, names: Iterable[str] | None = None, *, valid: Array | None = None
    ) -> None:
        """Score a batch and keep its numbers.

        Parameters
        ----------
        pred
            Saliency maps, shape (H, W), (B, H, W) or (B, 1, H, W); uint8, or floating values in [0, 1]. Images that
            differ in size can be given as a list of such arrays.
        target
            Masks of the same shape, in a list for a list of maps, as for `mean_absolute_error`. Integers must have one
            salient level in all batches.
        names
            One name for each image, for the per-image rows; by default the position in the stream.
        valid
            Of the same shape, bool or 0 and 1: which pixels are scored. They must fill a rectangle, which is scored
            like an image of that size, unless all metrics can leave pixels out (not wF, S and those from pixels).

        Raises
        ------
        ValueError, TypeError
            As for `mean_absolute_error`, and for a wrong number of names, a repeated name with
            ``duplicates="refuse"``, an empty target with ``empty_target="refuse"``, valid pixels that do not fill a
            rectangle, and another salient level than before. Nothing of the batch is kept then.

        Notes
        -----
        On an NVIDIA GPU the call does not synchronize with the device, unless ``valid`` is given. Bad values and
        refused targets raise from a later call, `compute` at the latest, with the names of their images. Nothing of
        their batch is kept then.
        """
        # Checked and brought to one form; nothing is kept if anything is wrong.
        parts = batch_parts(pred, target, valid, structural=self._selection.structural, **self._inputs)
        size = sum(len(pairs) for pairs, _ in parts)
        listed = self._stream.named(names, size)
        fresh = self._stream.fresh(listed)
        # Started: a GPU's kernels are queued; on a CPU the statistics are computed as the formulas read them.
        started = []
        for pairs, images in parts:
            new = [place for place, image in enumerate(images) if fresh[image]]
            if new:
                measured = Measured(pairs.select(new))
                from_pixels = self._selection.from_pixels
                pixels = pixel_values(from_pixels, measured.images) if from_pixels else None
                new_names = [listed[images[place]] for place in new]
                flags = measured.pairs.level_flags()
                started.append(self._stream.start(measured.statistics, new_names, flags, pixels))
        # Kept: each image's numbers and the exact sums of curves and counts; a GPU's when they arrive.
        self._stream.keep(started, size)

    def measure(self, pred: Array, target: Array, *, valid: Array | None = None) -> Records:
        """Return what the scores of images are computed from, without keeping it; safe in threads and processes.

        Parameters
        ----------
        pred, target, valid
            As for `update`; all images must have the same rectangle of valid pixels, if these fill rectangles.

        Returns
        -------
        Records
            A few kilobytes for each image, for `update_records` of this accumulator or one with the same settings.

        Raises
        ------
        ValueError, TypeError
            As for `mean_absolute_error`.
        """
        parts = batch_parts(pred, target, valid, structural=self._selection.structural, **self._inputs)
        if len(parts) > 1:
            raise ValueError("valid: expected the same rectangle in each image, got others; measure images one by one")
        measured = Measured(parts[0].pairs)
        selection, quantize = self._selection, self._inputs["quantize"]
        return measure_records(
            measured, quantize=quantize, strict=selection.cuts_strictly, from_pixels=selection.from_pixels
        )

    def update_records(self, records: Records, names: Iterable[str] | None = None) -> None:
        """Score images from the records that `measure` returned, here or in an accumulator of the same settings.

        Parameters
        ----------
        records
            From `measure`; `Records.join` makes one of many, and ``to_bytes`` and ``from_bytes`` keep them.
        names
            As for `update`.

        Raises
        ------
        ValueError, TypeError
            As for `update`, and for records without the strict counts or the metrics from pixels that this accumulator
            needs.
        """
        check_records(records, self.measured, whole=bool(self._selection.structural))
        listed = self._stream.named(names, len(records))
        fresh = np.array(self._stream.fresh(listed), bool)
        new = records.select(fresh)
        started = []
        if len(new):
            measured = RecordedStatistics(np, new.values, pixels=new.pixels, backend=new.backend)
            new_names = [name for name, first in zip(listed, fresh, strict=True) if first]
            pixels = new.pixel_curves, new.pixel_numbers
            started.append(self._stream.start(measured, new_names, new.levels, pixels))
        self._stream.keep(started, len(listed))

    def _absorb(self, numbers: Contribution, names: Sequence[str | int], pixels: Any, backend: str) -> None:
        """Keep images that were scored elsewhere, each of its own size; the sums are theirs if no name repeats."""
        fresh = np.array(self._stream.fresh(names), bool)
        new_names = [name for name, first in zip(names, fresh, strict=True) if first]
        self._stream.keep([Started(numbers.rows(fresh), new_names, pixels[fresh], backend)], len(names))

    def merge(self, other: SODMetrics) -> None:
        """Add the images of another accumulator with the same settings.

        Parameters
        ----------
        other
            An accumulator of another part of the data set. It does not change.

        Raises
        ------
        TypeError
            ``other`` is not a `SODMetrics`.
        ValueError
            The settings differ, ``other`` is this accumulator itself, or names repeat with ``duplicates="refuse"``.
        """
        if not isinstance(other, SODMetrics):
            raise TypeError(f"other: expected SODMetrics, got {type(other).__qualname__}")
        if other is self:
            raise ValueError("other: expected another accumulator, got this one, whose images would count twice")
        self._refuse_other_settings("other", other._settings())
        self._stream.merge(other._stream)

    def _refuse_other_settings(self, source: str, theirs: Mapping[str, object]) -> None:
        mine = self._settings()
        differing = [name for name in mine if name != "backend" and mine[name] != theirs.get(name)]
        if differing:
            listed = ", ".join(f"{name}={mine[name]!r} and {theirs.get(name)!r}" for name in differing)
            raise ValueError(f"{source}: expected the same settings, got {listed}; their scores do not mix")

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is kept, as a dictionary of NumPy arrays, lists and settings that can be saved."""
        self._stream.settle()
        return {"settings": self._settings(), **self._tally.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the images seen so far are dropped.

        Raises
        ------
        ValueError, TypeError
            The settings differ (the package's version is one of them), or parts are missing or do not fit. The
            accumulator does not change then.
        """
        if not isinstance(state, Mapping) or not isinstance(state.get("settings"), Mapping):
            raise TypeError(f"state: expected what state_dict() returned, got {type(state).__name__} without settings")
        missing = [name for name in self._tally.state_dict() if name not in state]
        if missing:
            raise ValueError(f"state: expected what state_dict() returned, got nothing for {', '.join(missing)}")
        self._refuse_other_settings("state", state["settings"])
        stream = self._empty_stream()
        try:
            stream.tally.load_state_dict(state)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"state: expected what state_dict() returned, got what does not fit: {error}") from None
        self._stream = stream

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
        images, skipped = len(self), self._tally.counts["skipped"]
        if images == 0 and skipped:
            raise ValueError(
                f"compute: expected at least one scored image, got {skipped} skipped for their empty "
                f"targets; check the masks, or choose empty_target='count'"
            )
        if images == 0:
            raise ValueError("compute: expected at least one scored image, got none; call update first")
        return self._tally.report(self._settings(), per_image_curves=self._per_image_curves)

    def _settings(self) -> dict[str, object]:
        left_out = [name for name in DEFAULT if self._inputs["void"] and MEASURES[name].structural]
        return {
            "version": __version__,
            "backend": " + ".join(sorted(self._tally.backends)),
            "metrics": list(self._selection.metrics),
            **self._inputs,
            "strict": self._selection.strict,
            "empty_target": self._empty_target,
            "duplicates": self._duplicates,
            "per_image_curves": self._per_image_curves,
            "f_beta_squared": BETA_SQUARED,
            "wf_beta_squared": 1.0,
            "s_alpha": 0.5,
            "left_out": left_out,
        }
