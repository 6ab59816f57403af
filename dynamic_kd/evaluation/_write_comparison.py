"""A comparison's files, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dynamic_kd._extras import require
from dynamic_kd._figures import figure_bytes
from dynamic_kd._files import write_whole
from dynamic_kd.evaluation._compare import Comparison
from dynamic_kd.evaluation._grid import chosen_images, draw_grid
from dynamic_kd.evaluation._report_text import as_json, latex, markdown
from dynamic_kd.evaluation._sheets import csv_text, curve_rows, per_image_rows, rank_sheet, score_sheet, tests_sheet
from dynamic_kd.evaluation._workbook import workbook
from dynamic_kd.metrics import plot_curves

# What not every run writes, which would lie about this one if it came from another.
_OF_RUNS = ("ranks.csv", "tests.csv")
_OF_DATASETS = ("per-image/{}.csv", "curves/{}.csv", "curves/{}.png", "grid/{}.png")


def check_writers() -> None:
    """Find out before the work, not after it, whether its results can be written."""
    require("cv2", "matplotlib", "openpyxl", extra="eval")


def write_comparison(comparison: Comparison, output: str | Path | None = None) -> list[Path]:
    """Write everything a comparison found into a folder.

    Parameters
    ----------
    comparison
        From `compare`.
    output
        The folder, made if need be; by default the configured one. Files of an earlier run are replaced, one by one,
        each at once; those that this run has none of are removed, and nothing else in the folder.

    Returns
    -------
    list of Path
        The files, in the order they were written: scores.md, scores.tex, scores.csv, results.json, results.xlsx,
        ranks.csv and tests.csv (where there are several methods), and for each data set per-image/NAME.csv,
        curves/NAME.csv, curves/NAME.png and grid/NAME.png (where one is asked for).

    Raises
    ------
    ValueError
        An image of the visual comparison that is not there.

    Examples
    --------
    >>> write_comparison(compare(read_config("compare.toml")))[0]  # doctest: +SKIP
    PosixPath('comparison/scores.md')
    """
    folder = comparison.config.output if output is None else Path(output)
    earlier = _datasets_of(folder / "results.json")
    written = []
    for name, content in _contents(comparison):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        written.append(path)
    _remove_others(folder, {*earlier, *comparison.config.datasets}, written)
    return written


def _datasets_of(results: Path) -> list[str]:
    """Return the data sets of the run that left these results; none if nobody did."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        names = json.loads(results.read_bytes())["datasets"]
        return [name for name in names if Path(name).name == name]  # of a file in a folder, whoever wrote them
    return []


def _remove_others(folder: Path, datasets: Iterable[str], written: Iterable[Path]) -> None:
    """Remove what runs over these data sets may write and this one did not."""
    outputs = {*_OF_RUNS, *(pattern.format(name) for pattern in _OF_DATASETS for name in datasets)}
    kept = {path.relative_to(folder).as_posix().casefold() for path in written}  # DES.csv may be des.csv's file
    for place in {folder / output for output in outputs if output.casefold() not in kept}:
        place.unlink(missing_ok=True)


def _contents(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Yield each file's name and content, one at a time."""
    yield "scores.md", markdown(comparison).encode()
    yield "scores.tex", latex(comparison).encode()
    yield "scores.csv", csv_text(*score_sheet(comparison)).encode()
    yield "results.json", as_json(comparison).encode()
    yield "results.xlsx", workbook(comparison)
    for name, sheet in (("ranks.csv", rank_sheet(comparison)), ("tests.csv", tests_sheet(comparison))):
        if sheet[1]:
            yield name, csv_text(*sheet).encode()
    for name, result in comparison.datasets.items():
        rows = per_image_rows(comparison, name)
        yield f"per-image/{name}.csv", csv_text([str(title) for title in next(rows)], rows).encode()
        rows = curve_rows(comparison, name)
        yield f"curves/{name}.csv", csv_text([str(title) for title in next(rows)], rows).encode()
        if {"f_measure", "e_measure"} & set(next(iter(result.reports.values())).curves):
            figure = plot_curves(result.reports, title=name)
            yield f"curves/{name}.png", figure_bytes(figure, "png")
    if comparison.config.settings.grid is not None:
        for name, stems in chosen_images(comparison).items():
            if stems:
                yield f"grid/{name}.png", figure_bytes(draw_grid(comparison, name, stems), "png")
