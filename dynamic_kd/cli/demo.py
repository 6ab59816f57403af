"""``dynamic-kd demo``: the whole method at work, within minutes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd.cli._terminal import bars, print_table, print_text

if TYPE_CHECKING:
    from dynamic_kd.evaluation import Comparison, Table

_DESCRIPTION = """\
See what noise elimination is for. The demo trains a teacher, gives 60% of the
training images the map of another image, and trains four thin students from
these maps: without the teacher, with a fixed weight, and with noise elimination
under a fixed and under the dynamic weight. It compares them on test images,
prints their scores and says what they show. This takes a few minutes on two
cores.

The default data is a synthetic RGB-D set; --data takes your own. The demo is
dynamic-kd train, predict and compare over the recipe "demo", so its folder has
what these commands write."""

_EPILOG = """\
Examples:
  dynamic-kd demo
  dynamic-kd demo --data datasets/DES --size 128 --out runs/des

A data set is a folder with the sub-folders RGB, depth and GT (or other common
names); DIR is one, or contains several. The same seed gives the same numbers on
the same machine."""

_SHOWN = ("MAE", "maxF", "wF", "Sm", "maxE")
_FILES = {
    "scores.png": "the weighted F of each network",
    "runs/NETWORK": "weights, logs, and noise.png: the worst teacher maps",
    "comparison": "all scores and tests as tables, curves, pictures",
    "compare.toml": "the comparison, to repeat it with other settings",
    "data": "the images",
    "maps/NETWORK": "the saliency maps",
}


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="train a teacher and students within minutes and compare them",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--data", metavar="DIR", help="RGB-D data sets to use instead of the synthetic one")
    parser.add_argument(
        "--near",
        choices=("auto", "bright", "dark"),
        default="auto",
        help="what is near in the depth files of --data (default: decided for each data set)",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for everything (default: runs/demo-seed0, or the like)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo in the folder")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes of each student over the training set, the teacher takes 5/3 of them (default: the recipe's; with "
        "--data, as many as take the same number of steps)",
    )
    parser.add_argument("--size", type=int, default=96, metavar="N", help="height and width in pixels (default: 96)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, print its scores, what they show, and where everything is."""
    from dynamic_kd.training import run_demo

    source = f"-{Path(arguments.data).resolve().name}" if arguments.data else ""
    folder = Path(arguments.out or f"runs/demo{source}-seed{arguments.seed}")
    with bars() as (progress, note):
        comparison, findings = run_demo(
            folder,
            data=arguments.data,
            near=arguments.near,
            size=arguments.size,
            epochs=arguments.epochs,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
            progress=progress,
            note=note,
        )
    print_table(_scores(comparison))
    for finding in findings:
        print()
        print_text(finding)
    print(f"\nIn {folder}:")
    width = max(map(len, _FILES))
    for name, content in _FILES.items():
        print(f"  {name:<{width}}  {content}")
    return 0


def _scores(comparison: Comparison) -> Table:
    """Return a row for each network, with the scores that papers print first."""
    from dynamic_kd.evaluation import Column, Table
    from dynamic_kd.metrics import SCORES

    table = Table(
        [Column("network")]
        + [Column(name, "score", "higher" if SCORES[name].higher_is_better else "lower") for name in _SHOWN]
    )
    for name, report in comparison.datasets["test"].reports.items():
        table.add_row(name, *(report[score] for score in _SHOWN), compared=name != "teacher")
    return table
