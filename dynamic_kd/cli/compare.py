"""``dynamic-kd compare``: many methods on many data sets."""

from __future__ import annotations

import argparse
import os
from typing import Any

from dynamic_kd.cli._arguments import known_names
from dynamic_kd.cli._terminal import one_bar
from dynamic_kd.metrics._host_measures import HOST_MEASURES
from dynamic_kd.metrics._measures import MEASURES
from dynamic_kd.metrics._sod_metrics import EMPTY_TARGET

_DESCRIPTION = """\
From folders to a paper's table: score many methods on many data sets, with
confidence intervals, tests, ranks, curves and a visual comparison.

What is compared is said by a folder or by a TOML file. The folder:

  DIR/GT/DES/*.png        masks of each data set (or gt, Mask, masks, target)
  DIR/RGB/DES/*.jpg       images, if there are any (or Image, images)
  DIR/ours/DES/*.png      maps of each method on each data set
  DIR/JLDCF/DES/*.png

The file (relative paths start from its folder):

  output = "comparison"
  [datasets.DES]
  target = "DES/GT"
  image = "DES/RGB"                     # optional
  [methods.ours]
  maps = "maps/ours/{dataset}"          # or one by one:
  [methods.JLDCF]
  maps = { DES = "DES/pred_JLDCF" }
  [settings]                            # optional, as the options below
  scores = ["maxF", "Sm", "maxE", "MAE"]
  allow_missing = true

Every measured image is kept in a cache at once, found again by the content of
its files: a second run reads none, an interrupted one goes on where it was."""

_EPILOG = """\
Written into the folder of results: scores.md, .tex (best bold, second
underlined) and .csv, results.json and .xlsx, ranks.csv, tests.csv, and for each
data set per-image/NAME.csv, curves/NAME.png and .csv, grid/NAME.png. Those of
an earlier run that this one has none of are removed.

Examples:
  dynamic-kd compare results/ --grid worst:8
  dynamic-kd compare compare.toml --reference ours --paper"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "compare",
        help="score many methods on many data sets, side by side",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("source", metavar="CONFIG.toml|DIR", help="what is compared")
    parser.add_argument("--out", metavar="DIR", help="folder of results (default: comparison, beside the source)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads (default: one for each core)"
    )

    scored = parser.add_argument_group("what is scored (before the file's settings)")
    scored.add_argument("--metrics", type=_metrics, metavar="A,B", help="metrics to compute (default: MAE,F,wF,S,E)")
    scored.add_argument("--scores", type=_scores, metavar="A,B", help="scores in tables, ranks, tests (default: nine)")
    _flag(scored, "--allow-missing", "leave out and count what is missing")
    _flag(scored, "--strict-size", "refuse maps of another size than their mask")
    _flag(scored, "--strict", "cut maps with > in the E-measure, as MATLAB's code")
    _flag(scored, "--no-normalize", "take maps as they are, without stretching", name="normalize", value=False)
    scored.add_argument("--empty-target", choices=EMPTY_TARGET, help="masks without a salient pixel (default: count)")

    shown = parser.add_argument_group("what is made of it (before the file's settings)")
    shown.add_argument("--resamples", type=int, metavar="N", help="bootstrap resamples, 0: none (default: 2000)")
    shown.add_argument("--seed", type=int, metavar="N", help="seed of the bootstrap (default: 0)")
    shown.add_argument("--reference", metavar="METHOD", help="test the others against this one (default: all pairs)")
    shown.add_argument("--grid", metavar="NAMES|worst:N", help="visual comparison of images A,B or of the N worst")
    _flag(shown, "--paper", "show the numbers of the paper's Table 1 beside")


# What the command line may say instead of the file.
_SETTINGS = (
    "metrics", "scores", "allow_missing", "strict_size", "strict", "normalize", "empty_target",
    "resamples", "seed", "reference", "grid", "paper",
)  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Compare, write the files, print the tables."""
    from dynamic_kd.evaluation import compare, read_config, write_comparison
    from dynamic_kd.evaluation._write_comparison import check_writers

    given = {name: getattr(arguments, name) for name in _SETTINGS}
    config = read_config(
        arguments.source,
        output=arguments.out,
        **{name: value for name, value in given.items() if value is not None},
    )
    check_writers()
    with one_bar() as progress:
        try:
            comparison = compare(config, workers=arguments.workers, progress=progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("finished images are kept, and the same command goes on from them") from None
    written = write_comparison(comparison)  # first: whatever happens to the terminal, the results are safe

    from dynamic_kd.cli._comparison_tables import print_comparison

    print_comparison(comparison)
    for path in written:
        print(f"wrote {path}")
    return 0


def _metrics(text: str) -> list[str]:
    return known_names(text, "metrics", (*MEASURES, *HOST_MEASURES))


def _scores(text: str) -> list[str]:
    from dynamic_kd.evaluation._score_method import names_of_scores

    return known_names(text, "scores", names_of_scores([*MEASURES.values(), *HOST_MEASURES.values()]))


def _flag(group: Any, option: str, words: str, *, name: str | None = None, value: bool = True) -> None:
    """Add a flag that says nothing unless it is given, so that the file's setting stands."""
    name = name or option.removeprefix("--").replace("-", "_")
    group.add_argument(option, dest=name, action="store_const", const=value, help=words)
