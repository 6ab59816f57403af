"""The command ``dynamic-kd``: parse, call the library, print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dynamic_kd import __version__
from dynamic_kd.cli import compare, data, demo, evaluate, export, info, inspect, predict, train
from dynamic_kd.cli._arguments import Parser

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
  dynamic-kd predict runs/RUN/student-last.safetensors DIR --out MAPS
  dynamic-kd info

Set DYNAMIC_KD_DEBUG=1 to see the traceback of an error."""


# The status of a program that ends because nobody reads what it prints.
_SIGPIPE = 141
_WANTED = {
    PermissionError: "a file or folder that you may use",
    FileNotFoundError: "a path that exists",
    FileExistsError: "a folder",
    NotADirectoryError: "a folder",
    IsADirectoryError: "a file",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command and its subcommands."""
    top = Parser(prog="dynamic-kd", description=_DESCRIPTION, epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"dynamic-kd {__version__}")
    commands: Any = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    evaluate.add_parser(commands)
    compare.add_parser(commands)
    data.add_parser(commands)
    demo.add_parser(commands)
    train.add_parser(commands)
    inspect.add_parser(commands)
    predict.add_parser(commands)
    export.add_parser(commands)
    info.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on standard error and status 2."""
    try:
        try:
            arguments = parser().parse_args(argv)
            return int(arguments.run(arguments))
        finally:
            sys.stdout.flush()  # here, where something can be done about it
    except BrokenPipeError:  # `| head` has seen enough; Python would try to write the rest at its end
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("DYNAMIC_KD_DEBUG"):
            raise
        _say(f"error: {' '.join(_words(error).split())}")
        return 2
    except KeyboardInterrupt as stop:
        _say("; ".join(["interrupted", *map(str, stop.args)]))
        return 130


def _say(text: str) -> None:
    with suppress(BrokenPipeError):
        print(f"dynamic-kd: {text}", file=sys.stderr)


def _words(error: Exception) -> str:
    """Say what the system refused, where it does not say what was expected."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return str(error)
    wanted = next((words for kind, words in _WANTED.items() if isinstance(error, kind)), None)
    said = f"expected {wanted}, got: {error.strerror}; name another" if wanted else error.strerror
    return f"{error.filename2 or error.filename}: {said}"
