"""The folder of an experiment's results: tables, raw rows and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.experiments._experiment import described
from benchmarks.experiments._figures import f_measure_curves, score_over_axis
from benchmarks.experiments._folder import result_file
from benchmarks.experiments._json import as_json, runs_json
from benchmarks.experiments._noise import roc_sheet
from benchmarks.experiments._pictures import visual_comparison
from benchmarks.experiments._results import Results
from benchmarks.experiments._rows import Row
from benchmarks.experiments._tables import latex, markdown, sheet
from dynamic_kd._extras import require
from dynamic_kd._figures import write_figure
from dynamic_kd._files import write_whole
from dynamic_kd.evaluation import Table
from dynamic_kd.training._records_file import read_records
from dynamic_kd.training._stage import weights_file
from dynamic_kd.training._train import resumable
from dynamic_kd.training._weight_figures import teacher_student_scatter
from dynamic_kd.training._weights_log import read_weights_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS_LOG = "weights.csv"


def write_results(
    results: Results, folder: str | Path, *, paper: bool = False, pictures: int | tuple[str, ...] = 0
) -> list[Path]:
    """Write what an experiment found.

    Parameters
    ----------
    results : Results
        From `read_results`.
    folder : path
        The experiment's folder.
    paper : bool
        Put the paper's rows beside, where it has them.
    pictures : int or tuple of str
        Images of the visual comparison and the heat maps, by name, or so many; runs that kept their weights are shown.

    Returns
    -------
    list of Path
        ``table.md``, ``table.tex``, ``table.csv``, ``grid.csv``, ``results.json``, ``runs.json`` (a row for each run)
        and the figures that there is something for: ``axis.png``, ``curves.png``, ``roc.png``, ``scatter.png``,
        ``pictures.png``, ``heat.png``.
    """
    require("matplotlib", extra="eval")
    folder = Path(folder)
    texts = {
        "table.md": markdown(results, paper=paper),
        "table.tex": latex(results, paper=paper),
        "table.csv": Table(*sheet(results, results.rows)).to_csv(),
        "grid.csv": Table(*sheet(results, results.grid)).to_csv(),
        "results.json": as_json(results, paper=paper),
        "runs.json": runs_json(results),
    }
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    written = [folder / name for name in texts]
    for name, figure in _figures(results, pictures):
        if figure is not None:
            write_figure(folder / name, figure)
            written.append(folder / name)
    return written


def _figures(results: Results, pictures: int | tuple[str, ...]) -> Iterator[tuple[str, Figure | None]]:
    """Yield the figures, one after another: where one cannot be made, those before it are written."""
    shown = _first_point(results)
    reports = {
        row.method: [read_records(result_file(results.runs[name].folder, resumable(results.runs[name].folder)))
                     for name in row.runs.values()]
        for row in shown
    }  # fmt: skip
    yield "axis.png", score_over_axis(results)
    yield "curves.png", f_measure_curves(reports, _title(results, shown))
    yield "roc.png", roc_sheet(results)
    folders = {row.method: results.runs[next(iter(row.runs.values()))].folder for row in shown}
    logs = {
        method: read_weights_log(place / WEIGHTS_LOG)
        for method, place in folders.items()
        if (place / WEIGHTS_LOG).is_file()
    }
    if logs:
        yield "scatter.png", teacher_student_scatter(logs)
    kept = {method: place for method, place in folders.items() if weights_file(place, 2, "last").is_file()}
    if pictures and kept:
        yield "pictures.png", visual_comparison(kept, pictures)
        yield "heat.png", visual_comparison(kept, pictures, heat=True)


def _first_point(results: Results) -> list[Row]:
    """Return the rows of the first point of the grid: its curves and pictures are drawn."""
    return [row for row in results.rows if row.point == results.rows[0].point]


def _title(results: Results, shown: list[Row]) -> str:
    at = described(shown[0].point, results.experiment.axes)
    return f"{results.experiment.name}{f' at {at}' if at else ''}"
