"""``dynamic-kd compare``: many methods on many data sets."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from dynamic_kd._extras import require
from dynamic_kd.cli._arguments import known_names
from dynamic_kd.cli._scoring import add_flag, add_scoring_arguments, given_settings
from dynamic_kd.cli._terminal import one_bar, print_table
from dynamic_kd.metrics import SCORES

_DESCRIPTION = """\
From folders to the table of a paper: score many methods on many data sets, with
confidence intervals, tests, ranks, curves and a visual comparison.

A folder or a TOML file says what to compare. The folder:

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
  [settings]                            # optional, named as the options below
  scores = ["maxF", "Sm", "maxE", "MAE"]
  allow_missing = true

Each map is cached as soon as it is measured, by the content of its files. A
second run measures nothing again, and an interrupted one continues where it
stopped."""

_EPILOG = """\
The folder of results gets scores.md, .tex (best bold, second underlined) and
.csv, results.json and .xlsx, ranks.csv, tests.csv, and for each data set
per-image/NAME.csv, curves/NAME.png and .csv, and grid/NAME.png. Files of an
earlier run that this run does not write are removed.

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
    parser.add_argument("source", metavar="CONFIG.toml|DIR", help="what to compare")
    parser.add_argument("--out", metavar="DIR", help="folder of results (default: comparison, beside the source)")
    scored = add_scoring_arguments(parser, "what is scored, and how (instead of the file's settings)")
    scored.add_argument(
        "--scores",
        type=partial(known_names, kind="scores", known=SCORES),
        metavar="A,B",
        help="scores in tables, ranks and tests (default: each image's scores of the metrics)",
    )

    shown = parser.add_argument_group("what is reported (instead of the file's settings)")
    shown.add_argument("--resamples", type=int, metavar="N", help="bootstrap resamples, 0 for none (default: 2000)")
    shown.add_argument("--seed", type=int, metavar="N", help="seed of the bootstrap (default: 0)")
    shown.add_argument("--reference", metavar="METHOD", help="test the others against this one (default: all pairs)")
    shown.add_argument("--grid", metavar="NAMES|worst:N", help="visual comparison of images A,B or of the N worst")
    add_flag(shown, "--paper", "add the numbers of the paper's Table 1")


def run(arguments: argparse.Namespace) -> int:
    """Compare, write the files, print the tables."""
    from dynamic_kd.evaluation import compare, comparison_tables, read_config, write_comparison

    settings = given_settings(arguments, "scores", "resamples", "seed", "reference", "grid", "paper")
    config = read_config(arguments.source, output=arguments.out, **settings)
    require("cv2", "matplotlib", "openpyxl", extra="eval")  # which write the results
    with one_bar() as progress:
        try:
            comparison = compare(config, workers=arguments.workers, progress=progress)
        except KeyboardInterrupt:
            message = "finished images are kept; repeat the command to continue"
            raise KeyboardInterrupt(message) from None
    written = write_comparison(comparison)  # before printing, so that a closed terminal loses no result
    for table in comparison_tables(comparison):
        print_table(table)
        print()
    results = comparison.datasets.values()
    fresh = sum(result.fresh for result in results)
    reports = [report for result in results for report in result.reports.values()]
    maps = sum(report.counts["images"] + report.counts["skipped"] for report in reports)
    print(f"{fresh} maps measured, {maps - fresh} found in {config.cache}")
    for path in written:
        print(f"wrote {path}")
    return 0
