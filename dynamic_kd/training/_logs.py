"""What a run writes down as it goes: epochs and samples as CSV, the curves for TensorBoard."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dynamic_kd.metrics import MetricReport
    from dynamic_kd.training._checkpoint import Place
    from dynamic_kd.training._loop import Epoch

SCORES = ("MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE")
EPOCHS, WEIGHTS = "epochs.csv", "weights.csv"
STAGES = {1: "teacher", 2: "student"}


class Logs:
    """The logs of a run, in its folder; of the main process alone.

    Parameters
    ----------
    folder : Path
        The run folder.
    place : Place
        How far the run had come; what lies beyond, because a run was stopped before its checkpoint, is dropped.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        done = place.stage, place.epoch
        _keep(folder / EPOCHS, lambda row: (int(row["stage"]), int(row["epoch"])) <= done)
        _keep(folder / WEIGHTS, lambda row: (2, int(row["epoch"])) <= done)
        self._board: dict[int, Any] = {}
        self._done = place

    def epoch(self, stage: int, epoch: Epoch, images: int, report: MetricReport | None) -> None:
        """Write what an epoch was like."""
        row: dict[str, Any] = {
            "stage": stage,
            "epoch": epoch.number,
            "loss": f"{epoch.loss:.8g}",
            "learning_rate": f"{epoch.rate:.6g}",
            "seconds": f"{epoch.seconds:.3f}",
            "images_per_second": f"{images / epoch.seconds:.1f}",
        }
        row |= {name: f"{report[name]:.6f}" if report else "" for name in SCORES}
        _append(self._folder / EPOCHS, list(row), [list(row.values())])
        board = self._writer(stage)
        for name in ("loss", "learning_rate", "images_per_second"):
            board.add_scalar(name, float(row[name]), epoch.number)
        for name in SCORES if report else ():
            board.add_scalar(f"validation/{name}", float(row[name]), epoch.number)
        board.flush()

    def samples(self, epoch: Epoch, names: Sequence[str], columns: Sequence[str]) -> None:
        """Write the terms of the distillation loss of each sample."""
        flag = columns.index("reliable")
        rows = []
        for name, values in zip(names, epoch.kept.tolist(), strict=True):
            texts: list[Any] = [f"{value:.6f}" for value in values]
            texts[flag] = round(values[flag])
            rows.append([epoch.number, name, *texts])
        _append(self._folder / WEIGHTS, ["epoch", "sample", *columns], rows)
        board = self._writer(2)
        for name, mean in zip(columns, epoch.kept.mean(dim=0).tolist(), strict=True):
            board.add_scalar(f"terms/{name}", mean, epoch.number)

    def close(self) -> None:
        """Finish what TensorBoard reads."""
        for board in self._board.values():
            board.close()

    def _writer(self, stage: int) -> Any:
        if stage not in self._board:
            from torch.utils.tensorboard import SummaryWriter

            folder = self._folder / "tensorboard" / STAGES[stage]
            first = 1 + (self._done.epoch if stage == self._done.stage else 0)
            self._board[stage] = SummaryWriter(str(folder), purge_step=first)
        return self._board[stage]


def _append(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(header)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def _keep(path: Path, wanted: Callable[[dict[str, str]], bool]) -> None:
    """Drop the rows of a log that are not wanted, and a last one that was cut off."""
    if not path.exists():
        return
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    header, *lines = whole.split("\n")
    reader = csv.DictReader([header, *lines])
    kept = [line for line, row in zip(lines, reader, strict=True) if wanted(row)]
    if kept:
        write_whole(path, "\n".join([header, *kept, ""]).encode())
    else:
        path.unlink()
