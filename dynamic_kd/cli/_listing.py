"""Names and what they stand for, one below the other."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping


def print_listing(described: Mapping[str, str]) -> None:
    """Print a line for each name; on a terminal, what is longer goes on below its beginning."""
    indent = max(map(len, described)) + 2
    width = max(shutil.get_terminal_size().columns, indent + 20) if sys.stdout.isatty() else sys.maxsize
    for name, text in described.items():
        print(textwrap.fill(f"{name:<{indent}}{text}", width, subsequent_indent=" " * indent))
