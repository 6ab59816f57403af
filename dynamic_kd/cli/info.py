"""``dynamic-kd info``: what the networks cost, and what a file of weights holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd._files import write_whole
from dynamic_kd._tables import Column, Table
from dynamic_kd.cli._arguments import check_output
from dynamic_kd.cli._terminal import one_bar

if TYPE_CHECKING:
    import torch

    from dynamic_kd.models import FPNStudent, Profile, RFBTeacher

_DESCRIPTION = """\
Print what the networks cost, in the columns of the paper's Table 2: size of
the float32 parameters in MiB (which papers call MB), floating point operations
of one image (a multiply-add counts as two; only convolutions count), and images
per second on this machine, with torch's default settings, one image at a time.

MODEL is student-vgg16, student-vgg19, student-tiny, teacher-vgg16,
teacher-vgg19, teacher-tiny (default: all of them), or a file of weights. For a
file it also prints the metadata, such as the recipe."""

_EPILOG = """\
Examples:
  dynamic-kd info
  dynamic-kd info student-vgg16 --size 352 --batch 8 --device cuda
  dynamic-kd info runs/demo-seed0/weights/teacher.safetensors --no-speed"""

_PAPER_SIZES = {"student-vgg16": 57.9, "student-vgg19": 78.2}


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "info",
        help="size, operations and speed of the networks; metadata of a file of weights",
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
    parser.add_argument("--no-speed", action="store_true", help="do not measure the speed")
    parser.add_argument("--json", metavar="FILE", help="every digit, and the metadata of files, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the metadata."""
    require("torch", "rich", extra="train")
    from dynamic_kd.cli._terminal import print_table
    from dynamic_kd.models import NETWORKS, model_metadata, profile

    device = _device("meta" if arguments.no_speed else arguments.device)
    models = {name: _model(name, arguments.channels) for name in arguments.models or NETWORKS}
    check_output("--json", arguments.json)
    profiles = {}
    with one_bar() as progress:
        for done, (name, model) in enumerate(models.items()):
            progress(f"measuring {name}", done, len(models))
            profiles[name] = profile(
                model.to(device), arguments.size, batch=arguments.batch, speed=not arguments.no_speed
            )
    metadata = {name: model_metadata(name) for name in models if name not in NETWORKS}
    if arguments.json:
        content = {name: cost.as_dict() | {"metadata": metadata.get(name)} for name, cost in profiles.items()}
        write_whole(arguments.json, (json.dumps(content, indent=1) + "\n").encode())
    print_table(_table(profiles))
    for name, words in metadata.items():
        _print_metadata(name, words)
    if arguments.json:
        print(f"\nwrote {arguments.json}")
    return 0


def _model(name: str, channels: int) -> FPNStudent | RFBTeacher:
    from dynamic_kd.models import NETWORKS, load_model

    if name in NETWORKS:
        return NETWORKS[name](channels)
    if not Path(name).exists():
        raise ValueError(f"expected a file of weights or one of {', '.join(NETWORKS)}, got {name!r}")
    return load_model(name)


def _device(name: str) -> torch.device:
    """Return the device of a name. ``"auto"`` is a GPU if there is one, else the CPU."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        first = str(error).partition("\n")[0]
        raise ValueError(f"device: expected auto, cpu, cuda or another of torch's, got {name!r} ({first})") from error
    return device


def _table(profiles: dict[str, Profile]) -> Table:
    some = next(iter(profiles.values()))
    notes = [f"Images of {some.size}x{some.size}. A multiply-add is two operations."]
    if some.device:
        notes.append(f"Speed: {some.batch} at a time on {some.device}, median.")
    notes.append("The paper's students: 136 images per second on a GTX TITAN X.")
    formats = {"parameters": ",", "MiB": ".1f", "paper's": ".1f", "GFLOPs": ".2f", "images/s": ".1f"}
    table = Table(["network", *(Column(name, form) for name, form in formats.items())], notes=notes)
    for name, cost in profiles.items():
        paper = _PAPER_SIZES.get(name)
        table.add_row(name, cost.parameters, cost.mebibytes, paper, cost.flops / 1e9, cost.fps)
    return table


def _print_metadata(name: str, words: dict[str, Any]) -> None:
    """Print a file's metadata, nested settings indented."""
    print(f"\n{name}:")
    for key, value in words.items():
        if isinstance(value, dict):
            print(f"  {key}:", *(f"    {part}: {_text(each)}" for part, each in value.items()), sep="\n")
        else:
            print(f"  {key}: {_text(value)}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
