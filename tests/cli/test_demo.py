"""``dynamic-kd demo`` as its users call it."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tomli_w", reason="tomli_w is not installed")

from dynamic_kd import training
from dynamic_kd.cli import main
from dynamic_kd.training import _demo, read_recipe

MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"
FEW = {"data.train_count": 12, "data.validation_count": 6}


@pytest.fixture
def demo(monkeypatch, tmp_path, one_thread):
    """Run the command in an empty folder on a few small samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_demo, "read_recipe", lambda recipe, settings=None: read_recipe(recipe, FEW | (settings or {})))

    def run(*arguments):
        return main(["demo", "--size", "32", "--epochs", "1", *arguments])

    return run


def test_the_default_folder_and_what_is_printed(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert demo("--seed", "5") == 0
    out, err = capsys.readouterr()
    assert "dynamic weight + noise elimination" in out
    assert "7 of the teacher's 12 training maps were swapped. Noise elimination flags" in " ".join(out.split())
    assert "In runs/demo-seed5:" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "fixed weight: student: 2/2" in err
    assert (tmp_path / "runs" / "demo-seed5" / "comparison" / "scores.md").is_file()
    assert read_recipe(tmp_path / "runs" / "demo-seed5" / "runs" / "teacher").seed == 5


def test_the_options_reach_the_demo(monkeypatch, tmp_path):
    seen = []

    def remember(folder, **settings):
        seen.append((folder, settings))
        raise ValueError("enough")

    monkeypatch.setattr(training, "run_demo", remember)
    options = ["--near", "dark", "--size", "64", "--seed", "2", "--epochs", "6", "--overwrite"]
    assert main(["demo", "--data", "DES", *options]) == 2
    [(folder, settings)] = seen
    assert folder == Path("runs/demo-DES-seed2")
    expected = {"data": "DES", "near": "dark", "size": 64, "epochs": 6, "seed": 2, "overwrite": True}
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: expected a folder, got no such folder"),
        (["--epochs", "0"], "epochs: expected a whole number of at least 1, got 0"),
        (["--size", "16"], "size: expected a whole number of at least 32, got 16"),
        (["--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["--out", "filled"], "filled: is not empty; name another folder, or replace an earlier demo (--overwrite)"),
    ],
)
def test_mistakes_are_one_line_and_status_2(demo, tmp_path, capsys, arguments, message):
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "notes.txt").touch()
    assert demo(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_images(demo, tmp_path, capsys):
    assert demo("--data", str(MINI)) == 0
    out, err = capsys.readouterr()
    assert "near is dark in the depth files of DES" in " ".join(err.split())
    assert (tmp_path / "runs" / f"demo-{MINI.name}-seed0" / "comparison" / "grid" / "test.png").is_file()
    assert "Weighted F on the test images: no teacher" in out
