"""A figure as the bytes of a file."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What matplotlib says, with a line of source, of names in a script that its font lacks; boxes stand in their place.
_NO_GLYPH = r"Glyph \d+ |Matplotlib currently does not support "


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file of a kind, such as ``"png"``; a font without some letter is no matter for a warning."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _NO_GLYPH, UserWarning)
        figure.savefig(content, format=kind)
    return content.getvalue()
