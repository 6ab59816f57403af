"""Statistics of the study: ``python -m benchmarks.experiments.study_statistics``.

Reads the scores of every image that the runs have left, and prints each method's means and a row for each comparison of
the plan, docs/results/study.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from benchmarks.experiments.sharpened import FACTORS, Scores
from benchmarks.experiments.study import FOLDS, ORDER, RESULTS, Rows, read_results
from dynamic_kd.evaluation import Table

Floats = NDArray[np.float32]
Place = tuple[int, int]  # fold and seed

REFERENCES, CANDIDATES = (*ORDER[0], *ORDER[1]), ORDER[2]
BEST = "best reference"
SHARES = (0.0, 0.1, 0.3)
SCORES = ("maxF", "sharpened wF", "wF")
MARGIN = 0.005
CONCLUDING = (1, 2, 3, 4)  # folds
_BLOCK = 1000  # resamples at a time


@dataclass(frozen=True)
class Comparison:
    """A method minus another, or minus the best reference, in one score, as the mean over shares."""

    question: str
    method: str
    against: str
    shares: tuple[float, ...]
    score: str


class Resampled(NamedTuple):
    """Scores of a run, of all images first and then of each resample: max F (1 + R,), weighted F (1 + R, factors)."""

    max_f: Floats
    weighted_f: Floats


class Outcome(NamedTuple):
    """What the runs say of a comparison.

    Attributes
    ----------
    difference : float
        Mean over folds, of the mean over seeds (and shares).
    drawn : ndarray
        The difference in each resample.
    folds : dict
        The difference in each fold.
    chosen : dict
        For each fold, the factors (and the reference) chosen by the other folds, share by share.
    """

    difference: float
    drawn: Floats
    folds: dict[int, float]
    chosen: dict[int, list[str]]

    def interval(self, level: float) -> tuple[float, float]:
        """Return the percentile interval."""
        low, high = np.quantile(self.drawn, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided p-value: the share of resamples that deviate from the difference as much as it does from 0."""
        beyond = np.count_nonzero(np.abs(self.drawn - self.difference) >= abs(self.difference))
        return float((beyond + 1) / (len(self.drawn) + 1))

    @property
    def p_equal(self) -> float:
        """The larger p-value of the two one-sided tests that the difference lies within the margin."""
        beyond = max(np.count_nonzero(self.drawn >= MARGIN), np.count_nonzero(self.drawn <= -MARGIN))
        return float((beyond + 1) / (len(self.drawn) + 1))

    def interval_of_folds(self, level: float) -> tuple[float, float]:
        """Return the t-interval of the folds' differences; infinite for a single fold."""
        values = np.array(list(self.folds.values()))
        if len(values) < 2:
            return -np.inf, np.inf
        reach = student_t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        return float(values.mean() - reach), float(values.mean() + reach)


def planned() -> list[Comparison]:
    """Return the comparisons of the plan, and those shown for information, whose question has no number."""
    with_threshold = [("s = 0.5 + threshold", "s = 0.5"), ("dynamic + threshold", "dynamic")]
    of_dynamic = ("dynamic + threshold", "s = 0.5 + threshold")
    found = []
    for score in SCORES:
        named = score != "wF"
        for share in SHARES:
            found += [Comparison("1" if named else "", *pair, (share,), score) for pair in with_threshold]
            found += [Comparison("2" if named else "", "s = 0.5 relative", "s = 0.5 + threshold", (share,), score)]
            found += [Comparison("", *of_dynamic, (share,), score)]
            found += [Comparison("", "s = 0.5 + threshold", "cross-entropy", (share,), score)]
        found += [Comparison("3" if named else "", *of_dynamic, SHARES, score)]
        for candidate in CANDIDATES:
            found += [Comparison("4" if named else "", candidate, BEST, (share,), score) for share in (0.0, 0.3)]
    return sorted(found, key=lambda comparison: comparison.question or "9")


class Study:
    """The runs of some folds, with their resamples.

    A resample draws the images of each fold with replacement, the same for all its runs. Seeds are drawn later, because
    each comparison takes those that all its methods have.

    Parameters
    ----------
    rows, scores : mapping
        What the runs are, and their scores (`read_results`), by run.
    resamples, seed : int
        Of the bootstrap.
    """

    def __init__(self, rows: Rows, scores: Mapping[str, Scores], *, resamples: int = 20_000, seed: int = 0) -> None:
        self._resamples, self._seed = resamples, seed
        self._runs: dict[tuple[str, float], dict[Place, Resampled]] = {}
        for fold in sorted({row["fold"] for row in rows.values()}):
            names = [name for name, row in rows.items() if row["fold"] == fold]
            drawn = _resampled([scores[name] for name in names], resamples, [seed, fold])
            for name, each in zip(names, drawn, strict=True):
                row = rows[name]
                for share in SHARES if row["method"] == "cross-entropy" else row["shares"]:
                    self._runs.setdefault((row["method"], share), {})[row["fold"], row["seed"]] = each

    def outcome(self, comparison: Comparison, folds: Iterable[int] = CONCLUDING) -> Outcome | None:
        """Return what the runs of folds say of a comparison; None where a method has no run beside the other's.

        Factors and the best reference of a fold are chosen by the other folds of `CONCLUDING`, or by the fold itself if
        there are none.
        """
        others = REFERENCES if comparison.against == BEST else (comparison.against,)
        needed = [
            self._runs.get((name, share), {}) for name in (comparison.method, *others) for share in comparison.shares
        ]
        seeds: dict[int, list[int]] = {}
        for fold, seed in sorted(set.intersection(*(set(each) for each in needed))):
            seeds.setdefault(fold, []).append(seed)
        here = [fold for fold in folds if fold in seeds]
        if not here:
            return None
        parts = [self._at_share(comparison, others, share, here, seeds) for share in comparison.shares]
        differences = np.mean([difference for difference, _ in parts], axis=0, dtype=np.float64)  # (folds, 1 + R)
        whole = differences.mean(axis=0)
        chosen = {fold: [names[place] for _, names in parts] for place, fold in enumerate(here)}
        return Outcome(float(whole[0]), whole[1:], dict(zip(here, differences[:, 0].tolist(), strict=True)), chosen)

    def mean(self, method: str, share: float, score: str, folds: Iterable[int]) -> tuple[int, float, list[float]]:
        """Return the number of runs of a method, its mean score and the factor of each fold."""
        seeds: dict[int, list[int]] = {}
        for fold, seed in sorted(self._runs.get((method, share), {})):
            seeds.setdefault(fold, []).append(seed)
        here = [fold for fold in folds if fold in seeds]
        if not here:
            return 0, float("nan"), []
        chosen = self._chosen(self._by_fold(method, share, score, seeds), here)
        factors = [FACTORS[place] for place in chosen.factor]
        return sum(len(seeds[fold]) for fold in here), float(chosen.here[:, 0].mean()), factors

    def _at_share(
        self,
        comparison: Comparison,
        others: Sequence[str],
        share: float,
        here: Sequence[int],
        seeds: Mapping[int, list[int]],
    ) -> tuple[Floats, list[str]]:
        """Return the differences at one share, (folds, 1 + R), and what was chosen for each fold with all images."""
        mine, *theirs = (
            self._chosen(self._by_fold(method, share, comparison.score, seeds), here)
            for method in (comparison.method, *others)
        )
        best = np.array([each.elsewhere for each in theirs]).argmax(axis=0)
        against = np.take_along_axis(np.array([each.here for each in theirs]), best[None], axis=0)[0]
        names = []
        for place in range(len(here)):
            other = int(best[place, 0])
            factors = (FACTORS[mine.factor[place]], FACTORS[theirs[other].factor[place]])
            names.append(f"{others[other]}, k = {factors[0]:g} and {factors[1]:g}")
        return mine.here - against, names

    def _by_fold(self, method: str, share: float, score: str, seeds: Mapping[int, list[int]]) -> dict[int, Floats]:
        """Return a method's score in each fold, (1 + R, factors): the mean over seeds, then of one fewer drawn."""
        found = {}
        for fold, available in seeds.items():
            runs = [self._runs[method, share][fold, seed] for seed in available]
            each = np.array([run.max_f[:, None] if score == "maxF" else run.weighted_f for run in runs])
            each = each[:, :, :1] if score == "wF" else each
            rng = np.random.default_rng([self._seed, fold, 1])  # the same for all methods
            drawn = rng.integers(0, len(runs), size=(self._resamples, max(1, len(runs) - 1)))
            rows = np.arange(1, self._resamples + 1)[:, None]
            found[fold] = np.concatenate([each[:, :1].mean(axis=0), each[drawn, rows].mean(axis=1)])
        return found

    def _chosen(self, scores: Mapping[int, Floats], here: Sequence[int]) -> _Chosen:
        """Return a method's scores with the factor that is best on the other folds."""
        parts = []
        for fold in here:
            others = [scores[other] for other in CONCLUDING if other != fold and other in scores] or [scores[fold]]
            elsewhere = np.mean(others, axis=0)  # (1 + R, factors)
            factor = elsewhere.argmax(axis=1)[:, None]
            chosen = [np.take_along_axis(each, factor, axis=1)[:, 0] for each in (scores[fold], elsewhere)]
            parts.append((*chosen, int(factor[0, 0])))
        return _Chosen(*(np.array(each) for each in zip(*parts, strict=True)))


class _Chosen(NamedTuple):
    """A method's scores on each fold and elsewhere, (folds, 1 + R), and the place of its factor for each fold."""

    here: Floats
    elsewhere: Floats
    factor: NDArray[np.int64]


def _resampled(runs: Sequence[Scores], resamples: int, seed: Sequence[int]) -> list[Resampled]:
    """Return the scores of all images and of each resample, which draws the same images for all runs."""
    [images] = {each.names for each in runs}
    rng, parts = np.random.default_rng(seed), []
    for start in range(0, 1 + resamples, _BLOCK):
        count = min(_BLOCK, 1 + resamples - start)
        times = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=count)
        if start == 0:
            times[0] = 1
        share = (times / len(images)).astype(np.float32)
        parts.append(
            [
                ((share @ run.f_measure.astype(np.float32)).max(axis=1), share @ run.weighted_f.T.astype(np.float32))
                for run in runs
            ]
        )
    return [
        Resampled(*(np.concatenate(each) for each in zip(*(part[run] for part in parts), strict=True)))
        for run in range(len(runs))
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's method."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        corrected[number] = largest
    return corrected


def results(study: Study, folds: Iterable[int] = CONCLUDING) -> list[dict[str, Any]]:
    """Return a row for each planned comparison that has runs; p-values of questions 1, 2 and 4 are corrected."""
    folds = tuple(folds)
    outcomes = [(comparison, study.outcome(comparison, folds)) for comparison in planned()]
    rows = [_row(comparison, outcome) for comparison, outcome in outcomes if outcome is not None]
    for question in ("1", "2", "4"):
        family = [row for row in rows if row["question"] == question]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    return rows


def _row(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    level = 0.9 if comparison.question == "3" else 0.95
    row = {
        "question": comparison.question,
        "method": comparison.method,
        "against": comparison.against,
        "shares": list(comparison.shares),
        "score": comparison.score,
        "difference": outcome.difference,
        "level": level,
        "interval": outcome.interval(level),
        "interval_of_folds": outcome.interval_of_folds(level),
        "folds": outcome.folds,
        "chosen": outcome.chosen,
        "p": outcome.p,
    }
    if comparison.question == "3":
        row["p_equal"] = outcome.p_equal
    return row


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    names = ("question", "score", "share", "method", "minus", "difference", "interval", "t-interval of folds", "p")
    cells = [
        [
            row["question"] or "-",
            row["score"],
            ", ".join(f"{share:g}" for share in row["shares"]),
            row["method"],
            row["against"],
            f"{row['difference']:+.4f}",
            f"{row['interval'][0]:+.4f} to {row['interval'][1]:+.4f}" + (" (90%)" if row["level"] == 0.9 else ""),
            "-" if len(row["folds"]) == 1 else "{:+.4f} to {:+.4f}".format(*row["interval_of_folds"]),
            ("equal: " if "p_equal" in row else "") + _p(row.get("p_equal", row.get("p_holm", row["p"]))),
        ]
        for row in rows
    ]
    return Table(names, cells)


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "< .0001"


def means(study: Study, folds: Iterable[int] = CONCLUDING) -> Table:
    """Return each method's mean scores, over the folds and seeds that have it, with the factors of the folds."""
    folds, found = tuple(folds), Table(["method", "share", "runs", *SCORES, "k of each fold"])
    for method in (*REFERENCES, *CANDIDATES):
        for share in SHARES:
            scores = {score: study.mean(method, share, score, folds) for score in SCORES}
            runs, _, factors = scores["sharpened wF"]
            if runs:
                values = [f"{mean:.4f}" for _, mean, _ in scores.values()]
                found.add_row(method, f"{share:g}", runs, *values, ", ".join(f"{factor:g}" for factor in factors))
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.study_statistics", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="foldN.json and foldN.npz.xz")
    parser.add_argument("--resamples", type=int, default=20_000, metavar="N", help="of the bootstrap (default: 20000)")
    parser.add_argument("--fold", type=int, choices=FOLDS, metavar="FOLD", help="one fold alone, such as 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparisons there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the mean scores and the planned comparisons."""
    arguments = parser().parse_args(argv)
    rows: Rows = {}
    scores: dict[str, Scores] = {}
    for fold in FOLDS:
        table_of_fold, scores_of_fold = read_results(arguments.results, fold)
        rows, scores = rows | table_of_fold, scores | scores_of_fold
    folds = CONCLUDING if arguments.fold is None else (arguments.fold,)
    if not any(row["fold"] in folds for row in rows.values()):
        print(f"{arguments.results}: has no runs of folds {', '.join(map(str, folds))}", file=sys.stderr)
        return 2
    here = {fold: sum(row["fold"] == fold for row in rows.values()) for fold in folds}
    alone = sum(fold in CONCLUDING and count > 0 for fold, count in here.items()) == 1
    chosen = "the fold itself, because there is no other" if alone else "the other folds of 1 to 4"
    print(
        f"Runs of each fold: {', '.join(f'{count} of fold {fold}' for fold, count in here.items())}. "
        f"{arguments.resamples} resamples. k and the best reference are chosen by {chosen}.\n"
    )
    study = Study(rows, scores, resamples=arguments.resamples)
    found = results(study, folds)
    print(means(study, folds).to_markdown())
    print(table(found).to_markdown())
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
