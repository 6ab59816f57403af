"""The logs of a run: epochs and samples as CSV, curves for TensorBoard."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole
from dynamic_kd.training._recipe import SCORE_NAMES
from dynamic_kd.training._run_folder import STAGES
from dynamic_kd.training._weights_log import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dynamic_kd.metrics import MetricReport
    from dynamic_kd.training._checkpoint import Place
    from dynamic_kd.training._loop import Epoch

_EPOCHS = "epochs.csv"


class Logs:
    """The logs in a run folder; only the main process writes them.

    Parameters
    ----------
    folder : Path
        The run folder.
    place : Place
        How far the run had got. Later rows, whose checkpoint was never written, are dropped.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        done = place.stage, place.epoch
        _keep(folder / _EPOCHS, lambda row: (int(row["stage"]), int(row["epoch"])) <= done)
        _keep(folder / WEIGHTS, lambda row: (2, int(row["epoch"])) <= done)
        self._board: dict[int, Any] = {}
        self._done = place

    def epoch(self, stage: int, epoch: Epoch, images: int, report: MetricReport | None) -> None:
        """Write a row for an epoch."""
        row: dict[str, Any] = {
            "stage": stage,
            "epoch": epoch.number,
            "loss": f"{epoch.loss:.8g}",
            "learning_rate": f"{epoch.rate:.6g}",
            "seconds": f"{epoch.seconds:.3f}",
            "images_per_second": f"{images / epoch.seconds:.1f}",
        }
        scores = {name: f"{report[name]:.6f}" for name in SCORE_NAMES if report and name in report}
        row |= dict.fromkeys(SCORE_NAMES, "") | scores
        _append(self._folder / _EPOCHS, list(row), [list(row.values())])
        board = self._writer(stage)
        for name in ("loss", "learning_rate", "images_per_second"):
            board.add_scalar(name, float(row[name]), epoch.number)
        for name in scores:
            board.add_scalar(f"validation/{name}", float(row[name]), epoch.number)
        board.flush()

    def samples(self, epoch: Epoch, names: Sequence[str], columns: Sequence[str]) -> None:
        """Write a row for each sample, with the terms of its distillation loss."""
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
        """Close the files for TensorBoard."""
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


def _keep(path: Path, keep: Callable[[dict[str, str]], bool]) -> None:
    """Keep some rows of a log, and drop a last line that was cut off."""
    if not path.exists():
        return
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    header, *lines = whole.split("\n")
    reader = csv.DictReader([header, *lines])
    kept = [line for line, row in zip(lines, reader, strict=True) if keep(row)]
    if kept:
        write_whole(path, "\n".join([header, *kept, ""]).encode())
    else:
        path.unlink()
