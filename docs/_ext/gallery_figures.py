"""Figures that an example makes without pyplot, as the library's own plots are made."""

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def figures(block, block_vars, gallery_conf):
    """Save the figures among the example's variables that no earlier block has shown."""
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and not getattr(value, "_shown", False):
            paths.append(next(block_vars["image_path_iterator"]))
            value.savefig(paths[-1], dpi=150)
            value._shown = True
    return figure_rst(paths, gallery_conf["src_dir"])
