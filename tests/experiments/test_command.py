"""``python -m benchmarks.experiments`` as its users call it; the runs themselves are tested where they are made."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from benchmarks.experiments import run as module  # noqa: E402
from benchmarks.experiments.__main__ import main, parser  # noqa: E402
from benchmarks.experiments.experiment import bundled_plans  # noqa: E402
from dynamic_kd.training import train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = """\
recipe = "cpu"
seeds = [0, 1]
paper_table = 3
resamples = 50

[settings]
data = { size = 32, train_count = 8, validation_count = 4, report_count = 4, seed = 0 }
training.epochs = 1

[methods]
"none" = { loss.weighting = "none", fixed = true, paper = "RGBD" }
"again" = { loss.weighting = "none", training.learning_rate = 0.1 }
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def at_once(monkeypatch):
    """Make the runs in this process, and return what the command asked for."""
    asked = []

    def run_plan(plan, folder, *, show, **settings):
        asked.append(settings | {"runs": [run.name for run in plan.runs]})
        progress = module.Progress(len(plan.runs), failed=dict(failing))
        for run in plan.runs:
            place = folder / "runs" / run.name
            if run.name not in failing and module.state_of(folder, run) == "new":
                train(run.recipe, place, cpu=True)
            progress.running, progress.seconds_left = [run.name], 3725.0
            show(progress)
            progress.finished.append(run.name)
        return progress

    failing = {}
    monkeypatch.setattr(module, "run_plan", run_plan)
    return SimpleNamespace(asked=asked, failing=failing)


def test_help_fits_80_columns_and_names_the_next_steps(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "python -m benchmarks.experiments smoke",
        "--report",
        "--at-once N",
        "--dry-run",
        "--keep",
        "--paper",
    ):
        assert words in text
    epilog = text.split("Examples:\n")[1].partition("\n\n")[0].replace("\\\n", " ")
    for example in epilog.splitlines():
        parser().parse_args(example.split("benchmarks.experiments ", 1)[1].split())


def test_the_experiments_of_the_package(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(bundled_plans())
    assert all(line.endswith(".") for line in lines)


def test_an_experiment_from_the_runs_to_the_table(here, at_once, capsys):
    assert main(["tiny.toml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "new         none--seed0"
    assert lines[-1] == "4 runs: 0 finished, 0 unfinished, 4 new"
    assert at_once.asked == []
    assert main(["tiny.toml", "--at-once", "3", "--keep", "records", "--paper"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("# tiny\n\n| method | seeds | maxF | meanF | wF | Sm | maxE | MAE |\n")
    assert "## In the paper" in printed.out
    assert "In experiments/tiny: table.md, table.tex, table.csv, results.json, runs.json, curves.png\n" in printed.out
    (asked,) = at_once.asked
    assert (asked["gpus"], asked["at_once"], asked["keep"]) == ("all", 3, "records")
    assert (here / "experiments/tiny/table.md").read_text(encoding="utf-8") + "\n" in printed.out
    assert main(["tiny.toml", "--dry-run", "--only", "again"]) == 0
    assert capsys.readouterr().out.endswith("2 runs: 2 finished, 0 unfinished, 0 new\n")
    assert main(["tiny.toml", "--report", "--set", "resamples=60"]) == 0
    assert "(60 resamples, seed 0)" in capsys.readouterr().out
    assert main(["experiments/tiny", "--out", "again"]) == 0
    assert capsys.readouterr().out.endswith("In again: table.md, table.tex, table.csv, results.json, runs.json\n")
    assert (here / "again/results.json").read_bytes() == (here / "experiments/tiny/results.json").read_bytes()
    assert len(at_once.asked) == 1


def test_a_failure_is_told_and_the_rest_is_reported(here, at_once, capsys):
    at_once.failing["again--seed1"] = "the loss of epoch 1 is nan"
    assert main(["tiny.toml", "--gpus", "none", "--out", "there", "--only", "seed1"]) == 1
    printed = capsys.readouterr()
    assert "1/2 runs, 1:02:05 left: none--seed1 started\n" in printed.err
    assert "again--seed1 failed: the loss of epoch 1 is nan (whole log: there/logs/again--seed1.log)" in printed.err
    assert "Not finished: none--seed0, again--seed0, again--seed1." in printed.out
    assert at_once.asked[0]["gpus"] == []
    assert at_once.asked[0]["runs"] == ["none--seed1", "again--seed1"]


def test_where_all_failed_there_is_nothing_to_report(here, at_once, capsys):
    at_once.failing |= dict.fromkeys(("none--seed0", "again--seed0", "none--seed1", "again--seed1"), "no such GPU")
    assert main(["tiny.toml", "--gpus", "none", "--out", "there"]) == 1
    printed = capsys.readouterr()
    assert "none--seed0 failed: no such GPU" in printed.err
    assert "expected a finished run" not in printed.err
    assert printed.out == ""


def test_ctrl_c_says_how_to_go_on(here, monkeypatch, capsys):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_plan", interrupted)
    assert main(["tiny.toml", "--out", "my runs"]) == 130
    printed = capsys.readouterr().err
    assert printed == "interrupted; to continue, repeat: python -m benchmarks.experiments tiny.toml --out 'my runs'\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no EXPERIMENT given; --list prints the plans"),
        (["none"], "none: no such file or plan; the plans are ecssd-final"),
        (["tiny.toml", "--at-once", "0"], "--at-once: expected a number of at least 1, got 0"),
        (["tiny.toml", "--gpus", "0,a"], "--gpus: expected numbers, such as 0,1, or none, got 0,a"),
        (["tiny.toml", "--only", "gpu"], "--only gpu: no such run; --dry-run lists them, such as again--seed1"),
        (["tiny.toml", "--set", "seeds"], "--set seeds: expected SETTING=VALUE, such as training.epochs=2"),
        (["."], ".: name the folder for the new report with --out"),
        (["tiny.toml", "--set", "training.epoch=2"], "training.epoch: "),
        (
            ["tiny.toml", "--report"],
            "experiments/tiny: none of the runs is finished; run the experiment first",
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(here, words, message, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
