"""The command ``dynamic-kd``: parse, call the library, print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dynamic_kd import __version__
from dynamic_kd.cli import compare, data, demo, evaluate, experiment, export, info, inspect, predict, train

_DESCRIPTION = """\
Dynamic knowledge distillation with noise elimination for RGB-D salient object
detection: score saliency maps as papers do, train networks by the method, and
see it at work."""

_EPILOG = """\
Start with:
  dynamic-kd demo
  dynamic-kd train cpu
  dynamic-kd evaluate --pred maps/ours --target DES/GT
  dynamic-kd compare DIR
  dynamic-kd data check DIR
  dynamic-kd info

Set DYNAMIC_KD_DEBUG=1 to see the traceback of an error."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command and its subcommands."""
    top = argparse.ArgumentParser(
        prog="dynamic-kd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"dynamic-kd {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    evaluate.add_parser(commands)
    compare.add_parser(commands)
    data.add_parser(commands)
    demo.add_parser(commands)
    train.add_parser(commands)
    experiment.add_parser(commands)
    inspect.add_parser(commands)
    predict.add_parser(commands)
    export.add_parser(commands)
    info.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on standard error and status 2."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("DYNAMIC_KD_DEBUG"):
            raise
        print(f"dynamic-kd: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dynamic-kd: interrupted", file=sys.stderr)
        return 130
