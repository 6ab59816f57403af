"""The log of stage 2, with every training sample in every epoch, read back."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WEIGHTS = "weights.csv"  # in a run folder
_MEASURES = ("teacher_iou", "student_error", "weight")
_COLUMNS = ("epoch", "sample", *_MEASURES, "reliable")


@dataclass(frozen=True, eq=False)
class WeightsLog:
    """The distillation's α, β and θ of each training sample in each epoch, augmented as the networks saw it.

    Attributes
    ----------
    epochs : ndarray
        The E epochs, from 1, int64.
    names : tuple of str
        The N samples, sorted.
    teacher_iou, student_error, weight : ndarray
        α, β and θ, shape (E, N), float64 in [0, 1]; NaN where an epoch has not reached a sample yet.
    reliable : ndarray
        Whether α is above the noise threshold, shape (E, N), bool; False where this is not known yet.
    lines : ndarray
        The line of the file, shape (E, N), int64; 0 where there is none yet.
    """

    epochs: NDArray[np.int64]
    names: tuple[str, ...]
    teacher_iou: NDArray[np.float64]
    student_error: NDArray[np.float64]
    weight: NDArray[np.float64]
    reliable: NDArray[np.bool_]
    lines: NDArray[np.int64]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether an epoch has reached a sample, shape (E, N)."""
        known: NDArray[np.bool_] = self.lines > 0
        return known

    def latest(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the teacher's and the student's IoU, α and 1 - β, of the last ``count`` samples seen in training."""
        epoch, sample = np.nonzero(self.seen)
        order = np.lexsort((self.lines[epoch, sample], epoch))[-count:]
        last = epoch[order], sample[order]
        return self.teacher_iou[last], 1 - self.student_error[last]

    def with_threshold(self, threshold: float, relative: bool = False) -> WeightsLog:
        """Return the log with ``reliable`` for another threshold on α, or share of the student's own IoU."""
        limit = threshold * (1 - self.student_error) if relative else threshold
        return replace(self, reliable=self.seen & (self.teacher_iou > limit))


class _Row(NamedTuple):
    line: int
    epoch: int
    sample: str
    measures: tuple[float, ...]
    reliable: bool


def read_weights_log(path: str | Path) -> WeightsLog:
    """Read the ``weights.csv`` of a training run, finished or running.

    Parameters
    ----------
    path : str or Path
        The file: a row for each sample and epoch with the columns epoch, sample, teacher_iou, student_error, weight
        and reliable; other columns are ignored.

    Returns
    -------
    WeightsLog
        Of several rows with the same epoch and sample, as a resumed run writes them, the last one counts. An
        incomplete last line, which is still being written, is ignored.

    Raises
    ------
    ValueError
        If the file is missing, or lacks columns or rows, or if a row is invalid; the message names its line.
    """
    rows = list(_rows(Path(path)))
    if not rows:
        raise ValueError(f"{path}: has no row yet; wait for the first epoch of stage 2")
    epochs, epoch_of = np.unique([row.epoch for row in rows], return_inverse=True)
    names, name_of = np.unique([row.sample for row in rows], return_inverse=True)
    latest = np.zeros((len(epochs), len(names)), np.int64)
    np.maximum.at(latest, (epoch_of, name_of), np.arange(1, len(rows) + 1))  # positions in the list, from 1
    measures = np.array([(np.nan,) * len(_MEASURES), *(row.measures for row in rows)])[latest]
    teacher_iou, student_error, weight = np.moveaxis(measures, -1, 0)
    return WeightsLog(
        epochs=epochs.astype(np.int64),
        names=tuple(map(str, names)),
        teacher_iou=teacher_iou,
        student_error=student_error,
        weight=weight,
        reliable=np.array([False, *(row.reliable for row in rows)])[latest],
        lines=np.array([0, *(row.line for row in rows)])[latest],
    )


def _rows(path: Path) -> Iterator[_Row]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; stage 2 of training writes it, so train a student first") from None
    whole = content[: content.rfind(b"\n") + 1]  # what comes after the last end of line is still being written
    reader = csv.reader(io.StringIO(whole.decode("utf-8"), newline=""))
    header = next(reader, [])
    missing = [column for column in _COLUMNS if column not in header]
    if whole and missing:
        raise ValueError(f"{path}: has no column {', '.join(missing)}; name the {WEIGHTS} of a run")
    for cells in reader:
        try:
            yield _row(reader.line_num, header, cells)
        except ValueError as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def _row(line: int, header: list[str], cells: list[str]) -> _Row:
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} values instead of {len(header)}; remove the line")
    row = dict(zip(header, cells, strict=True))
    if not (row["epoch"].isdecimal() and int(row["epoch"])):
        raise ValueError(f"epoch must be a whole number from 1, got {row['epoch']!r}")
    if row["reliable"] not in ("0", "1"):
        raise ValueError(f"reliable must be 0 or 1, got {row['reliable']!r}")
    measures = tuple(_share(name, row[name]) for name in _MEASURES)
    return _Row(line, int(row["epoch"]), row["sample"], measures, row["reliable"] == "1")


def _share(column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{column} must be a number in [0, 1], got {text!r}")
    return value
