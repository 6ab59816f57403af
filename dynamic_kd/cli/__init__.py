"""The command ``dynamic-kd``: parse, call the library, print."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dynamic_kd import __version__
from dynamic_kd._files import ESCAPED
from dynamic_kd.cli import compare, data, demo, evaluate, export, info, inspect, predict, train
from dynamic_kd.cli._arguments import Parser

_DESCRIPTION = """\
Dynamic knowledge distillation with noise elimination for RGB-D salient object
detection: score saliency maps as papers do, train networks with the method, and
see it work on a small data set."""

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


# Exit status of a program that ends because the reader of its output has closed the pipe.
_SIGPIPE = 141
# Errors about a path that another path avoids.
_OF_THE_PATH = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command and its subcommands."""
    top = Parser(prog="dynamic-kd", description=_DESCRIPTION, epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"dynamic-kd {__version__}")
    commands: Any = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (evaluate, compare, data, demo, train, inspect, predict, export, info):
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake gives one line on standard error and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)  # a name must not end a command whose work is done
    try:
        try:
            arguments = parser().parse_args(argv)
            return int(arguments.run(arguments))
        finally:
            sys.stdout.flush()  # here, where an error can still be handled
    except BrokenPipeError:  # as from `| head`; without this, Python would try to write the rest when it exits
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("DYNAMIC_KD_DEBUG"):
            raise
        _print_error(f"error: {' '.join(_message(error).split())}")
        return 2
    except KeyboardInterrupt as stop:
        _print_error("; ".join(["interrupted", *map(str, stop.args)]))
        return 130


def _print_error(text: str) -> None:
    with suppress(BrokenPipeError):
        print(f"dynamic-kd: {text}", file=sys.stderr)


def _message(error: Exception) -> str:
    """Return an error's message; for one from the operating system, begin with the path that the user knows."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return str(error)
    fix = "; check the path" if isinstance(error, _OF_THE_PATH) else ""
    return f"{error.filename2 or error.filename}: {error.strerror}{fix}"
