"""``dynamic-kd train``: a teacher and its student from a recipe, in one command that can be stopped and resumed."""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._tables import rounded
from dynamic_kd.cli._terminal import bars, print_listing

if TYPE_CHECKING:
    from dynamic_kd.training import Recipe

_SCORES = ("MAE", "maxF", "wF", "Sm", "maxE")
_DESCRIPTION = """\
Train a teacher (stage 1) and distil it into a student (stage 2), as a recipe in
TOML says. RECIPE is a file, or the name of one that comes with the package:
see --list. Any setting can be changed on the command line. Paths in a file are
relative to it, those on the command line to where it runs.

The run folder holds the recipe with all settings, weights (safetensors, last
and best), logs (CSV and TensorBoard), what the loss saw of each sample, and
figures of it. A run that was stopped, at any moment, goes on with --resume
after the last epoch it finished, and ends with the same weights; one that was
killed, or lost its machine, does again what its last checkpoint does not have."""

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
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time from one checkpoint to the next; 0 for one after every epoch (default: 30)",
    )
    parser.add_argument("--list", action="store_true", help="list the recipes that come with the package")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the scores."""
    from dynamic_kd.training import bundled_recipes

    if arguments.list:
        print_listing(bundled_recipes())
        return 0
    if "" not in sys.path:  # teachers may be modules where the command runs
        sys.path.insert(0, "")
    atexit.register(_leave_processes)
    try:
        return _train(arguments)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if _is_said_elsewhere(error):
            return 2
        raise


def _train(arguments: argparse.Namespace) -> int:
    from dynamic_kd.training import train
    from dynamic_kd.training._memory import is_out_of_memory

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
        _say(f"interrupted{_way_on(folder, cpu=arguments.cpu)}")
        return 130
    except OSError:
        _say_ended_early(folder, cpu=arguments.cpu)
        raise
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        # Maybe of this process alone, which then has to say it.
        _say_ended_early(folder, cpu=arguments.cpu)
        mend = (
            "lower training.batch_size or data.size, raise training.accumulation, try precision=bf16, or end what else "
            "is on the GPU"
        )
        print(f"dynamic-kd: error: the GPU's memory is too small for this recipe; {mend}", file=sys.stderr)
        return 2
    if _is_first_process():
        _print(results, folder)
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


def _way_on(folder: Path, *, cpu: bool) -> str:
    """Say how a run goes on that has ended early, if it had begun."""
    if not (folder / "recipe.toml").is_file():
        return ""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    command = "train" if launched else "dynamic-kd train"
    words = f"{command} --resume {shlex.quote(str(folder))}{' --cpu' if cpu else ''}"
    return f"; go on, after the last epoch that was kept, with{' the same launcher and' if launched else ''}: {words}"


def _say_ended_early(folder: Path, *, cpu: bool) -> None:
    if way_on := _way_on(folder, cpu=cpu):
        _say(f"ended early{way_on}")


def _say(text: str) -> None:
    if _is_first_process():
        print(f"dynamic-kd: {text}", file=sys.stderr)


def _is_said_elsewhere(error: Exception) -> bool:
    """Tell whether another process says what is wrong: it was wrong there, or is wrong in all of a computer's."""
    import torch

    from dynamic_kd.training._processes import ElsewhereError

    connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    return isinstance(error, ElsewhereError) or (not connected and os.environ.get("LOCAL_RANK", "0") != "0")


def _leave_processes() -> None:
    """Take leave of the other processes, or torch complains at the end."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_first_process() -> bool:
    """Tell whether this is the one of several processes that prints; launchers number them."""
    return os.environ.get("RANK", "0") == "0"


def _print(results: dict[str, Any], folder: Path) -> None:
    """Print the scores on the validation set, and where everything is."""
    from rich import box
    from rich.table import Table

    from dynamic_kd.cli._terminal import terminal

    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    sheet.add_column("scores on the validation set", no_wrap=True)
    for column in ("epoch", *_SCORES):
        sheet.add_column(column, justify="right", no_wrap=True)
    for name, found in results["results"].items():
        for which, facts in found.items():
            if "scores" in facts:
                cells = (rounded(facts["scores"][score]) for score in _SCORES)
                sheet.add_row(f"{name}, {which}", str(facts["epoch"]), *cells)
    console = terminal(soft_wrap=True)
    if sheet.row_count:
        console.print(sheet)
    names = [f"{name}-last.safetensors" for name in results["results"]]
    weights = f"the weights {names[-1]}" if names else "no weights any more"
    console.print(f"\nIn {folder}: {weights}, {results['seconds']:.0f} seconds.")
    if names:
        console.print(f"Next: dynamic-kd predict {shlex.quote(str(folder / names[-1]))} DIR --out MAPS")
