"""The scores as torchmetrics metrics, for collections, Lightning and several processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dynamic_kd._checks import check_choice
from dynamic_kd._mask import level_list
from dynamic_kd.metrics._inputs import batch_parts, checked_names
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._selection import MEASURES, SCORES
from dynamic_kd.metrics._sod_metrics import SODMetrics
from dynamic_kd.metrics._statistics import (
    DeferredStatistics,
    Floats,
    Statistics,
    contribution,
    packed,
    statistics,
    unpacked,
)

# States that are lists, of one tensor for each batch, and their dtypes: the bits of each image's numbers, its pixels,
# the names, and counts to take images out again.
_LISTS = {"numbers": torch.int64, "pixels": torch.int64, "names": torch.uint8, "kept": torch.int32}


class SODMetric(Metric):
    """Scores of salient object detection over the images of all processes, as a torchmetrics metric.

    The sums behind the scores are integers: any number of processes gives bit-identical results, however the images are
    shared out. Predictions on an NVIDIA GPU are scored there, and their numbers stay there until `compute`.

    Parameters
    ----------
    metrics, normalize, quantize, strict, empty_target, duplicates, check, salient, void
        As for `dynamic_kd.metrics.SODMetrics`. A distributed sampler may repeat images to give each process as many.
        Set ``duplicates="once"`` and pass names to `update` to count them once.
    prefix : str
        Put before the name of each score that `compute` returns, for example ``"val/"``.
    **options
        Options of ``torchmetrics.Metric``, such as ``sync_on_compute`` or ``process_group``.

    Raises
    ------
    ValueError, TypeError
        For settings out of range.

    Notes
    -----
    Bad values on a GPU raise from `compute`, with the names of their images. Repeated names raise there, too. All
    states are integers, so `set_dtype` changes nothing. An error in ``forward`` drops the images seen before, as in
    every torchmetrics metric; an error in `update` does not.

    Examples
    --------
    >>> import torch
    >>> metric = SODMetric(["MAE", "F"])
    >>> pred, target = torch.eye(8), torch.eye(8) > 0
    >>> metric.update(pred[None, None], target[None, None])
    >>> {name: round(float(value), 3) for name, value in metric.compute().items()}
    {'MAE': 0.0, 'maxF': 1.0, 'meanF': 0.997, 'adpF': 1.0, 'maxF_per_image': 1.0}
    """

    is_differentiable = False
    full_state_update = False

    fingerprint: torch.Tensor
    sums: torch.Tensor
    numbers: list[torch.Tensor]
    pixels: list[torch.Tensor]
    names: list[torch.Tensor]
    kept: list[torch.Tensor]

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        *,
        normalize: bool = True,
        quantize: bool = False,
        strict: bool = False,
        empty_target: str = "count",
        duplicates: str = "refuse",
        check: str = "auto",
        salient: Any = None,
        void: Any = None,
        prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._prefix = prefix  # torchmetrics' collections read and write "prefix"
        self._settings: dict[str, Any] = {
            "metrics": metrics if metrics is None or isinstance(metrics, str) else tuple(metrics),
            "normalize": normalize,
            "quantize": quantize,
            "strict": strict,
            "empty_target": empty_target,
            "duplicates": duplicates,
            "check": check,
            "salient": level_list("salient", salient),
            "void": level_list("void", void),
        }
        tally = SODMetrics(**self._settings)._tally  # whose states these are, as tensors
        self._selection, self._columns = tally.selection, tally.columns
        if self._selection.from_pixels:
            raise ValueError(
                f"metrics: expected metrics from statistics, got {', '.join(self._selection.from_pixels)}, which look "
                f"at pixels on the CPU; use dynamic_kd.metrics.SODMetrics for them"
            )
        self._curves, self._totals = tally.curves.shape[1], len(tally.totals)
        self._width = len(self._selection.numbers) + 3
        self._backends: set[str] = set()
        self._report: MetricReport | None = None
        # Distinguishes metrics and checkpoints of different settings, where torchmetrics compares only states.
        self._fingerprint = json.dumps(self._settings, sort_keys=True).encode()
        self.add_state("fingerprint", torch.tensor([*self._fingerprint], dtype=torch.uint8), dist_reduce_fx="max")
        self.add_state("sums", torch.zeros(2 * self._curves + self._totals, dtype=torch.int64), dist_reduce_fx="sum")
        for name in _LISTS:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        pred: torch.Tensor,
        target: torch.Tensor,
        names: Iterable[str] | None = None,
        *,
        valid: torch.Tensor | None = None,
    ) -> None:
        """Score a batch.

        Parameters
        ----------
        pred, target, names, valid
            As for `SODMetrics.update`.

        Raises
        ------
        ValueError, TypeError
            As for `SODMetrics.update`, except for what only `compute` can find.
        """
        inputs = {name: self._settings[name] for name in ("normalize", "quantize", "check", "salient", "void")}
        parts = batch_parts(pred, target, valid, structural=self._selection.structural, **inputs)
        size = sum(len(pairs) for pairs, _ in parts)
        listed = checked_names(names, size)
        encoded = [_encoded(None if listed is None else listed[image]) for image in range(size)]
        measured = [statistics(pairs) for pairs, _ in parts]
        scored = [self._scored(part, pairs.level_flags()) for part, (pairs, _) in zip(measured, parts, strict=True)]
        for (content, kept, pixels), (_, images) in zip(scored, parts, strict=True):
            middle = self.sums.numel()
            self.sums = self.sums + content[:middle]
            self.numbers.append(content[middle:].reshape(len(images), -1))
            if np.ndim(pixels):
                self.pixels.append(_sent(torch.from_numpy(pixels), self.device))
            else:
                self.pixels.append(torch.full((len(images),), pixels, dtype=torch.int64, device=self.device))
            text = bytearray(b"".join(encoded[image] for image in images))
            self.names.append(_sent(torch.frombuffer(text, dtype=torch.uint8), self.device))
            self.kept += [] if kept is None else [kept]
        self._backends |= {part.backend for part in measured}

    def _scored(self, measured: Statistics, flags: Floats) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
        """Sums and numbers, counts to keep, and the pixels of each image or of all, on this metric's device."""
        settings = {"skip_empty": self._settings["empty_target"] == "skip", "keep": self._columns}
        if isinstance(measured, DeferredStatistics):
            # Copies: the next batch may come in the same memory.
            content, *kept = (result.clone() for result in measured.start(self._selection, **settings))
        else:
            batch = contribution(measured, self._selection, **settings)._replace(flags=flags)
            content = torch.from_numpy(packed(batch))
            kept = [] if batch.kept is None else [torch.from_numpy(batch.kept.view(np.int32))]
        return content.to(self.device), kept[0].to(self.device) if kept else None, measured.pixels

    def compute(self) -> dict[str, torch.Tensor]:
        """Return the scores of all images of all processes, as scalars on this metric's device.

        Raises
        ------
        ValueError
            If no image was scored, and for bad values, refused targets and repeated names, with the names of the
            images.
        """
        try:
            self._report = report = self._gathered()
        except BaseException:
            if self._is_synced:  # torchmetrics would leave the metric synced, and the next update would fail
                self.unsync()
            raise
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return {
            f"{self._prefix}{name}": torch.tensor(value, dtype=dtype, device=self.device)
            for name, value in report.items()
        }

    def reset(self) -> None:
        """Forget every image."""
        super().reset()
        self._report, self._backends = None, set()

    def set_dtype(self, dst_type: str | torch.dtype) -> SODMetric:
        """Change nothing: all states are integers."""
        return self

    def report(self) -> MetricReport:
        """Return scores, curves, per-image rows, counts and settings; syncs as `compute` does."""
        self.compute()
        assert self._report is not None
        return self._report

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw scores with matplotlib, as every torchmetrics metric does.

        Parameters
        ----------
        val
            What `compute` or ``forward`` returned, or a list of such results for a line over steps; by default what
            `compute` returns now.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        figure, axes
            As in matplotlib.
        """
        return self._plot(val, ax)

    def _gathered(self) -> MetricReport:
        """Read the states back and summarize them."""
        if bytes(self.fingerprint.tolist()) != self._fingerprint:
            raise ValueError(
                "states: expected those of a metric of the same settings, got others; "
                "make this metric with the settings of the saved one"
            )
        metrics = SODMetrics(**self._settings)
        lists = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in _LISTS if len(getattr(self, name))}
        if len(lists.get("pixels", ())):
            content = np.concatenate([self.sums.cpu().numpy(), lists["numbers"].ravel()])
            kept = lists["kept"].view(np.uint32) if self._columns else None
            images = len(lists["pixels"])
            batch = unpacked(content, curves=self._curves, totals=self._totals, images=images, kept=kept)
            names = _decoded(lists["names"].tobytes())
            metrics._absorb(batch, names, lists["pixels"], " + ".join(sorted(self._backends)))
        return metrics.compute()

    def sync(self, *args: Any, **options: Any) -> None:
        """Gather the states of all processes, also of those that have seen no image."""
        shapes = {"numbers": (0, self._width), "kept": (0, len(self._columns))}
        for name, dtype in _LISTS.items():
            if not self._is_synced and len(getattr(self, name)) == 0:
                getattr(self, name).append(torch.empty(shapes.get(name, (0,)), dtype=dtype, device=self.device))
        super().sync(*args, **options)


def _sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the host's values on a device; from memory that is not pinned, a GPU would be waited for."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _encoded(name: str | None) -> bytes:
    """Return a name as bytes that end with 0; of an image without a name, these alone."""
    if name is None:
        return b"\0"
    if "\0" in name:
        raise ValueError(f"names: expected text without NUL characters, got {name!r}")
    return b"\1" + name.encode(errors="surrogateescape") + b"\0"


def _decoded(content: bytes) -> list[str | int]:
    """Return the names of images, or their positions."""
    parts = content.split(b"\0")[:-1]
    return [part[1:].decode(errors="surrogateescape") if part else place for place, part in enumerate(parts)]


class SODScore(SODMetric):
    """One score as a scalar, for a checkpoint callback or a scheduler.

    Parameters
    ----------
    score
        ``"maxF"``, ``"MAE"``, ``"Sm"`` or another number of `SODMetric`.
    metrics
        What `update` measures; by default the metric that gives this score. In a ``torchmetrics.MetricCollection``,
        scores with the same ``metrics`` and settings share one computation.
    **settings
        Other settings and options of `SODMetric`, except ``prefix``.

    Raises
    ------
    ValueError, TypeError
        As for `SODMetric`, and for an unknown score or one that ``metrics`` do not give.

    Examples
    --------
    >>> import torch
    >>> score = SODScore("MAE")
    >>> float(score(torch.eye(8), torch.eye(8) > 0))
    0.0

    Three scores of one computation:

    >>> from torchmetrics import MetricCollection
    >>> scores = {name: SODScore(name, metrics=["MAE", "F", "S"]) for name in ("MAE", "maxF", "Sm")}
    >>> collection = MetricCollection(scores, prefix="val/")
    >>> collection.update(torch.eye(8), torch.eye(8) > 0)
    >>> len(collection.compute_groups), sorted(collection.compute())
    (1, ['val/MAE', 'val/Sm', 'val/maxF'])
    """

    def __init__(self, score: str, *, metrics: Sequence[str] | None = None, **settings: Any) -> None:
        known = [number for measure in MEASURES.values() for number in measure.numbers]
        if score in SCORES and SCORES[score].metric not in MEASURES:
            raise ValueError(f"score: expected one from statistics, got {score!r}, which looks at pixels on the CPU")
        check_choice("score", score, known)
        if "prefix" in settings:
            raise TypeError("prefix: a single score is a number without a name; pass it to the MetricCollection")
        source = SCORES[score].metric
        super().__init__([source] if metrics is None else metrics, **settings)
        if source not in self._selection.metrics:
            raise ValueError(f"metrics: expected {source!r}, which gives {score}, among them, got {metrics!r}")
        self.score = score

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a larger score is better."""
        return SCORES[self.score].higher_is_better

    def compute(self) -> torch.Tensor:  # type: ignore[override]
        """Return the score of all images of all processes, a scalar on this metric's device."""
        return super().compute()[self.score]

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the score with matplotlib; see `SODMetric.plot`."""
        figure, axes = super().plot(val, ax)
        axes.set_ylabel(self.score)
        return figure, axes
