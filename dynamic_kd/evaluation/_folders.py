"""Scores of a folder of saliency maps against a folder of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dynamic_kd._checks import check_whole
from dynamic_kd.data import match_by_stem, read_gray
from dynamic_kd.data._images import file_content, opencv
from dynamic_kd.data._reading import check_mask
from dynamic_kd.evaluation._fit import MARKS, decoded_map, marks_of_mask
from dynamic_kd.evaluation._threads import in_order, thread_pool
from dynamic_kd.metrics import MetricReport, Records, SODMetrics
from dynamic_kd.metrics._statistics import warm_up

# Images scored together.
_BATCH = 64


class _Measured(NamedTuple):
    stem: str
    records: Records
    marks: tuple[str, ...]


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
        Folders of PNG, JPEG, BMP, TIFF or WebP images; the suffixes of a pair may differ.
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
        With these counts added: ``missing_pred``, ``missing_target``, ``grey_target`` (masks with more than 10% of
        middle greys), ``colour_pred`` (maps in colour, whose luma was scored), ``resized`` (maps of another size than
        their masks) and ``other_shape`` (those whose width to height is another by more than 2%, not in ``resized``).

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
    check_whole("workers", workers, low=1)
    metrics = SODMetrics(**settings)
    matching = match_by_stem(pred=pred, target=target, allow_missing=allow_missing)
    warm_up()
    opencv()  # here, because its import is not made for several threads

    def measure(item: tuple[str, dict[str, Path]]) -> _Measured:
        return _measure(*item, metrics=metrics, strict_size=strict_size)

    counts = Counter(dict.fromkeys(MARKS, 0))
    batch: list[_Measured] = []
    with thread_pool(workers) as pool:
        images = in_order(pool, measure, matching.files.items(), ahead=4 * workers)
        for done, measured in enumerate(images, start=1):
            batch.append(measured)
            counts.update(measured.marks)
            if len(batch) == _BATCH or done == len(matching.files):
                _score(batch, metrics, target)
                batch = []
            if progress is not None:
                progress(done, len(matching.files))
    report = metrics.compute()
    missing = {f"missing_{name}": len(matching.missing.get(name, ())) for name in ("pred", "target")}
    return replace(
        report,
        counts={**report.counts, **counts, **missing},
        settings={**report.settings, "pred": str(pred), "target": str(target), "resize": "bilinear"},
    )


def _measure(stem: str, files: dict[str, Path], *, metrics: SODMetrics, strict_size: bool) -> _Measured:
    """Measure one pair; what is wrong with it is said with its file's name."""
    target = read_gray(files["target"])
    check_mask(target, files["target"])
    pred, marks = decoded_map(file_content(files["pred"]), files["pred"], target, strict_size=strict_size)
    return _Measured(stem, metrics.measure(pred, target), (*marks, *marks_of_mask(target)))


def _score(batch: list[_Measured], metrics: SODMetrics, target: str | Path) -> None:
    """Score images together, which takes little longer than one."""
    try:
        metrics.update_records(Records.join([each.records for each in batch]), [each.stem for each in batch])
    except ValueError as error:
        raise ValueError(f"{target}: {error}") from None
