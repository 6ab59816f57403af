"""The sources of the documentation: nothing public is missing, and nothing is said twice."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from dynamic_kd.cli import parser

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = {
    "losses": "losses",
    "metrics": "metrics",
    "torch": "torch",
    "compat.py_sod_metrics": "py-sod-metrics",
    "evaluation": "evaluation",
    "data": "data",
    "models": "models",
    "training": "training",
}
BUILT = ("_build", "generated", "gallery")  # by Sphinx
# Other names of classes that the page lists.
ALIASES = {"SensitivityHandler", "TPRHandler", "TNRHandler"}


def listed(page):
    """Return the names in the page's tables, and those that it describes itself."""
    text = (REFERENCE / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"   :toctree: generated\n\n((?:   \w+\n)+)", text)
    return [name for block in blocks for name in block.split()] + re.findall(r"^\.\. py:data:: (\w+)$", text, re.M)


def public(package):
    """Return the names that a package exports: its ``__all__``, or what it imports ``as`` itself."""
    source = (ROOT / "dynamic_kd" / package.replace(".", "/") / "__init__.py").read_text("utf-8")
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname}
    return names - ALIASES


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name_once(package):
    assert sorted(listed(PACKAGES[package])) == sorted(public(package))


def commands(top, path=""):
    """Yield every command and subcommand of a parser."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield f"{path}{name}"
                yield from commands(sub, f"{path}{name} ")


def test_the_reference_has_every_command():
    text = (REFERENCE / "command-line.md").read_text("utf-8")
    assert re.findall(r"```\{command-help\} (.+)", text) == list(commands(parser()))


def test_no_paragraph_is_said_twice():
    places = {}
    pages = [path for path in sorted((ROOT / "docs").rglob("*.md")) if not {*path.parts} & {*BUILT}]
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages]:
        prose = re.sub(r"^(```+|:::+).*?^\1", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n", prose):
            words = re.findall(r"\w+", paragraph)
            for start in range(len(words) - 24):
                places.setdefault(tuple(words[start : start + 25]), set()).add(str(path.relative_to(ROOT)))
    twice = {" and ".join(sorted(files)): " ".join(words) for words, files in places.items() if len(files) > 1}
    assert twice == {}


def test_headings_of_docstrings_stand_on_lines_of_their_own():
    """A heading that was wrapped into a paragraph is no heading any more."""
    wrapped = re.compile(r"\b(Parameters|Attributes|Returns|Raises|Notes|References|Examples) +-{3}")
    for path in sorted((ROOT / "dynamic_kd").rglob("*.py")):
        assert not wrapped.search(path.read_text("utf-8")), path
