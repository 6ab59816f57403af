"""``dynamic-kd info``: what the networks cost, and what a file of weights says of itself."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd.cli._arguments import check_output, write_text
from dynamic_kd.cli._terminal import one_bar

if TYPE_CHECKING:
    from dynamic_kd.models import FPNStudent, Profile, RFBTeacher

_DESCRIPTION = """\
Print what the networks cost, in the columns of the paper's Table 2: size of
the float32 parameters in MiB (which papers call MB), floating point operations
of one image (a multiply-add counts as two; only convolutions count), and images
per second on this machine, with torch's own settings and one image at a time.

MODEL is student-vgg16, student-vgg19, student-tiny, teacher-vgg16,
teacher-vgg19, teacher-tiny (default: all of them), or a file of weights, of
which it also prints what is kept in it: the recipe, for example."""

_EPILOG = """\
Examples:
  dynamic-kd info
  dynamic-kd info student-vgg16 --size 352 --batch 8 --device cuda
  dynamic-kd info runs/demo-seed0/weights/teacher.safetensors --no-speed"""

_PAPER_SIZES = {"student-vgg16": "57.9", "student-vgg19": "78.2"}


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "info",
        help="size, operations and speed of the networks; what a file of weights is",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="network or file of weights (default: all networks)")
    parser.add_argument("--size", type=int, default=256, metavar="N", help="height and width (default: 256)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument(
        "--channels", type=int, choices=(3, 4), default=4, help="3: colour; 4: colour and depth (default)"
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: a GPU if any)"
    )
    parser.add_argument("--no-speed", action="store_true", help="leave out what takes time")
    parser.add_argument("--json", metavar="FILE", help="every digit, and the metadata of files, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the metadata."""
    require("torch", "rich", extra="train")
    from dynamic_kd.models import model_metadata, profile
    from dynamic_kd.models._profile import BUILT_IN, chosen_device

    device = chosen_device("meta" if arguments.no_speed else arguments.device)
    models = {name: _model(name, arguments.channels) for name in arguments.models or BUILT_IN}
    check_output("--json", arguments.json)
    profiles = {}
    with one_bar() as progress:
        for done, (name, model) in enumerate(models.items()):
            progress(f"measuring {name}", done, len(models))
            profiles[name] = profile(
                model.to(device), arguments.size, batch=arguments.batch, speed=not arguments.no_speed
            )
    metadata = {name: model_metadata(name) for name in models if name not in BUILT_IN}
    if arguments.json:
        content = {name: cost.as_dict() | {"metadata": metadata.get(name)} for name, cost in profiles.items()}
        write_text(arguments.json, json.dumps(content, indent=1) + "\n")
    _print(profiles)
    for name, words in metadata.items():
        _print_metadata(name, words)
    if arguments.json:
        print(f"\nwrote {arguments.json}")
    return 0


def _model(name: str, channels: int) -> FPNStudent | RFBTeacher:
    from dynamic_kd.models import load_model
    from dynamic_kd.models._profile import BUILT_IN

    if name in BUILT_IN:
        return BUILT_IN[name](channels)
    if not Path(name).exists():
        raise ValueError(f"expected a file of weights or one of {', '.join(BUILT_IN)}, got {name!r}")
    return load_model(name)


def _print(profiles: dict[str, Profile]) -> None:
    from rich import box
    from rich.table import Table

    from dynamic_kd.cli._terminal import terminal

    sheet = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    sheet.add_column("network", overflow="fold")
    for column in ("parameters", "MiB", "paper's", "GFLOPs", "images/s"):
        sheet.add_column(column, justify="right", no_wrap=True)
    for name, cost in profiles.items():
        speed = "-" if cost.fps is None else f"{cost.fps:.1f}"
        paper = _PAPER_SIZES.get(name, "-")
        sheet.add_row(name, f"{cost.parameters:,}", f"{cost.mebibytes:.1f}", paper, f"{cost.flops / 1e9:.2f}", speed)
    console = terminal()
    console.print(sheet)
    some = next(iter(profiles.values()))
    said = [f"Images of {some.size}x{some.size}; a multiply-add is two operations."]
    if some.device:
        said.append(f"Speed: {some.batch} at a time on {some.device}, median.")
    said.append("The paper's students: 136 images per second on a GTX TITAN X.")
    console.print(" ".join(said))


def _print_metadata(name: str, words: dict[str, Any]) -> None:
    """Print a file's metadata, settings within settings indented."""
    print(f"\n{name}:")
    for key, value in words.items():
        if isinstance(value, dict):
            print(f"  {key}:", *(f"    {part}: {_text(each)}" for part, each in value.items()), sep="\n")
        else:
            print(f"  {key}: {_text(value)}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
