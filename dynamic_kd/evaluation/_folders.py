"""Scores of a folder of saliency maps against a folder of masks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd.data import match_by_stem, read_gray
from dynamic_kd.metrics import MetricReport, SODMetrics
from dynamic_kd.metrics._statistics import warm_up

# A mask with a larger share of middle greys is counted: a photograph or a saliency map by mistake, perhaps.
_GREY_SHARE = 0.1


class _Scored(NamedTuple):
    metrics: SODMetrics
    resized: bool
    grey: bool


def evaluate_folders(
    pred: str | Path,
    target: str | Path,
    *,
    strict_size: bool = False,
    allow_missing: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> MetricReport:
    """Score the saliency maps of one folder against the masks of another, paired by file stem.

    Parameters
    ----------
    pred, target
        Folders of images in any format OpenCV reads; the suffixes of a pair may differ.
    strict_size
        Refuse a prediction whose size is not the mask's, instead of resizing it (bilinearly) and counting it.
    allow_missing
        Score the pairs there are, and count what is missing, instead of refusing.
    workers
        Threads that read and score images; the result does not depend on their number.
    progress
        Called with the number of images done and their total after each image.
    **settings
        Settings of `SODMetrics`.

    Returns
    -------
    MetricReport
        With the counts ``resized``, ``missing_pred``, ``missing_target`` and ``grey_target`` (masks with more than
        10% of middle greys) added.

    Raises
    ------
    ValueError
        Missing or unmatched files (they are listed), two files with one stem, unreadable files, masks that would read
        as empty, sizes that differ under ``strict_size``, settings out of range.

    Examples
    --------
    >>> report = evaluate_folders("maps/ours", "DES/GT", workers=2)  # doctest: +SKIP
    >>> report["maxF"], report.counts["resized"]  # doctest: +SKIP
    (0.928, 0)
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers: expected a whole number of at least 1, got {workers!r}")
    total = SODMetrics(**settings)
    matching = match_by_stem(pred=pred, target=target, allow_missing=allow_missing)
    warm_up()

    def score(item: tuple[str, dict[str, Path]]) -> _Scored:
        return _score(*item, strict_size=strict_size, settings=settings)

    resized = grey = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for done, scored in enumerate(pool.map(score, matching.files.items()), start=1):
                total.merge(scored.metrics)
                resized += scored.resized
                grey += scored.grey
                if progress is not None:
                    progress(done, len(matching.files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    report = total.compute()
    missing = {f"missing_{name}": len(matching.missing.get(name, ())) for name in ("pred", "target")}
    return replace(
        report,
        counts={**report.counts, "grey_target": grey, "resized": resized, **missing},
        settings={**report.settings, "pred": str(pred), "target": str(target), "resize": "bilinear"},
    )


def _score(stem: str, files: dict[str, Path], *, strict_size: bool, settings: dict[str, Any]) -> _Scored:
    """Score one pair; what is wrong with it is said with its file's name."""
    pred, target = read_gray(files["pred"]), read_gray(files["target"])
    resized = pred.shape != target.shape
    if resized and strict_size:
        raise ValueError(
            f"{files['pred']}: expected the size of its mask, {_size(target)}, got {_size(pred)}; "
            f"save predictions at the masks' size, or evaluate without --strict-size (strict_size=False)"
        )
    if resized:
        pred = _resize(pred, target.shape)
    metrics = SODMetrics(**settings)
    try:
        metrics.update(pred, target, names=[stem])
    except ValueError as error:
        raise ValueError(f"{files['target']}: {error}") from None
    greys = np.count_nonzero((target > 25) & (target < 230))
    return _Scored(metrics, resized, bool(greys > _GREY_SHARE * target.size))


def _resize(image: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _size(image: npt.NDArray[Any]) -> str:
    height, width = image.shape
    return f"{width} x {height}"
