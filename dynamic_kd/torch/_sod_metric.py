"""The scores as torchmetrics metrics: for collections, Lightning, and data shared out over processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dynamic_kd._checks import check_choice
from dynamic_kd.metrics import MetricReport, SODMetrics
from dynamic_kd.metrics._evaluate import evaluate_now
from dynamic_kd.metrics._measures import DEFAULT, MEASURES
from dynamic_kd.metrics._padding import batches
from dynamic_kd.metrics._sod_metrics import checked_names
from dynamic_kd.metrics._statistics import DeferredStatistics, Statistics, packed, statistics, unpacked

# Lists of the states, one tensor for each batch, and their dtypes: numbers and pixels of each image, names, counts.
_LISTS = {"numbers": torch.float64, "pixels": torch.int64, "names": torch.uint8, "kept": torch.int32}


class SODMetric(Metric):
    """Salient-object-detection scores of everything seen by all processes, as a torchmetrics metric.

    The sums behind the scores are integers, so that N processes give the bits that one gives, however the images were
    shared out. Predictions on an NVIDIA GPU are scored there, and nobody waits for the device before `compute`.

    Parameters
    ----------
    metrics, normalize, quantize, strict, empty_target, duplicates, check
        As for `dynamic_kd.metrics.SODMetrics`. Samplers of several processes may repeat images to give each as many:
        pass their names to `update` and set ``duplicates="once"``.
    **options
        Options of `torchmetrics.Metric`, such as ``sync_on_compute`` or ``process_group``.

    Raises
    ------
    ValueError, TypeError
        Settings out of range.

    Notes
    -----
    Bad values on a GPU raise from `compute`, with the names of their images. A name seen twice is found there, too.

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

    sums: torch.Tensor
    numbers: list[torch.Tensor]
    pixels: list[torch.Tensor]
    names: list[torch.Tensor]
    kept: list[torch.Tensor]

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT,
        *,
        normalize: bool = True,
        quantize: bool = False,
        strict: bool = False,
        empty_target: str = "count",
        duplicates: str = "refuse",
        check: str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._settings: dict[str, Any] = {
            "metrics": tuple(metrics) if not isinstance(metrics, str) else metrics,
            "normalize": normalize,
            "quantize": quantize,
            "strict": strict,
            "empty_target": empty_target,
            "duplicates": duplicates,
            "check": check,
        }
        tally = SODMetrics(**self._settings)._tally  # whose states these are, as tensors
        self._plan, self._columns = tally.plan, tally.columns
        if self._plan.host:
            raise ValueError(
                f"metrics: expected metrics from statistics, got {', '.join(self._plan.host)}, which look at pixels on "
                f"the CPU; use dynamic_kd.metrics.SODMetrics for them"
            )
        self._curves, self._totals = tally.curves.words.shape[1], len(tally.totals)
        self._width = len(self._plan.numbers) + 3
        self._backend = ""
        self._report: MetricReport | None = None
        self.add_state("sums", torch.zeros(2 * self._curves + self._totals, dtype=torch.int64), dist_reduce_fx="sum")
        for name in _LISTS:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        pred: torch.Tensor,
        target: torch.Tensor,
        names: Iterable[str] | None = None,
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
            As for `SODMetrics.update`, but for what only `compute` can see.
        """
        inputs = {name: self._settings[name] for name in ("normalize", "quantize", "check")}
        parts = batches(pred, target, valid, **inputs)
        size = sum(len(pairs) for pairs, _ in parts)
        listed = checked_names(names, size) or [""] * size
        measured = [statistics(pairs) for pairs, _ in parts]
        for each, (_, images) in zip([self._scored(each) for each in measured], parts, strict=True):
            self._keep(each, [listed[image] for image in images])
        self._backend = measured[-1].backend

    def _scored(self, measured: Statistics) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Sums and numbers, counts to keep, and the pixels of an image, on this metric's device."""
        settings = {"skip_empty": self._settings["empty_target"] == "skip", "keep": self._columns}
        if isinstance(measured, DeferredStatistics):
            # Copies: the next batch may come in the same memory.
            content, *kept = (each.clone() for each in measured.start(self._plan, **settings))
        else:
            batch = evaluate_now(measured, self._plan, **settings)
            content = torch.from_numpy(packed(batch))
            kept = [] if batch.kept is None else [torch.from_numpy(batch.kept.view(np.int32))]
        return content.to(self.device), kept[0].to(self.device) if kept else None, measured.pixels

    def _keep(self, scored: tuple[torch.Tensor, torch.Tensor | None, int], names: Sequence[str]) -> None:
        content, kept, pixels = scored
        middle = self.sums.numel()
        self.sums = self.sums + content[:middle]
        self.numbers.append(content[middle:].view(torch.float64).reshape(len(names), -1))
        self.pixels.append(torch.full((len(names),), pixels, dtype=torch.int64, device=self.device))
        encoded = "".join(f"{name}\0" for name in names).encode()
        self.names.append(torch.frombuffer(bytearray(encoded), dtype=torch.uint8).to(self.device))
        if kept is not None:
            self.kept.append(kept)

    def compute(self) -> dict[str, torch.Tensor]:
        """Return the scores of all images of all processes, as scalars on this metric's device.

        Raises
        ------
        ValueError
            No image was scored; values that their dtype does not allow, refused targets and repeated names, with the
            names of the images.
        """
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        report = self._gathered()
        return {name: torch.tensor(value, dtype=dtype, device=self.device) for name, value in report.items()}

    def report(self) -> MetricReport:
        """Return all that is known: scores, curves, per-image rows, counts, settings; syncs as `compute` does."""
        self.compute()
        assert self._report is not None
        return self._report

    def _gathered(self) -> MetricReport:
        """Read the states back and summarize them."""
        metrics = SODMetrics(**self._settings)
        lists = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in _LISTS if len(getattr(self, name))}
        if len(lists.get("pixels", ())):
            content = np.concatenate([self.sums.cpu().numpy(), lists["numbers"].ravel().view(np.int64)])
            kept = lists["kept"].view(np.uint32) if self._columns else None
            images = len(lists["pixels"])
            batch = unpacked(content, curves=self._curves, totals=self._totals, images=images, kept=kept)
            listed = lists["names"].tobytes().decode().split("\0")[:-1]
            names = [name or position for position, name in enumerate(listed)]
            metrics._absorb(batch, names, lists["pixels"], self._backend)
        self._report = metrics.compute()
        return self._report

    def sync(self, *args: Any, **options: Any) -> None:
        """Gather the states of all processes, also of those that have seen no image."""
        shapes = {"numbers": (0, self._width), "kept": (0, len(self._columns))}
        for name, dtype in _LISTS.items():
            if len(getattr(self, name)) == 0:
                getattr(self, name).append(torch.empty(shapes.get(name, (0,)), dtype=dtype, device=self.device))
        super().sync(*args, **options)


class SODScore(SODMetric):
    """One score, as a scalar: what a checkpoint or a scheduler watches.

    Parameters
    ----------
    score
        ``"maxF"``, ``"MAE"``, ``"Sm"`` or another number of `SODMetric`.
    **settings
        Settings and options of `SODMetric`. In a `torchmetrics.MetricCollection`, scores of one metric share its work.

    Raises
    ------
    ValueError, TypeError
        As `SODMetric`; an unknown score.

    Examples
    --------
    >>> import torch
    >>> score = SODScore("MAE")
    >>> float(score(torch.eye(8), torch.eye(8) > 0))
    0.0
    """

    def __init__(self, score: str, **settings: Any) -> None:
        metrics = {number: name for name, measure in MEASURES.items() for number in measure.numbers}
        check_choice("score", score, tuple(metrics))
        super().__init__([metrics[score]], **settings)
        self.score = score

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a larger score is the better one."""
        return not self.score.endswith(("MAE", "BER", "FPR"))

    def compute(self) -> torch.Tensor:  # type: ignore[override]
        """Return the score of all images of all processes, a scalar on this metric's device."""
        return super().compute()[self.score]
