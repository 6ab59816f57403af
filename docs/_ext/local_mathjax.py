"""MathJax from the site itself, so that formulas need no network."""

from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

from sphinx.util.fileutil import copy_asset

# The package's own extension would copy all of MathJax, twenty times as much.
LOADER = "tex-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def copy_mathjax(app, error):
    if error or app.builder.format != "html":
        return
    source = Path(find_spec("sphinx-mathjax-offline").submodule_search_locations[0], "static", "mathjax")
    destination = Path(app.outdir, "_static", "mathjax")
    copytree(source / FONTS, destination / FONTS, dirs_exist_ok=True)
    copy_asset(source / LOADER, destination)


def setup(app):
    app.config.mathjax_path = f"mathjax/{LOADER}"
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
