"""``dynamic-kd demo``: the whole method at work, within minutes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._tables import rounded
from dynamic_kd.cli._terminal import bars

if TYPE_CHECKING:
    from dynamic_kd.training import DemoResult, DemoSettings

_SCORES = ("MAE", "maxF", "wF", "Sm", "maxE")
_DESCRIPTION = """\
Train a teacher and four thin students and compare them: cross-entropy alone,
distilled with a fixed weight, with the dynamic weight, and with the dynamic
weight and noise elimination. It takes about three minutes on two cores.

The data is a synthetic RGB-D set made in memory, in which depth tells what is
salient and some depth maps are spoilt; with --data it is yours. The scores,
curves, pictures, weights and maps go to a run folder, and with them the noise
report: which training depth maps the teacher does not trust."""

_EPILOG = """\
Examples:
  dynamic-kd demo
  dynamic-kd demo --data datasets/DES --size 128 --out runs/des

A data set is a folder with the sub-folders RGB, depth and GT (or other common
names); DIR is one, or holds several. The same seed gives the same numbers on
the same machine."""


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
    parser.add_argument("--out", metavar="DIR", help="run folder (default: runs/demo-seed0, or the like)")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in the run folder")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes of each student over the training set, the teacher's are 5/3 of it (default: 12; with --data, "
        "what amounts to as many steps)",
    )
    parser.add_argument("--size", type=int, default=96, metavar="N", help="pixels across (default: 96)")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="networks trained at once, each on one core (default: 2)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, print the table, write the run folder."""
    from dynamic_kd.training import run_demo
    from dynamic_kd.training._demo_folder import prepare, write

    settings = _settings(arguments)
    folder = Path(arguments.out or _default_folder(arguments))
    prepare(folder, overwrite=arguments.overwrite)
    with bars() as (progress, note):
        result = run_demo(settings, progress, workers=arguments.workers, note=note)
    write(folder, result)
    _print(result, folder)
    return 0


def _settings(arguments: argparse.Namespace) -> DemoSettings:
    from dynamic_kd.training import DemoSettings

    recipe = DemoSettings().recipe
    data = replace(recipe.data, size=arguments.size)
    if arguments.data is not None:
        data = replace(data, source="folders", root=arguments.data, train=(".",), near=arguments.near)
    recipe = replace(recipe, seed=arguments.seed, data=data)
    if arguments.epochs is not None:
        recipe = recipe.with_epochs(arguments.epochs)
    return DemoSettings(recipe=recipe, fit_epochs=arguments.data is not None and arguments.epochs is None)


def _default_folder(arguments: argparse.Namespace) -> str:
    source = f"-{Path(arguments.data).resolve().name}" if arguments.data else ""
    return f"runs/demo{source}-seed{arguments.seed}"


def _print(result: DemoResult, folder: Path) -> None:
    """Print the main scores, what to know of them, and where the rest is."""
    from rich import box
    from rich.table import Table

    from dynamic_kd.cli._terminal import terminal
    from dynamic_kd.training._demo_folder import FILES, sentences

    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    sheet.add_column("scores on the test set", no_wrap=True)
    depths = list(next(iter(result.by_depth.values()), ()))
    for column in (*_SCORES, *depths):
        sheet.add_column(column, justify="right", no_wrap=True)
    for name, report in result.reports.items():
        parts = [result.by_depth[name][depth]["maxF"] for depth in depths]
        sheet.add_row(name, *map(rounded, (*(report[score] for score in _SCORES), *parts)))
    console = terminal()
    console.print(sheet)
    if depths:
        console.print(f"{' and '.join(depths)}: maxF on the samples with such depth")
    for sentence in sentences(result):
        console.print(sentence)
    console.print(f"\nIn {folder}:")
    width = max(map(len, FILES))
    for name, content in FILES.items():
        console.print(f"  {name:<{width}}  {content}")
