"""The colours of figures, and figures as files."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which readers with colour blindness can tell apart, and dashes for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
# matplotlib warns of names in a script that its font lacks; it draws boxes in their place.
_NO_GLYPH = r"Glyph \d+ |Matplotlib currently does not support "


def line_style(index: int) -> dict[str, Any]:
    """Return the colour and dashes of a figure's line; the first 28 lines all differ."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def write_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure, completely or not at all, in the format of the file's suffix (PNG without one)."""
    write_whole(path, figure_bytes(figure, Path(path).suffix[1:].lower() or "png"))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as the content of a file of a kind such as ``"png"``, without warnings about missing glyphs."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _NO_GLYPH, UserWarning)
        figure.savefig(content, format=kind)
    return content.getvalue()
