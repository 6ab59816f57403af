"""Runs side by side: what starts when, what is kept, what fails, and how an experiment goes on."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from filelock import FileLock  # noqa: E402
from tiny_runs import place, rows, tensors  # noqa: E402

from benchmarks.experiments import run as module  # noqa: E402
from benchmarks.experiments.experiment import read_experiment  # noqa: E402
from benchmarks.experiments.plan import plan_experiment  # noqa: E402
from benchmarks.experiments.run import essence, run_plan, start_words, state_of  # noqa: E402
from dynamic_kd.training import read_recipe, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
TINY = """\
recipe = "cpu"
seeds = [0, 1]

[settings]
data = { size = 32, train_count = 8, validation_count = 4, report_count = 4, seed = 0 }
teacher.training = { epochs = 2, learning_rate = 0.05 }
training.epochs = 2
evaluate_every = 0

[methods]
"none" = { loss.weighting = "none" }
"half" = { loss.weighting = 0.5, fixed = true }
"""


@pytest.fixture
def planned(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    experiment = read_experiment(tmp_path / "tiny.toml")
    return plan_experiment(experiment, tmp_path / "out"), tmp_path / "out"


class Child:
    """A process that only seems to run: it does nothing for some looks, and then leaves what a run would."""

    def __init__(self, words, *, looks=2, status=0):
        self.words, self._looks, self._status = words, looks, status
        self.returncode = None
        self.stopped = []

    @property
    def name(self):
        folder = self.words[self.words.index("--out") + 1] if "--out" in self.words else self.words[-1]
        return Path(folder).name

    def folder(self):
        return Path(self.words[-1])

    def poll(self):
        self._looks -= 1
        if self._looks <= 0:
            self.returncode = self._status
            if not self._status:
                self.leave()
        return self.returncode

    def leave(self):
        self.folder().mkdir(parents=True, exist_ok=True)
        if self.words[0] != "--resume":
            (self.folder() / "recipe.toml").write_bytes(Path(self.words[0]).read_bytes())
        who = "teacher" if self.name.startswith("teacher") else "student"
        names = (
            "results.json",
            "checkpoint.safetensors",
            f"{who}-report.npz",
            f"{who}-last.safetensors",
            "weights.csv",
        )
        for name in names:
            (self.folder() / name).write_text("{}")

    def terminate(self):
        self.stopped.append("asked")

    def wait(self, timeout=None):
        if timeout is not None and "deaf" in self.name:
            raise subprocess.TimeoutExpired("train", timeout)
        self.stopped.append("waited")

    def kill(self):
        self.stopped.append("killed")


@pytest.fixture
def children(monkeypatch):
    """The processes that were started, with the GPU of each; none is one."""
    found = []
    monkeypatch.setattr(module, "_POLL", 0)

    def start(words, gpu, threads, log):
        log.touch()
        child = Child(words, **(start.behaviour(words) or {}))
        if child._status:
            log.write_text("starting\n\nepoch 1\nValueError: the loss of epoch 1 is nan\n")
        found.append((child, gpu, threads))
        return child

    start.behaviour = lambda words: {}
    monkeypatch.setattr(module, "start_training", start)
    return SimpleNamespace(list=found, start=start)


def test_teachers_come_first_and_so_many_run_at_once(planned, children, monkeypatch):
    plan, out = planned
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 6)
    shown = []
    done = run_plan(plan, out, gpus=[3, 5], at_once=2, show=lambda progress: shown.append(list(progress.running)))
    names = [child.name for child, _, _ in children.list]
    assert names[:2] == ["teacher--seed0", "teacher--seed1"]
    assert sorted(names) == sorted(run.name for run in plan.runs) == sorted(done.finished)
    assert max(map(len, shown)) == 4
    assert [gpu for _, gpu, _ in children.list][:4] == [3, 5, 3, 5]
    assert {threads for *_, threads in children.list} == {2}
    for running in shown:
        assert not ("half--seed0" in running and "teacher--seed0" in running)
    assert (done.failed, done.running, done.total, done.seconds_left) == ({}, [], 6, None)


def test_all_gpus_are_those_that_torch_sees(planned, children, monkeypatch):
    plan, out = planned
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    run_plan(plan, out, gpus="all")
    assert [gpu for _, gpu, _ in children.list][:2] == [0, 1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"gpus": [0, 2]}, "--gpus 2: torch finds 2 GPUs here, numbered from 0"),
        ({"at_once": 0}, "--at-once: expected a number of at least 1, got 0"),
    ],
)
def test_mistakes_are_found_before_anything_starts(planned, children, monkeypatch, how, message):
    plan, out = planned
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ValueError, match=message):
        run_plan(plan, out, **how)
    assert not children.list


def test_gpus_where_there_is_none(planned, children, monkeypatch):
    plan, out = planned
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ValueError, match="--gpus 3: torch finds 0 GPUs here"):
        run_plan(plan, out, gpus=[3])


def test_students_of_a_teacher_that_is_gone_are_not_given_another(planned, children):
    plan, out = planned
    run_plan(plan, out)
    (out / "runs/teacher--seed0/results.json").unlink()
    message = "half--seed0: this run has begun, but its teacher teacher--seed0 is unfinished; restore the teacher, or"
    with pytest.raises(ValueError, match=message):
        run_plan(plan, out)
    [half] = [run for run in plan.runs if run.name == "half--seed0"]
    assert state_of(out, half) == "finished"  # and may be reported


def test_a_student_of_another_teacher_is_another_run(planned, children, tmp_path):
    plan, out = planned
    run_plan(plan, out)
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(
        text.replace("loss.weighting = 0.5", "loss.weighting = 0.5, teacher_run.data.spoilt_share = 0.9")
    )
    other = plan_experiment(read_experiment(tmp_path / "tiny.toml"), out)
    with pytest.raises(ValueError, match="half--seed0: the run in this folder has another recipe; remove it"):
        run_plan(other, out)


def test_paths_are_relative_to_the_experiments_file_or_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "own.toml").write_text(
        'recipe = "cpu"\nseeds = [0]\nsettings.data.seed = 0\nsettings.student.weights = "a.safetensors"\n'
        '[methods]\n"one" = { loss.weighting = "none" }\n'
        '"two" = { loss.weighting = 0.5, teacher_run.teacher.weights = "sub/b.safetensors" }\n'
        '[grid]\nteacher.weights = ["c.safetensors"]\n'
    )
    monkeypatch.chdir(tmp_path)

    def written(*overrides):
        plan = plan_experiment(read_experiment("there/own.toml", overrides), "out")
        for run in plan.runs:
            start_words(Path("out"), run, "new")
        recipes = {run.name: read_recipe(tmp_path / "out/planned" / f"{run.name}.toml") for run in plan.runs}
        return [recipes[run.name] for run in plan.runs]

    teacher, *students = written()
    assert teacher.teacher.weights == str(tmp_path / "there/sub/b.safetensors")
    assert {each.student.weights for each in students} == {str(tmp_path / "there/a.safetensors")}
    _, *students = written("student.weights=a.safetensors")
    assert {each.student.weights for each in students} == {str(tmp_path / "a.safetensors")}


def test_finished_runs_are_kept_and_others_go_on(planned, children):
    plan, out = planned
    run_plan(plan, out)
    assert {state_of(out, run) for run in plan.runs} == {"finished"}
    children.list.clear()
    (out / "runs/none--seed0/results.json").unlink()
    place = out / "runs/half--seed1"
    for path in place.iterdir():
        path.unlink()
    states = {run.name: state_of(out, run) for run in plan.runs}
    assert (states.pop("none--seed0"), states.pop("half--seed1")) == ("unfinished", "new")
    run_plan(plan, out)
    words = [child.words for child, *_ in children.list]
    assert words == [
        ["--resume", str(out / "runs/none--seed0")],
        [str(out / "planned/half--seed1.toml"), "--out", str(place)],
    ]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("all", {"checkpoint.safetensors", "student-last.safetensors", "weights.csv"}),
        ("weights", {"student-last.safetensors", "weights.csv"}),
        ("records", set()),
    ],
)
def test_what_stays_of_a_finished_run(planned, children, keep, left):
    plan, out = planned
    run_plan(plan, out, keep=keep)
    always = {"recipe.toml", "results.json", "student-report.npz"}
    assert {path.name for path in (out / "runs/half--seed0").iterdir()} == left | always
    assert (out / "runs/teacher--seed0/teacher-last.safetensors").exists()


def test_a_run_that_fails_stops_only_those_that_need_it(planned, children):
    plan, out = planned
    failing = {"teacher--seed1", "none--seed0"}
    children.start.behaviour = lambda words: {"status": int(Path(words[-1]).name in failing)}
    done = run_plan(plan, out, at_once=2)
    assert sorted(done.finished) == ["half--seed0", "none--seed1", "teacher--seed0"]
    assert done.failed == {
        "teacher--seed1": "starting\nepoch 1\nValueError: the loss of epoch 1 is nan",
        "none--seed0": "starting\nepoch 1\nValueError: the loss of epoch 1 is nan",
        "half--seed1": "its teacher, teacher--seed1, failed",
    }
    children.start.behaviour = lambda words: {}
    assert len(run_plan(plan, out).finished) == 6


def test_a_run_that_ends_well_but_leaves_nothing_has_failed(planned, children, monkeypatch):
    plan, out = planned
    monkeypatch.setattr(Child, "leave", lambda self: None)
    done = run_plan(plan.only("none--seed0"), out)
    assert done.failed == {"none--seed0": "exit status 0"}


def test_ctrl_c_stops_the_children_even_the_deaf(planned, children, monkeypatch):
    plan, out = planned
    children.start.behaviour = lambda words: {"looks": 1000}

    def interrupt(progress):
        if len(progress.running) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Child, "name", property(lambda self: "deaf" if "seed1" in self.words[-1] else "other"))
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, out, at_once=2, show=interrupt)
    assert [child.stopped for child, *_ in children.list] == [["asked", "waited"], ["asked", "killed", "waited"]]


def test_two_experiments_do_not_share_a_folder(planned, children):
    plan, out = planned
    errors = []

    def second(progress):
        if not errors:
            try:
                run_plan(plan, out)
            except ValueError as error:
                errors.append(str(error))

    run_plan(plan, out, show=second)
    assert errors == [f"{out}: another process works in this folder; wait for it, or stop it"]


def test_the_time_left_is_judged_by_epochs(planned, children, monkeypatch):
    plan, out = planned
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    left = []

    def show(progress):
        left.append(progress.seconds_left)
        if len(left) == 3:
            raise KeyboardInterrupt
        log = out / "runs/teacher--seed0/epochs.csv"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("epoch\n1\n")

    children.start.behaviour = lambda words: {"looks": 1000}
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, out, show=show)
    assert left == [None, 10 * 11, 20 * 11]  # one of twelve epochs in ten seconds, and in twenty


def test_runs_may_move_but_must_be_those_that_are_planned(planned, children, tmp_path):
    plan, out = planned
    run_plan(plan, out)
    (out / "runs/half--seed0/results.json").unlink()
    moved = out.rename(tmp_path / "moved")
    elsewhere = plan_experiment(read_experiment(tmp_path / "tiny.toml"), moved)
    run = next(run for run in elsewhere.runs if run.name == "half--seed0")
    assert state_of(moved, run) == "unfinished"
    run_plan(elsewhere, moved)
    assert children.list[-1][0].words[0] == "--resume"
    assert read_recipe(moved / "runs/half--seed0") == run.recipe
    other = plan_experiment(read_experiment(tmp_path / "tiny.toml", ["training.epochs=3"]), moved)
    with pytest.raises(ValueError, match="none--seed0: the run in this folder has another recipe; rem"):
        run_plan(other, moved)


def test_files_may_move_but_other_data_make_another_run():
    parts = "data.train=[{folder='a', list='/here/x.txt'}, 'NJUD/train']"
    recipe = read_recipe("ecssd", ["data.root=/here", parts, "student.weights=/here/vgg16.safetensors"])
    moved = ["data.root=/there", parts.replace("here", "there"), "student.weights=/there/vgg16.safetensors"]
    assert essence(read_recipe("ecssd", moved)) == essence(recipe)
    for other in (parts.replace("NJUD", "NLPR"), parts.replace("x.txt", "y.txt"), parts.replace("'a'", "'b'")):
        assert essence(read_recipe("ecssd", [*moved, other])) != essence(recipe)
    assert essence(read_recipe("ecssd", [*moved, "seed=1"])) != essence(recipe)


@pytest.mark.parametrize(("visible", "gpu", "seen"), [(None, 2, "2"), ("4, 6", 1, "6"), (None, None, None)])
def test_a_process_sees_one_of_the_gpus_that_its_parent_sees(monkeypatch, tmp_path, visible, gpu, seen):
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    started = []
    monkeypatch.setattr(module.subprocess, "Popen", lambda command, **rest: started.append((command, rest)))
    module.start_training(["a.toml"], gpu, 3, tmp_path / "log")
    ((command, rest),) = started
    assert command[3:] == ["train", "a.toml", *(["--cpu"] if gpu is None else [])]
    assert rest["env"].get("CUDA_VISIBLE_DEVICES") == seen
    assert rest["env"]["OMP_NUM_THREADS"] == "3"
    assert rest["start_new_session"]


def test_an_interrupted_run_resumes_and_ends_with_the_bits_of_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = TINY.replace("[0, 1]", "[0]").replace("training.epochs = 2", "training.epochs = 6")
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    plan = plan_experiment(read_experiment(tmp_path / "tiny.toml"), out).only("none")
    run = out / "runs/none--seed0"

    def interrupt(step, done, total):
        if (done, total) == (3, 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan.runs[0].recipe, run, cpu=True, progress=interrupt)
    assert 2 <= place(run / "checkpoint.safetensors")[1] < 6
    assert state_of(out, plan.runs[0]) == "unfinished"
    done = run_plan(plan, out)
    assert (done.finished, done.failed) == (["none--seed0"], {})
    assert [int(row["epoch"]) for row in rows(run / "epochs.csv")] == list(range(1, 7))
    train(read_recipe(run), tmp_path / "whole", cpu=True)
    found, expected = (tensors(each / "student-last.safetensors") for each in (run, tmp_path / "whole"))
    assert all(found[key].tobytes() == expected[key].tobytes() for key in expected)
    scores = [json.loads((each / "results.json").read_text())["results"] for each in (run, tmp_path / "whole")]
    assert scores[0] == scores[1]
    assert "report" in scores[0]["student"]["last"]
    assert not (run / "checkpoint.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_stops_the_command_and_its_processes(tmp_path):
    """As `timeout` and schedulers send it."""
    (tmp_path / "tiny.toml").write_text(TINY.replace("training.epochs = 2", "training.epochs = 100000"))
    words = ("-m", "benchmarks.experiments", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--only", "none--seed0")
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True) as command:
        lines = iter(command.stderr.readline, "")
        assert next(lines) == "0/1 runs: none--seed0 started\n"
        command.terminate()
        assert [line.partition(":")[0] for line in lines] == ["interrupted; to continue, repeat"]
    assert command.returncode == 130
    with FileLock(tmp_path / "out/.lock", timeout=0):
        assert not (tmp_path / "out/runs/none--seed0/results.json").exists()
