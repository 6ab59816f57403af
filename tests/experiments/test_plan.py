"""Experiments as files, and the runs they plan."""

from collections import Counter

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tomli_w", reason="tomli_w is not installed")

from benchmarks.experiments.experiment import PLANS, bundled_plans, read_experiment
from benchmarks.experiments.plan import plan_experiment
from dynamic_kd.training import read_recipe, recipe_toml

RECIPES = PLANS.parent / "recipes"

TINY = """\
# Is it worth it.
recipe = "cpu"
seeds = [0, 1]

[settings]
data = { size = 32, train_count = 8, validation_count = 4, report_count = 4, seed = 0 }
teacher.training = { epochs = 2, learning_rate = 0.05 }
training.epochs = 1

[methods]
"cross-entropy" = { loss.weighting = "none" }
"s = 0.5" = { loss.weighting = 0.5, fixed = true }
"""


@pytest.fixture
def planned(tmp_path):
    """Return a function that reads an experiment from text, and plans it."""

    def plan(text, *overrides, **others):
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        experiment = read_experiment(path, overrides)
        return experiment, plan_experiment(experiment, tmp_path / "out", **others)

    return plan


def test_a_run_for_each_method_and_seed_and_a_teacher_for_each_seed(planned, tmp_path):
    experiment, plan = planned(TINY)
    assert (experiment.name, experiment.about) == ("tiny", "Is it worth it.")
    assert [run.name for run in plan.runs] == [
        "teacher--seed0", "teacher--seed1",
        "cross-entropy--seed0", "s=0.5--seed0", "cross-entropy--seed1", "s=0.5--seed1",
    ]  # fmt: skip
    assert [run.needs for run in plan.runs] == [None] * 3 + ["teacher--seed0", None, "teacher--seed1"]
    assert [run.epochs for run in plan.runs] == [2, 2, 1, 1, 1, 1]
    student = plan.runs[3].recipe
    assert student.teacher.checkpoint == str(tmp_path / "out/runs/teacher--seed0/teacher-last.safetensors")
    assert (student.seed, student.loss.weighting, student.data.seed) == (0, 0.5, 0)
    teacher = plan.runs[1].recipe
    assert (teacher.teacher_only, teacher.seed, teacher.teacher_training.epochs) == (True, 1, 2)
    for run in plan.runs:
        assert run.recipe.name == run.name
        path = tmp_path / "again.toml"
        path.write_text(recipe_toml(run.recipe), encoding="utf-8")
        assert read_recipe(path) == run.recipe


def test_the_grid_is_all_combinations_and_what_does_not_matter_is_shared(planned):
    grid = "[grid]\nloss.p = [0.3, 0.7]\ntraining.learning_rate = [0.01, 0.1]\n"
    experiment, plan = planned(TINY + grid, "seeds=[4]")
    assert len(experiment.points()) == 4
    assert len(plan.cells) == 8
    names = [run.name for run in plan.runs]
    assert names == [
        "teacher--seed4",
        "cross-entropy--learning_rate=0.01--seed4", "s=0.5--p=0.3--learning_rate=0.01--seed4",
        "cross-entropy--learning_rate=0.1--seed4", "s=0.5--p=0.3--learning_rate=0.1--seed4",
        "s=0.5--p=0.7--learning_rate=0.01--seed4", "s=0.5--p=0.7--learning_rate=0.1--seed4",
    ]  # fmt: skip
    assert Counter(cell.run for cell in plan.cells)["cross-entropy--learning_rate=0.01--seed4"] == 2
    settings = {(run.recipe.loss.p, run.recipe.training.learning_rate) for run in plan.runs if "s=" in run.name}
    assert settings == {(0.3, 0.01), (0.3, 0.1), (0.7, 0.01), (0.7, 0.1)}


def test_several_grids_are_one_after_another_and_points_come_once(planned):
    grids = "[[grid]]\nloss.p = [0.3, 0.7]\n[[grid]]\nloss.p = [0.7, 0.9]\n"
    experiment, plan = planned(TINY + grids, "seeds=[0]")
    assert [dict(point) for point in experiment.points()] == [{"loss.p": 0.3}, {"loss.p": 0.7}, {"loss.p": 0.9}]
    assert len(plan.runs) == 1 + 1 + 3


def test_a_teacher_that_the_grid_changes_is_trained_for_each_value(planned):
    _, plan = planned(TINY + "[grid]\nteacher.training.learning_rate = [0.01, 0.02]\n", "seeds=[0]")
    assert [(run.name, run.needs) for run in plan.runs] == [
        ("teacher--teacher.training.learning_rate=0.01--seed0", None),
        ("teacher--teacher.training.learning_rate=0.02--seed0", None),
        ("cross-entropy--seed0", None),
        ("s=0.5--learning_rate=0.01--seed0", "teacher--teacher.training.learning_rate=0.01--seed0"),
        ("s=0.5--learning_rate=0.02--seed0", "teacher--teacher.training.learning_rate=0.02--seed0"),
    ]


def test_epochs_of_one_teacher_and_a_teacher_from_other_data(planned):
    _, plan = planned(TINY + "[grid]\nteacher_epoch = [1, 2]\n", "seeds=[0]")
    assert [run.name for run in plan.runs][:2] == ["teacher--seed0", "cross-entropy--seed0"]
    assert plan.runs[0].recipe.teacher_training.keep_epochs == (1, 2)
    assert [run.recipe.teacher.checkpoint[-26:] for run in plan.runs[2:]] == [
        "teacher-epoch1.safetensors",
        "teacher-epoch2.safetensors",
    ]
    clean = '"clean" = { loss.weighting = 0.5, teacher_run.data.spoilt_share = 0.0 }\n'
    _, plan = planned(TINY + clean, "seeds=[0]")
    needs = {run.name: run.needs for run in plan.runs}
    assert (needs["s=0.5--seed0"], needs["clean--seed0"]) == ("teacher--seed0", "teacher--spoilt_share=0.0--seed0")
    shares = [run.recipe.data.spoilt_share for run in plan.runs]
    assert shares == [0.3, 0.0, 0.3, 0.3, 0.3]


def test_a_teachers_name_does_not_depend_on_what_else_is_compared(planned):
    """An experiment that was extended goes on with the runs there are."""
    grid = "[grid]\ndata.spoilt_share = [0.1, 0.2]\nloss.p = [0.3, 0.5]\n"
    others = (
        '"a clean teacher" = { loss.weighting = 0.5, teacher_run.data = { spoilt_share = 0.0, seed = 9 } }\n'
        '"a plain teacher" = { loss.weighting = 0.5, teacher.model = "fpn", training.learning_rate = 0.1 }\n'
    )
    before, after = (planned(text, "seeds=[0]")[1] for text in (TINY + grid, TINY + others + grid))
    known = {run.name: run.recipe for run in after.runs}
    assert all(known[run.name] == run.recipe for run in before.runs)
    assert [run.name for run in after.runs if run.needs is None and run.recipe.teacher_only] == [
        "teacher--spoilt_share=0.1--seed0",
        "teacher--spoilt_share=0.0--data.seed=9--seed0",
        "teacher--spoilt_share=0.1--model=fpn--seed0",
        "teacher--spoilt_share=0.2--seed0",
        "teacher--spoilt_share=0.2--model=fpn--seed0",
    ]
    lines = others.splitlines(keepends=True)
    [_, other] = planned(TINY + "".join(reversed(lines)) + grid, "seeds=[0]")
    assert {run.name: run.recipe for run in other.runs} == known


@pytest.mark.parametrize("settings", ["teacher_epoch = 1", "teacher_run.data.spoilt_share = 0.0"])
def test_settings_of_all_runs_name_no_teacher(planned, settings):
    grid = "[grid]\ntraining.batch_size = [8, 4]\n"
    _, plan = planned(TINY.replace("[settings]\n", f"[settings]\n{settings}\n") + grid, "seeds=[0]")
    assert [run.name for run in plan.runs if run.recipe.teacher_only] == [
        "teacher--seed0",
        "teacher--teacher.training.batch_size=4--seed0",
    ]


def test_what_stage_2_reads_of_a_teacher_does_not_make_it_another(planned):
    other = '"shifted" = { loss.weighting = 0.5, teacher.probability_shift = true }\n'
    _, plan = planned(TINY + other, "seeds=[0]")
    assert {run.needs for run in plan.runs} == {None, "teacher--seed0"}


def test_a_run_that_is_called_as_a_teacher(planned):
    with pytest.raises(ValueError, match="teacher--seed0: two runs would have this name"):
        planned(TINY.replace('"s = 0.5"', '"teacher"'), "seeds=[0]")


def test_settings_of_the_command_line_go_over_all(planned):
    text = TINY + "[grid]\ntraining.learning_rate = [0.01, 0.1]\n[choose]\nover = ['training.learning_rate']\n"
    experiment, plan = planned(text, "training.learning_rate=0.3", "loss.weighting=0.7", "seeds=[2]", "resamples=7")
    assert (experiment.seeds, experiment.resamples, experiment.choose) == ((2,), 7, ())
    assert experiment.axes == ()
    assert {run.recipe.training.learning_rate for run in plan.runs[1:]} == {0.3}
    assert {run.recipe.loss.weighting for run in plan.runs[1:]} == {0.7}
    assert len(plan.cells) == 2
    assert len(plan.runs) == 2  # both methods are the same then


def test_a_setting_without_a_value_is_taken_away(planned):
    text = TINY + "[grid]\ntraining.clip_norm = [1.0, 2.0]\n"
    experiment, plan = planned(text, "training.clip_norm=", "data.report_count =")
    assert experiment.axes == ()
    assert {run.recipe.training.clip_norm for run in plan.runs} == {None}
    assert {run.recipe.data.report_count for run in plan.runs} == {0}


def test_data_lies_where_it_is_said_to(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = TINY.replace("data = {", 'data = { source = "folders", train = ["a"], report = ["b"],')
    _, plan = planned(folders, data="sets")
    assert {run.recipe.data.root for run in plan.runs} == {str(tmp_path / "sets")}
    with pytest.raises(ValueError, match=r"cpu: data\.root: .*the synthetic set"):
        planned(TINY, data="sets")


def test_a_part_of_the_runs_brings_the_teachers_it_needs(planned):
    _, plan = planned(TINY)
    assert [run.name for run in plan.only("s=0.5--seed1").runs] == ["teacher--seed1", "s=0.5--seed1"]
    assert [run.name for run in plan.only("cross*").runs] == ["cross-entropy--seed0", "cross-entropy--seed1"]
    assert [run.name for run in plan.only("cross*", "s=0.5--seed1").runs] == [
        run.name for run in plan.runs if "0.5--seed0" not in run.name and run.name != "teacher--seed0"
    ]
    assert [cell.seed for cell in plan.only("seed1").cells] == [1, 1]
    with pytest.raises(ValueError, match=r"--only gpu: no such run; --dry-run lists them, such as s=0.5--seed1"):
        plan.only("gpu")


@pytest.mark.parametrize("name", sorted(bundled_plans()))
def test_the_plans_can_be_planned(name, tmp_path):
    experiment = read_experiment(name)
    plan = plan_experiment(experiment, tmp_path)
    assert bundled_plans()[name].endswith(".")
    assert len({run.name for run in plan.runs}) == len(plan.runs)
    assert len(plan.cells) == len(experiment.points()) * len(experiment.methods) * len(experiment.seeds)
    known = {run.name for run in plan.runs}
    assert all(run.needs is None or run.needs in known for run in plan.runs)
    assert len(experiment.seeds) >= 3 or name == "smoke" or name.startswith("study")  # two in each of five folds
    assert any(method.fixed for method in experiment.methods.values()) or name == "study-candidates"


def test_the_lists_for_choosing_and_reporting_part_the_validation_images():
    def names(parts):
        (part,) = parts
        with open(part["list"], encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip() and not line.startswith("#")]

    both, data = read_recipe("ecssd").data, read_recipe(RECIPES / "ecssd-short.toml").data
    choose, report = names(data.validation), names(data.report)
    assert all(int(name) % 10 == 0 for name in choose)
    assert (len(choose), len(report)) == (100, 100)
    assert sorted(choose + report) == sorted(names(both.validation))
    assert data.train == both.train
    assert read_recipe(RECIPES / "ecssd-teacher-short.toml").data == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = [0, 1]", ""), "tiny.toml: seeds: every experiment needs it"),
        (("seeds = [0, 1]", "seeds = []"), r"seeds: expected at least one, and each once, got \[\]"),
        (("seeds = [0, 1]", "seeds = [1, 1]"), r"seeds: expected at least one, and each once, got \[1, 1\]"),
        (("seeds = [0, 1]", "seeds = 1"), "seeds: expected a list, got 1"),
        (("seeds = [0, 1]", "seeds = [0]\nrepeats = 3"), "repeats: expected one of recipe, seeds"),
        (("seeds = [0, 1]", "seeds = [0]\nscores = ['F']"), "scores: expected some of maxF, "),
        (("seeds = [0, 1]", "seeds = [0]\nresamples = 0"), r"resamples: expected a whole number of at least 1, got 0"),
        (
            ("seeds = [0, 1]", "seeds = [0]\naxis = 'loss.p'"),
            r"axis: expected a setting of the grid \(none\), got 'loss.p'",
        ),
        (('recipe = "cpu"', "recipe = 3"), "recipe: expected a name or a file, got 3"),
        (('recipe = "cpu"', 'recipe = "gpu"'), "gpu: no such recipe"),
        (("fixed = true", "fixed = 1"), 'methods."s = 0.5": expected fixed = true or false, and paper'),
        (("fixed = true", "paper = 1"), 'methods."s = 0.5": expected fixed = true or false, and paper'),
        (
            ("0.5, fixed", "0.5, loss.pp = 1, fixed"),
            r"tiny: methods\.\"s = 0\.5\": loss\.pp: ",
        ),
        (("0.5, fixed", "5, fixed"), r'tiny: methods\."s = 0\.5": loss\.weighting .*in \[0, 1\], got 5'),
        (("fixed = true", "fixd = true"), r'tiny: methods\."s = 0\.5": fixd: '),
        (
            ("fixed = true", "teacher_run.data.sead = 1"),
            r'tiny: methods\."s = 0\.5": data\.sead: .*did you mean data\.seed\?',
        ),
        (("training.epochs", "training.epoch"), r"tiny: settings: training\.epoch: .* you mean training\.epochs"),
        (("[methods]", "[grid]\nloss.pp = [1]\n[methods]"), r"tiny: grid: loss\.pp: .*did you mean loss\.p\?"),
        (("[methods]", "[grid]\nloss.p = [1, 2]\n[methods]"), r"tiny: grid: loss\.p: expected .*got 2"),
        (("report_count = 4, seed = 0", "report_count = 4"), "data.seed: set it "),
        (("validation_count = 4, report_count = 4", "validation_count = 0"), "data.report: the recipe names no"),
        (('"s = 0.5"', '"cross, entropy"'), "cross-entropy--seed0: two runs would have this name"),
        (("[methods]", "[grid]\nloss.p = []\n[methods]"), r"grid.loss.p: expected a list of .*, got \[\]"),
        (("[methods]", "[grid]\nloss.p = 1\n[methods]"), "grid.loss.p: expected a list, got 1"),
        (
            ("[methods]", "[grid]\ndata.train = [['a']]\n[methods]"),
            r"grid.data.train: expected a list of .*, got \[\['a'\]\]",
        ),
        (
            ("[methods]", "[grid]\nseed = [5]\n[methods]"),
            r"grid.seed: give the seeds of the runs as seeds = \[",
        ),
        (("[settings]", "[settings]\nseed = 5"), r"settings.seed: give the seeds"),
        (("loss.weighting = 0.5", "loss.weighting = 0.5, seed = 5"), r'methods."s = 0.5".seed: give the seeds'),
        (("seeds = [0, 1]", "seeds = [0]\nresamples = 1e4"), "resamples: expected a whole .*got 10000.0"),
        (
            ("seeds = [0, 1]", "seeds = [0]\nbootstrap_seed = -1"),
            "bootstrap_seed: expected a whole number of",
        ),
        (("seeds = [0, 1]", "seeds = [0]\npaper_table = 7"), "paper_table: expected 3, 4 or 5, got 7"),
        (("[methods]", "[choose]\nby = 'F'\n[methods]"), "choose.by: expected some of maxF, "),
        (("[methods]", "[choose]\nat = ['a']\n[methods]"), r"choose.at: expected over .* and by "),
        (("[methods]", "[choose]\nover = ['a']\n[methods]"), r"choose: expected a setting of .*, got 'a'"),
        (
            ("[methods]", "[grid]\nteacher_epoch = [0]\n[methods]"),
            r"teacher_epoch: expected a whole number of at least 1, got 0",
        ),
        (("[methods]", "[grid]\nteacher_epoch = [3]\n[methods]"), "keep_epochs: .*3"),
        (
            ("0.5, fixed", "0.5, teacher_run.seed = 1, teacher.checkpoint = 'a.st', fixed"),
            "teacher_run.seed: the teacher is not trained here",
        ),
        (("[methods]", "methods"), "expected an experiment in TOML, got: "),
        (("[methods]", "[[methods]]"), r"methods: expected a table, got \["),
    ],
)
def test_what_is_wrong_with_an_experiment(planned, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        planned(TINY.replace(*change))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"^--set: training\.epoch: .*did you mean training\.epochs\?"),
        ("loss.weighting=5", r"^--set: loss\.weighting .*: expected a number in \[0, 1\], got 5"),
        ("teacher_run.data.sead=1", r"^--set: data\.sead: .*did you mean data\.seed\?"),
    ],
)
def test_what_is_wrong_with_a_setting_of_the_command_line(planned, override, message):
    with pytest.raises(ValueError, match=message):
        planned(TINY, override)


def test_what_is_wrong_with_the_recipe_names_the_recipe(planned, tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "cpu"\n[loss]\npp = 1\n')
    with pytest.raises(ValueError, match=r"^.*mine\.toml: loss\.pp: "):
        planned(TINY.replace('"cpu"', '"mine.toml"'), "loss.p=0.5")


def test_a_file_as_editors_of_windows_write_it(planned, tmp_path):
    usual, plan = planned(TINY)
    (tmp_path / "tiny.toml").write_bytes(b"\xef\xbb\xbf" + TINY.replace("\n", "\r\n").encode())
    experiment = read_experiment(tmp_path / "tiny.toml")
    assert experiment == usual
    assert plan_experiment(experiment, tmp_path / "out") == plan
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-16")
    with pytest.raises(
        ValueError, match=r"tiny\.toml: expected an experiment in TOML, got: 'utf-8' codec can't decode"
    ):
        read_experiment(tmp_path / "tiny.toml")


def test_names_that_would_lead_out_of_the_folder(planned):
    _, plan = planned(TINY.replace("s = 0.5", "../../evil"))
    assert plan.runs[-1].name == "evil--seed1"
    _, plan = planned(TINY.replace("s = 0.5", ".5"))
    assert plan.runs[-1].name == "5--seed1"


def test_no_such_experiment():
    with pytest.raises(ValueError, match=r"none: no such file or plan; the plans are ecssd-final, "):
        read_experiment("none")
