"""The bounds of dependencies that pyproject.toml names are the versions that are tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN_TIME = ("eval", "export", "jax", "torchmetrics", "train")
# Its oldest is tested on the machine with GPUs.
ELSEWHERE = {"torch"}


def pinned(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def bounds():
    """Lower bound of everything that a user may come to install."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(each for extra in RUN_TIME for each in extras[extra])]
    return dict(re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", each).groups() for each in wanted if "[" not in each)


@pytest.mark.parametrize("name", sorted(bounds().keys() - ELSEWHERE))
def test_the_oldest_version_is_the_bound(name):
    """At the bound's precision: 4.10.0.82 is the oldest 4.10."""
    bound, oldest = bounds()[name].split("."), pinned("constraints-oldest.txt")[name].split(".")
    assert oldest[: len(bound)] == bound


def test_nothing_is_bounded_from_above():
    every = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]
    assert [each for each in every if re.search(r"<|==(?!\s*')|~=", each.partition(";")[0])] == []


def test_one_torch_is_installed_everywhere():
    assert pinned("constraints-oldest.txt")["torch"] == pinned("constraints.txt")["torch"]


def test_the_pythons_that_are_declared_are_those_of_nox():
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert f"PYTHONS = {declared}".replace("'", '"') in (ROOT / "noxfile.py").read_text(encoding="utf-8")
