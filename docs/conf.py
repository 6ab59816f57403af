"""Configuration of the documentation."""

import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE / "_figures")]

# What the reference describes and the examples import: without it, pages would silently be missing.
for needed in ("jax", "matplotlib", "onnx", "sphinx_gallery", "torch", "torchmetrics"):
    if not find_spec(needed):
        raise ModuleNotFoundError(f'the documentation needs {needed}: pip install -c constraints.txt -e ".[docs]"')

import dynamic_kd  # noqa: E402

project = "dynamic-kd"
author = "The dynamic-kd developers"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx's name)
release = dynamic_kd.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "array_libraries",
    "command_help",
    "local_mathjax",
    "names_of_the_package",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "_figures", "gallery/*.ipynb", "gallery/*.py", "gallery/*.md5"]
templates_path = ["_templates"]

autosummary_generate = True
autodoc_typehints = "none"
default_role = "py:obj"
nitpicky = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Every numbered script is run when the site is built, and its output and figures shown.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"/_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_figures.figures",),
    "notebook_extensions": set(),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 3600,  # seconds that differ from build to build tell a reader nothing
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

plot_basedir = "_figures"
plot_formats = [("svg", 100)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"svg.fonttype": "path", "savefig.transparent": True}
plot_apply_rcparams = True

# MathJax makes its x as high as the text's; its letters are the wider ones.
mathjax3_config = {"chtml": {"scale": 0.92}}

# Copied commands and sessions leave prompts and output behind.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "dynamic-kd"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "show_toc_level": 2,
}
html_sidebars = {"index": []}
html_show_sourcelink = False

# Addresses in the text are checked by `sphinx -b linkcheck`, where there is a network.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
