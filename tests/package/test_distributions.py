"""Wheel and sdist: what is in them, and that they can be built again bit by bit; ``nox -s build`` makes them."""

import os
import re
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
DIST, AGAIN = (os.environ.get(name) for name in ("DYNAMIC_KD_DIST", "DYNAMIC_KD_DIST_AGAIN"))
pytestmark = pytest.mark.skipif(not (DIST and AGAIN), reason="`nox -s build` makes distributions and runs these tests")


@pytest.fixture(scope="module")
def wheel():
    (path,) = Path(DIST).glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist():
    """Content of each file of the sdist."""
    (path,) = Path(DIST).glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}


def test_two_builds_are_the_same():
    first, second = ({path.name: path.read_bytes() for path in Path(place).iterdir()} for place in (DIST, AGAIN))
    assert sorted(Path(name).suffix for name in first) == [".gz", ".whl"]
    assert first == second


def tracked():
    """Files of the package as git knows them, new ones too; without git, all that the tree has."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "dynamic_kd"]
    try:
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in (ROOT / "dynamic_kd").rglob("*") if path.is_file()]
    return {name for name in names if name and "__pycache__" not in name and (ROOT / name).is_file()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(wheel.namelist())
    (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    own = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == tracked() | own
    assert {"dynamic_kd/py.typed", "dynamic_kd/training/recipes/cpu.toml"} <= names
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"dynamic-kd = dynamic_kd.cli:main" in wheel.read(f"{info}/entry_points.txt")


def test_both_say_the_same_of_the_package(wheel, sdist):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert wheel.read(name) == sdist["PKG-INFO"]
    said = message_from_bytes(sdist["PKG-INFO"])
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "MIT"
    assert said["Version"] == name.split("-")[1].removesuffix(".dist")
    core = [words for words in said.get_all("Requires-Dist") if "extra ==" not in words]
    assert sorted(words.partition(">")[0] for words in core) == ["array-api-compat", "numpy", "scipy"]


def test_the_readme_on_pypi_has_no_relative_links(sdist):
    text = message_from_bytes(sdist["PKG-INFO"]).get_payload()
    links = re.findall(r"\]\(([^)\s]+)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert f"({ADDRESS}/raw/main/docs/_static/teacher-maps.png)" in text
    assert f"({ADDRESS}/blob/main/docs/how-to/train.md)" in text


def test_a_release_has_the_repositorys_address(sdist):
    """Releases have versions such as 0.1.0; all others say how far they are from a tag."""
    said = message_from_bytes(sdist["PKG-INFO"])
    if re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", said["Version"]):
        assert "example.invalid" not in sdist["PKG-INFO"].decode(), (
            "pyproject.toml: replace https://example.invalid/dynamic-kd by the repository's address before a release"
        )
    assert {url.partition(",")[0] for url in said.get_all("Project-URL")} >= {"Repository", "Changelog", "Issues"}


def test_the_sdist_holds_all_that_a_developer_needs_and_nothing_made(sdist):
    assert tracked() <= set(sdist)
    for name in ("tests/conftest.py", "tests/golden/golden.json", "docs/conf.py", "noxfile.py", "RELEASING.md",
                 "CHANGELOG.md", "SECURITY.md", "LICENSE", "constraints-oldest.txt", "pyproject.toml"):  # fmt: skip
        assert name in sdist
    made = [name for name in sdist if any(part in name for part in ("__pycache__", "_build/", ".hypothesis", "runs/"))]
    assert made == []


def test_no_file_holds_a_path_of_the_machine_that_built_it(wheel, sdist):
    here = str(ROOT).encode()
    contents = {name: wheel.read(name) for name in wheel.namelist()} | sdist
    assert [name for name, content in contents.items() if here in content] == []
