"""Figures as files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dynamic_kd._files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What matplotlib says, with a line of source, of names in a script that its font lacks; boxes stand in their place.
_NO_GLYPH = r"Glyph \d+ |Matplotlib currently does not support "


def write_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure, whole or not at all, in the format that the file's name says (PNG without a suffix)."""
    write_whole(path, figure_bytes(figure, Path(path).suffix[1:].lower() or "png"))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file of a kind, such as ``"png"``; a font without some letter is no matter for a warning."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _NO_GLYPH, UserWarning)
        figure.savefig(content, format=kind)
    return content.getvalue()
