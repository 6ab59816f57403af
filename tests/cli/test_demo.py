"""``dynamic-kd demo`` as its users call it."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd import training
from dynamic_kd.cli import main
from dynamic_kd.training import DemoSettings, read_recipe

MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """Run the command in an empty folder on a few small samples."""
    recipe = read_recipe("cpu", ["data.train_count=12", "data.validation_count=6"])
    defaults = DemoSettings.__init__.__kwdefaults__ | {"recipe": recipe}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DemoSettings.__init__, "__kwdefaults__", defaults)

    def run(*arguments):
        return main(["demo", "--size", "32", "--epochs", "1", *arguments])

    return run


def test_the_default_run_folder_and_what_is_printed(demo, tmp_path, capsys):
    assert demo() == 0
    out = capsys.readouterr().out
    assert "dynamic + noise elimination" in out
    assert "12 training and 6 test samples, 32 pixels wide." in out
    assert "precision of the flags" in out
    assert "recall" in out
    assert "table.md" in out
    content = json.loads((tmp_path / "runs" / "demo-seed0" / "results.json").read_text())
    recipe = content["settings"]["recipe"]
    assert (recipe["training"]["epochs"], recipe["teacher"]["training"]["epochs"]) == (1, 2)


def test_the_table_fits_eighty_columns(demo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    demo()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("dynamic + noise elimination ")]
    assert len(table) == 1
    assert "…" not in table[0]
    assert len(table[0].split()) == 4 + 7


def test_the_seed_is_passed_on_and_names_the_folder(demo, tmp_path):
    assert demo("--seed", "5") == 0
    assert json.loads((tmp_path / "runs/demo-seed5/results.json").read_text())["settings"]["recipe"]["seed"] == 5


@pytest.mark.parametrize(("epochs", "fit"), [([], True), (["--epochs", "6"], False)])
def test_the_options_reach_the_recipe(monkeypatch, tmp_path, epochs, fit):
    seen = []

    def remember(settings, progress, *, workers, note):
        seen.append((settings, workers))
        raise ValueError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "run_demo", remember)
    options = ["--near", "dark", "--size", "64", "--seed", "2", "--workers", "3"]
    assert main(["demo", "--data", "DES", *options, *epochs]) == 2
    [(settings, workers)] = seen
    recipe = settings.recipe
    assert (recipe.data.source, recipe.data.root, recipe.data.train) == ("folders", "DES", (".",))
    assert (recipe.data.near, recipe.data.size, recipe.seed, workers) == ("dark", 64, 2, 3)
    assert settings.fit_epochs == fit
    assert (recipe.training.epochs, recipe.teacher_training.epochs) == ((12, 20) if fit else (6, 10))


def test_a_filled_run_folder_is_refused_before_any_work_and_replaced_on_demand(demo, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.md").write_text("old")
    assert demo("--out", "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("dynamic-kd: error: out: expected a new or empty folder, got a filled one")
    assert error.count("\n") == 1
    assert demo("--out", "out", "--overwrite") == 0
    assert "teacher" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: expected a folder, got no such folder"),
        (["--epochs", "0"], "epochs: expected a whole number of at least 1, got 0"),
        (["--size", "16"], "size: expected a whole number of at least 32, got 16"),
        (["--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["--workers", "0"], "workers: expected a whole number of at least 1, got 0"),
    ],
)
def test_mistakes_are_one_line_and_status_2(demo, tmp_path, capsys, arguments, message):
    assert demo(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not any((tmp_path / "runs").glob("*/*"))


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_images(demo, tmp_path, capsys):
    assert demo("--data", str(MINI)) == 0
    out = capsys.readouterr().out
    assert "Near is dark in the depth files of DES." in out
    assert "precision of the flags" not in out
    assert (tmp_path / "runs" / f"demo-{MINI.name}-seed0" / "pictures.png").is_file()
