"""A comparison as Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dynamic_kd._tables import latex_text, rounded
from dynamic_kd._version import __version__
from dynamic_kd.evaluation._bootstrap import LEVEL
from dynamic_kd.evaluation._compare import Comparison, DataSetResult
from dynamic_kd.evaluation._paired_tests import FEW, PairedTest
from dynamic_kd.evaluation._paper import paper_numbers
from dynamic_kd.evaluation._ranks import is_constant, unranked
from dynamic_kd.evaluation._score_tables import BEST, INCOMPLETE, SECOND, Cell, ScoreTable, score_tables

# More tests than a reader takes in stay in their own file.
_TESTS_SHOWN = 60


def methods_used(comparison: Comparison) -> list[str]:
    """Return, sentence by sentence, the conventions behind scores, intervals, tests and ranks."""
    settings = comparison.config.settings
    stretch = "min-max normalised" if settings.normalize else "not normalised"
    cut = ">" if settings.strict else ">="
    conventions = f"maps {stretch}; E-measure cut with {cut}; images with an empty mask: {settings.empty_target}"
    means = "max and mean of F and E are those of the data set's mean curve"
    marks = "Bold: best, underlined: second, by the three decimals printed"
    sentences = [f"dynamic-kd {__version__}; {conventions}.", f"{means}. {marks}."]
    if comparison.left_out:
        sentences.append(f"Left out, as no method has maps of them: {', '.join(comparison.left_out)}.")
    if settings.resamples:
        sentences.append(
            f"Intervals: percentile bootstrap over images, {100 * LEVEL:.0f}%, {settings.resamples} resamples, "
            f"seed {settings.seed}; for max the mean curve is resampled."
        )
    sentences += _tests_sentences(comparison)
    constant = [score for score in comparison.scores if is_constant(score)]
    if constant and len(comparison.config.methods) > 1:
        why = "as at threshold 0 all is salient, whatever the map"
        sentences.append(f"Neither marked nor ranked, {why}: {', '.join(constant)}.")
    if len(comparison.config.methods) > 1:
        sentences.append(f"Ranks: {_ranked(comparison)}.")
    return sentences


def _tests_sentences(comparison: Comparison) -> list[str]:
    settings = comparison.config.settings
    tested = {name: result.common for name, result in comparison.datasets.items() if result.tests}
    lacking = [name for name, result in comparison.datasets.items() if settings.reference not in result.reports]
    untested = f"Not tested, as {settings.reference} has no maps of them: {', '.join(lacking)}."
    said = [untested] if settings.reference and lacking else []
    if not tested:
        return said
    pairs = f"each method against {settings.reference}" if settings.reference else "all pairs of methods"
    least = f"at least {2 / (settings.resamples + 1):.2g} by {settings.resamples} resamples, and 2/2^n by n images"
    bootstrap = f"paired bootstrap over images of the score as printed (two-sided, {least}); "
    means = "Wilcoxon's signed-rank test of the images' own scores, for scores that are means over images"
    corrected = f"{'both ' if settings.resamples else ''}corrected by Holm within a data set and score, for {pairs}"
    tests = f"{bootstrap if settings.resamples else ''}{means}; {corrected}; on the images that all methods have"
    sentences = [f"Tests: {tests}.", *said]
    few = [f"{name} ({images})" for name, images in tested.items() if images < FEW]
    if few:
        sentences.append(f"Tests of fewer than {FEW} images say little of others: {', '.join(few)}.")
    return sentences


def _ranked(comparison: Comparison) -> str:
    """Say what methods are ranked by, or why they are not."""
    scores = [score for score in comparison.scores if not is_constant(score)]
    left_out = unranked(result.reports for result in comparison.datasets.values())
    if comparison.ranks():
        without = f", without {', '.join(left_out)} ({INCOMPLETE})" if left_out else ""
        return (
            f"mean over data sets that every method was scored on and over {', '.join(scores)}, by every digit; "
            f"equal scores share their places' mean{without}"
        )
    if not scores:
        return "none, as no score tells methods apart"
    if len(comparison.config.methods) - len(left_out) < 2:
        return f"none, as fewer than two methods were scored on every image ({INCOMPLETE})"
    return "none, as no data set has maps of every method"


def markdown(comparison: Comparison) -> str:
    """Return everything as one Markdown document."""
    parts = []
    for table, result in zip(score_tables(comparison), comparison.datasets.values(), strict=True):
        parts += [f"## {table.dataset}", _markdown_scores(table), *(f"{_plain(note)}." for note in table.notes)]
        if result.intervals:
            parts += [f"{100 * LEVEL:.0f}% intervals:", _markdown_intervals(result, comparison.scores)]
    ranks = comparison.ranks()
    if ranks:
        lines = [
            [rank.method, *(f"{rank.datasets[name]:.2f}" for name in ranks[0].datasets), f"{rank.mean:.2f}"]
            for rank in ranks
        ]
        parts += ["## Mean ranks", _grid([["method", *ranks[0].datasets, "all"], *lines])]
    tests = [test for result in comparison.datasets.values() for test in result.tests]
    if 0 < len(tests) <= _TESTS_SHOWN:
        parts += ["## Tests", _markdown_tests(tests)]
    elif tests:
        parts += ["## Tests", f"{len(tests)} tests are in tests.csv."]
    parts += ["## How", *methods_used(comparison)]
    return "\n\n".join(parts) + "\n"


def _markdown_scores(table: ScoreTable) -> str:
    rows = [[row.label, *(_marked(cell, "**{}**", "<u>{}</u>") for cell in row.cells)] for row in table.rows]
    return _grid([table.header, *rows])


def _markdown_intervals(result: DataSetResult, scores: Sequence[str]) -> str:
    shown = [score for score in scores if score in next(iter(result.intervals.values()))]
    rows = [
        [method, *(f"{rounded(own[score].low)} to {rounded(own[score].high)}" for score in shown)]
        for method, own in result.intervals.items()
    ]
    return _grid([["method", *shown], *rows])


def _markdown_tests(tests: Sequence[PairedTest]) -> str:
    header = ["data set", "score", "methods", "images", "difference", "interval", "p bootstrap", "p Wilcoxon"]
    rows = [
        [
            test.dataset,
            test.score,
            f"{test.first} - {test.second}",
            str(test.images),
            f"{test.difference:+.4f}",
            "-" if test.interval is None else f"{test.interval.low:+.4f} to {test.interval.high:+.4f}",
            _p(test.p_bootstrap_holm),
            _p(test.p_wilcoxon_holm),
        ]
        for test in tests
    ]
    return "p-values are corrected.\n\n" + _grid([header, *rows])


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _marked(cell: Cell, best: str, second: str) -> str:
    return {BEST: best, SECOND: second}.get(cell.mark, "{}").format(cell.text)


def latex(comparison: Comparison) -> str:
    """Return one table for a paper (booktabs): a block of rows for each data set."""
    blocks = []
    tables = score_tables(comparison)
    scores = max((table.scores for table in tables), key=len)  # with the paper's E where any block has it
    for table in tables:
        title = rf"\multicolumn{{{1 + len(scores)}}}{{l}}{{\textit{{{_escaped(table.dataset)}}}}} \\"
        lines = [title]
        for index, row in enumerate(table.rows):
            if row.paper and not table.rows[index - 1].paper:
                lines.append(rf"\cmidrule(l){{1-{1 + len(scores)}}}")
            cells = [_marked(cell, r"\textbf{{{}}}", r"\underline{{{}}}") for cell in row.cells]
            cells += [""] * (len(scores) - len(cells))
            lines.append(" & ".join([_escaped(row.label), *cells]) + r" \\")
        blocks.append("\n".join(lines))
    titles = max((table.header for table in tables), key=len)
    header = [_escaped(title) for title in titles]
    body = "\n\\midrule\n".join([" & ".join(header) + r" \\", *blocks])
    comments = "".join(f"% {sentence}\n" for sentence in methods_used(comparison))
    return f"{comments}\\begin{{tabular}}{{l{'r' * len(scores)}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _escaped(text: str) -> str:
    return latex_text(text)


def as_json(comparison: Comparison) -> str:
    """Return scores, intervals, counts, tests, ranks and settings as JSON, every digit kept."""
    content = {
        "version": __version__,
        "how": methods_used(comparison),
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
