"""The files of a comparison, each written completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dynamic_kd._figures import figure_bytes
from dynamic_kd._files import write_whole
from dynamic_kd._tables import Table, workbook
from dynamic_kd._version import __version__
from dynamic_kd.evaluation._bootstrap import LEVEL
from dynamic_kd.evaluation._compare import Comparison
from dynamic_kd.evaluation._comparison_tables import (
    all_scores,
    count_table,
    curve_table,
    image_table,
    interval_table,
    paper_layout,
    paper_table,
    rank_table,
    score_table,
    test_table,
)
from dynamic_kd.evaluation._conventions import conventions
from dynamic_kd.evaluation._grid import chosen_images, draw_grid
from dynamic_kd.evaluation._paper import paper_numbers
from dynamic_kd.metrics import plot_curves

# Files that not every run writes: one left by an earlier run would not belong to these results.
_OF_RUNS = ("ranks.csv", "tests.csv")
_OF_DATASETS = ("per-image/{}.csv", "curves/{}.csv", "curves/{}.png", "grid/{}.png")
# More tests than a reader takes in stay in tests.csv.
_TESTS_SHOWN = 60


def write_comparison(comparison: Comparison, output: str | Path | None = None) -> list[Path]:
    """Write all results of a comparison into a folder.

    Parameters
    ----------
    comparison
        From `compare`.
    output
        The folder, created if it does not exist; by default the configured one. Files of an earlier run are replaced
        one by one, each at once. Those that this run does not write are removed, and nothing else in the folder.

    Returns
    -------
    list of Path
        The files, in the order they were written: scores.md, scores.tex, scores.csv, results.json, results.xlsx,
        ranks.csv and tests.csv (with several methods), and for each data set per-image/NAME.csv, curves/NAME.csv,
        curves/NAME.png (with curves of F or E) and grid/NAME.png (if asked for).

    Raises
    ------
    ValueError
        An image of the visual comparison that does not exist.

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
    """Return the data sets of the run that wrote these results; none if the file is not that of a run."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        names = json.loads(results.read_bytes())["datasets"]
        return [name for name in names if Path(name).name == name]  # names with folders are not ours
    return []


def _remove_others(folder: Path, datasets: Iterable[str], written: Iterable[Path]) -> None:
    """Remove files that runs over these data sets may write and this one did not."""
    outputs = {*_OF_RUNS, *(pattern.format(name) for pattern in _OF_DATASETS for name in datasets)}
    kept = {path.relative_to(folder).as_posix().casefold() for path in written}  # DES.csv may be the file des.csv
    for place in {folder / output for output in outputs if output.casefold() not in kept}:
        place.unlink(missing_ok=True)


def _contents(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file, one at a time."""
    scores, ranks, tests = all_scores(comparison), rank_table(comparison), test_table(comparison)
    yield "scores.md", _markdown(comparison).encode()
    yield "scores.tex", paper_layout(comparison).to_latex().encode()
    yield "scores.csv", scores.to_csv().encode()
    yield "results.json", _json(comparison).encode()
    how = Table(["how"], [[sentence] for sentence in conventions(comparison)], title="how")
    sheets = [scores, ranks, tests, count_table(comparison), paper_table(comparison), how]
    yield "results.xlsx", workbook([sheet for sheet in sheets if len(sheet)])
    for table, name in ((ranks, "ranks.csv"), (tests, "tests.csv")):
        if len(table):
            yield name, table.to_csv().encode()
    for name, result in comparison.datasets.items():
        yield f"per-image/{name}.csv", image_table(result.reports).to_csv().encode()
        yield f"curves/{name}.csv", curve_table(result.reports).to_csv().encode()
        if {"f_measure", "e_measure"} & set(next(iter(result.reports.values())).curves):
            yield f"curves/{name}.png", figure_bytes(plot_curves(result.reports, title=name), "png")
    if comparison.config.settings.grid is not None:
        for name, stems in chosen_images(comparison).items():
            if stems:
                yield f"grid/{name}.png", figure_bytes(draw_grid(comparison, name, stems), "png")


def _markdown(comparison: Comparison) -> str:
    """Return scores, intervals, ranks, tests and conventions as one document."""
    parts = []
    for name, result in comparison.datasets.items():
        parts.append(score_table(comparison, name).to_markdown())
        if result.intervals:
            parts += [f"{100 * LEVEL:.0f}% intervals:\n", interval_table(result, comparison.scores).to_markdown()]
    ranks, tests = rank_table(comparison), test_table(comparison)
    parts += [ranks.to_markdown()] if len(ranks) else []
    if 0 < len(tests) <= _TESTS_SHOWN:
        parts.append(tests.to_markdown())
    elif len(tests):
        parts.append(f"## tests\n\ntests.csv has {len(tests)} tests.\n")
    parts += ["## how\n", *(f"- {sentence}" for sentence in conventions(comparison))]
    return "\n".join(parts) + "\n"


def _json(comparison: Comparison) -> str:
    """Return scores, intervals, counts, tests, ranks and settings as JSON with every digit."""
    content = {
        "version": __version__,
        "how": conventions(comparison),
        "datasets": {
            name: {
                "methods": {
                    method: {
                        "scores": report.scores,
                        "pooled": report.pooled,
                        "intervals": {score: list(each) for score, each in result.intervals.get(method, {}).items()},
                        "counts": report.counts,
                        "settings": report.settings,
                    }
                    for method, report in result.reports.items()
                },
                "common_images": result.common,
                "tests": [test._asdict() for test in result.tests],
                **({"paper": paper_numbers(name)} if comparison.config.settings.paper else {}),
            }
            for name, result in comparison.datasets.items()
        },
        "ranks": [rank._asdict() for rank in comparison.ranks()],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
