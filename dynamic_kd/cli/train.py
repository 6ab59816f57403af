"""``dynamic-kd train``: a teacher and its student from a recipe, in one command that can be stopped and resumed."""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd.cli._terminal import bars, print_listing

if TYPE_CHECKING:
    from dynamic_kd.training import Recipe

_SCORES = ("MAE", "maxF", "wF", "Sm", "maxE")
_DESCRIPTION = """\
Train a teacher (stage 1) and distil it into a student (stage 2), by a recipe in
TOML. RECIPE is a file, or the name of a bundled recipe (see --list). --set
changes any setting. Paths in a file are relative to the file, and those on the
command line to the current folder.

The run folder holds the recipe with all settings, weights (safetensors, last
and best), logs (CSV and TensorBoard), the loss terms of each sample, and their
figures. --resume continues an interrupted run after its last finished epoch,
with bit-identical weights; after a crash it starts from the last checkpoint.

Images are decoded once, into arrays in $DYNAMIC_KD_CACHE or your cache folder."""

_EPILOG = """\
Examples:
  dynamic-kd train cpu
  dynamic-kd train paper-vgg16 --data datasets --set seed=1 loss.weighting=0.5
  dynamic-kd train my-recipe.toml --set training.epochs=2 --out runs/try
  dynamic-kd train --resume runs/try

On several GPUs or machines, use Accelerate's launcher or torchrun; processes
share each batch, and the result equals that of one process:
  torchrun --nproc-per-node 2 -m dynamic_kd.cli train paper-vgg16 --data DIR"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "train",
        help="train a teacher and distil it into a student by a recipe",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="TOML file, or a recipe's name")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SETTING=VALUE",
        help="settings that replace the recipe's, as training.epochs=2; without VALUE, the default",
    )
    parser.add_argument("--data", metavar="DIR", help="the folder of the recipe's data sets (data.root)")
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME-seedN)")
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument("--cpu", action="store_true", help="use the CPU even if there is a GPU")
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time from one checkpoint to the next; 0 writes one after every epoch (default: 30)",
    )
    parser.add_argument("--list", action="store_true", help="list the bundled recipes")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the scores."""
    from dynamic_kd.training import bundled_recipes

    if arguments.list:
        print_listing(bundled_recipes())
        return 0
    if "" not in sys.path:  # a teacher may be a module in the current folder
        sys.path.insert(0, "")
    atexit.register(_leave_processes)
    try:
        return _train(arguments)
    except (ValueError, OSError, ModuleNotFoundError):
        if _another_process_reports():
            return 2
        raise


def _train(arguments: argparse.Namespace) -> int:
    from dynamic_kd.training import train

    recipe, folder = _recipe_and_folder(arguments)
    try:
        with bars(shown=_is_first_process()) as (progress, note):
            results = train(
                recipe,
                folder,
                resume=arguments.resume is not None,
                overwrite=arguments.overwrite,
                cpu=arguments.cpu,
                checkpoint_every=arguments.checkpoint_every,
                progress=progress,
                note=note,
            )
    except KeyboardInterrupt:
        _print_error(f"interrupted{_how_to_resume(folder, cpu=arguments.cpu)}")
        return 130
    except (OSError, MemoryError) as error:
        if how := _how_to_resume(folder, cpu=arguments.cpu):
            _print_error(f"ended early{how}")
        if isinstance(error, OSError):
            raise
        # Each process prints this, because its GPU may be the only full one.
        print(f"dynamic-kd: error: {error}", file=sys.stderr)
        return 2
    if _is_first_process():
        _print(results, folder)
    return 0


def _recipe_and_folder(arguments: argparse.Namespace) -> tuple[Recipe, Path]:
    from dynamic_kd.training import read_recipe

    if arguments.resume is not None:
        given = [name for name in ("recipe", "data", "out", "set", "overwrite") if getattr(arguments, name)]
        if given:
            raise ValueError(f"--resume: takes the run's own recipe; leave out {', '.join(given)}")
        if not Path(arguments.resume, "recipe.toml").is_file():
            raise ValueError(f"{arguments.resume}: holds no run (recipe.toml is missing); name a run folder to resume")
        return read_recipe(arguments.resume), Path(arguments.resume)
    if arguments.recipe is None:
        raise ValueError("RECIPE is missing; dynamic-kd train --list names the bundled ones")
    data = [] if arguments.data is None else [f"data.root={Path(arguments.data).resolve()}"]
    recipe = read_recipe(arguments.recipe, [*data, *arguments.set])
    return recipe, Path(arguments.out or f"runs/{recipe.name}-seed{recipe.seed}")


def _how_to_resume(folder: Path, *, cpu: bool) -> str:
    """Return the end of a message that tells how to resume a run, if it has begun."""
    if not (folder / "recipe.toml").is_file():
        return ""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    command = f"train --resume {shlex.quote(str(folder))}{' --cpu' if cpu else ''}"
    return f"; resume it with the same launcher and: {command}" if launched else f"; resume it: dynamic-kd {command}"


def _print_error(text: str) -> None:
    if _is_first_process():
        print(f"dynamic-kd: {text}", file=sys.stderr)


def _another_process_reports() -> bool:
    """Tell whether the first process prints an error of all: of a run, or of this computer before processes connect."""
    return not _is_first_process() if _is_connected() else os.environ.get("LOCAL_RANK", "0") != "0"


def _is_connected() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _leave_processes() -> None:
    """Disconnect from the other processes; torch warns at exit otherwise."""
    import torch

    if _is_connected():
        torch.distributed.destroy_process_group()


def _is_first_process() -> bool:
    """Tell whether this is the process that prints; launchers number them."""
    return os.environ.get("RANK", "0") == "0"


def _print(results: dict[str, Any], folder: Path) -> None:
    """Print the scores on the validation set, and where everything is."""
    from dynamic_kd.cli._terminal import print_table
    from dynamic_kd.evaluation import Column, Table

    table = Table(["scores on the validation set", "epoch", *(Column(score, "score") for score in _SCORES)])
    for name, found in results["results"].items():
        for which, facts in found.items():
            if "scores" in facts:
                table.add_row(f"{name}, {which}", facts["epoch"], *(facts["scores"][score] for score in _SCORES))
    if len(table):
        print_table(table)
    names = [f"{name}-last.safetensors" for name in results["results"]]
    weights = f"the weights {names[-1]}" if names else "no weights any more"
    print(f"\nIn {folder}: {weights}, {results['seconds']:.0f} seconds.")
    if names:
        print(f"Next: dynamic-kd predict {shlex.quote(str(folder / names[-1]))} DIR --out MAPS")
