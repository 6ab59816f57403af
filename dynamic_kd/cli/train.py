"""``dynamic-kd train``: a teacher and its student from a recipe, in one command that can be stopped and resumed."""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd.metrics._tables import rounded

if TYPE_CHECKING:
    from dynamic_kd.training import Recipe

_SCORES = ("MAE", "maxF", "wF", "Sm", "maxE")
_DESCRIPTION = """\
Train a teacher (stage 1) and distil it into a student (stage 2), as a recipe in
TOML says. RECIPE is a file, or the name of one that comes with the package:
see --list. Any setting can be changed on the command line.

The run folder holds the recipe with all settings, weights (safetensors, last
and best), logs (CSV and TensorBoard), what the loss saw of each sample, and
figures of it. A run that was stopped, at any moment, goes on with --resume
after the last epoch it finished, and ends with the same weights."""

_EPILOG = """\
Examples:
  dynamic-kd train cpu
  dynamic-kd train paper-vgg16 --data datasets --set seed=1 loss.weighting=0.5
  dynamic-kd train my-recipe.toml --set training.epochs=2 --out runs/try
  dynamic-kd train --resume runs/try

On several GPUs or machines, start it by Accelerate's launcher or torchrun; the
processes share each batch, and the result is that of one:
  torchrun --nproc-per-node 2 -m dynamic_kd.cli train paper-vgg16 --data DIR"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "train",
        help="train a teacher and distil it into a student, as a recipe says",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="TOML file, or a recipe's name")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SETTING=VALUE",
        help="settings that replace the recipe's, as training.epochs=2; without VALUE, the setting's default",
    )
    parser.add_argument("--data", metavar="DIR", help="the folder that the recipe's data sets lie in (data.root)")
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME-seedN)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run that this folder holds")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that the folder holds")
    parser.add_argument("--cpu", action="store_true", help="use the CPU even if there is a GPU")
    parser.add_argument("--list", action="store_true", help="list the recipes that come with the package")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the scores."""
    from dynamic_kd.training import bundled_recipes, train

    if arguments.list:
        width = max(map(len, bundled_recipes()))
        for name, text in bundled_recipes().items():
            print(f"{name:<{width}}  {text}")
        return 0
    if "" not in sys.path:  # teachers may be modules where the command runs
        sys.path.insert(0, "")
    recipe, folder = _recipe_and_folder(arguments)
    with _hint(folder), _progress() as (progress, note):
        results = train(
            recipe,
            folder,
            resume=arguments.resume is not None,
            overwrite=arguments.overwrite,
            cpu=arguments.cpu,
            progress=progress,
            note=note,
        )
    if _is_first_process():
        _print(results, folder)
    atexit.register(_leave_processes)
    return 0


def _recipe_and_folder(arguments: argparse.Namespace) -> tuple[Recipe, Path]:
    from dynamic_kd.training import read_recipe, resumable

    if arguments.resume is not None:
        given = [name for name in ("recipe", "data", "out", "set", "overwrite") if getattr(arguments, name)]
        if given:
            raise ValueError(f"--resume: expected the run's folder alone, got {', '.join(given)} as well; leave it out")
        return resumable(arguments.resume), Path(arguments.resume)
    if arguments.recipe is None:
        raise ValueError("expected a RECIPE, got none; dynamic-kd train --list names those that come with the package")
    data = [] if arguments.data is None else [f"data.root={Path(arguments.data).resolve()}"]
    recipe = read_recipe(arguments.recipe, [*data, *arguments.set])
    return recipe, Path(arguments.out or f"runs/{recipe.name}-seed{recipe.seed}")


@contextmanager
def _hint(folder: Path) -> Iterator[None]:
    """Say how a run goes on that was interrupted, or could no longer write."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        if _is_first_process() and (folder / "recipe.toml").is_file():
            command = f"dynamic-kd train --resume {shlex.quote(str(folder))}"
            print(f"dynamic-kd: the run goes on, after the last epoch it finished, with: {command}", file=sys.stderr)
        raise


def _leave_processes() -> None:
    """Take leave of the other processes, or torch complains at the end."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_first_process() -> bool:
    """Tell whether this is the one of several processes that prints; launchers number them."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[str], None]]]:
    """Show a bar for each step, and notes above them."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with Progress(*columns, disable=not _is_first_process()) as bars:

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield progress, lambda text: bars.console.print(f"note: {text}", highlight=False, markup=False)


def _print(results: dict[str, Any], folder: Path) -> None:
    """Print the scores on the validation set, and where everything is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    sheet.add_column("scores on the validation set", no_wrap=True)
    for column in ("epoch", *_SCORES):
        sheet.add_column(column, justify="right", no_wrap=True)
    for name, found in results["results"].items():
        for which, facts in found.items():
            if "scores" in facts:
                cells = (rounded(facts["scores"][score]) for score in _SCORES)
                sheet.add_row(f"{name}, {which}", str(facts["epoch"]), *cells)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if sheet.row_count:
        console.print(sheet)
    last = f"{list(results['results'])[-1]}-last.safetensors"
    console.print(f"\nIn {folder}: the weights {last}, {results['seconds']:.0f} seconds.")
    weights = shlex.quote(str(folder / last))
    console.print(f"Next: dynamic-kd predict {weights} DIR --out MAPS")
