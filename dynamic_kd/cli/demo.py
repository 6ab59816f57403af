"""``dynamic-kd demo``: the whole method at work, within minutes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dynamic_kd.cli._terminal import bars, print_table

_DESCRIPTION = """\
Train a teacher and four thin students, predict test images, and compare the
maps: cross-entropy alone, distilled with a fixed weight, with the dynamic
weight, and with the dynamic weight and noise elimination. This takes about
three minutes on two cores.

The default data is a synthetic RGB-D set, in which depth shows what is salient
and some depth maps are spoilt; --data takes your own. The demo is dynamic-kd
train, predict and compare over the recipe "demo", so its folder has what these
commands write. The noise report of the last student shows which training
samples noise elimination flags."""

_EPILOG = """\
Examples:
  dynamic-kd demo
  dynamic-kd demo --data datasets/DES --size 128 --out runs/des

A data set is a folder with the sub-folders RGB, depth and GT (or other common
names); DIR is one, or contains several. The same seed gives the same numbers on
the same machine."""

_FILES = {
    "comparison": "scores as tables, curves, pictures of each network's maps",
    "compare.toml": "the comparison, to repeat it with other settings",
    "runs/NETWORK": "weights, logs, noise report and figures of each training",
    "data": "the test images",
    "maps/NETWORK": "the saliency maps of the test images",
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
    """Run the demo, print its comparison and where everything is."""
    from dynamic_kd.evaluation import comparison_tables
    from dynamic_kd.training import run_demo

    source = f"-{Path(arguments.data).resolve().name}" if arguments.data else ""
    folder = Path(arguments.out or f"runs/demo{source}-seed{arguments.seed}")
    with bars() as (progress, note):
        comparison = run_demo(
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
    for table in comparison_tables(comparison):
        print_table(table)
        print()
    print(f"In {folder}:")
    width = max(map(len, _FILES))
    for name, content in _FILES.items():
        print(f"  {name:<{width}}  {content}")
    return 0
