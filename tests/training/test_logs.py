"""The logs of a run, and what a run that goes on does with them."""

import csv

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from dynamic_kd.metrics import SODMetrics  # noqa: E402
from dynamic_kd.training._checkpoint import Place  # noqa: E402
from dynamic_kd.training._logs import Logs  # noqa: E402
from dynamic_kd.training._loop import Epoch  # noqa: E402
from dynamic_kd.training._objective import Distillation  # noqa: E402
from dynamic_kd.training._weights_log import read_weights_log  # noqa: E402

START = Place(1, 0, None, {})
NAMES = ("NJUD/a", 'b, "c"')
HEADER = [
    "stage", "epoch", "loss", "learning_rate", "seconds", "images_per_second",
    "MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE",
]  # fmt: skip


def epoch(number, loss=0.5):
    kept = torch.tensor([[0.8, 0.3, 0.6, 1, 0.1, 0.2, loss], [0.2, 0.9, 0.01, 0, 0.1, 0.2, loss]])
    return Epoch(number, loss, 1e-3, kept, 2.0)


@pytest.fixture
def report():
    metrics = SODMetrics()
    generator = torch.Generator().manual_seed(0)
    metrics.update(torch.rand(2, 8, 8, generator=generator), torch.rand(2, 8, 8, generator=generator) > 0.5)
    return metrics.compute()


@pytest.fixture
def written(tmp_path):
    """Return a function that logs epochs (stage, number) in one go, from a place on."""

    def write(*epochs, place=START, report=None):
        logs = Logs(tmp_path, place)
        for stage, number in epochs:
            logs.epoch(stage, epoch(number), 2, report)
            if stage == 2:
                logs.samples(epoch(number), NAMES, Distillation.columns)
        logs.close()

    return write


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_epoch_is_a_row_with_scores_where_there_are_some(tmp_path, written, report):
    written((1, 1))
    written((1, 2), place=Place(1, 1, None, {}), report=report)
    first, second = rows(tmp_path / "epochs.csv")
    assert list(first) == HEADER
    assert (first["stage"], first["epoch"], first["loss"], first["learning_rate"]) == ("1", "1", "0.5", "0.001")
    assert (first["seconds"], first["images_per_second"], first["maxF"]) == ("2.000", "1.0", "")
    for name in HEADER[6:]:
        assert float(second[name]) == pytest.approx(report[name], abs=1e-6)
    assert not (tmp_path / "weights.csv").exists()


def test_samples_can_be_read_back(tmp_path, written):
    written((2, 1), (2, 2))
    log = read_weights_log(tmp_path / "weights.csv")
    assert log.names == tuple(sorted(NAMES))
    assert log.epochs.tolist() == [1, 2]
    assert log.teacher_iou[:, log.names.index("NJUD/a")].tolist() == [0.8, 0.8]
    assert log.reliable[0].tolist() == [name == "NJUD/a" for name in log.names]
    row = rows(tmp_path / "weights.csv")[1]
    assert (row["reliable"], row["weight"], row["kl"], row["loss"]) == ("0", "0.010000", "0.100000", "0.500000")


@pytest.mark.parametrize(
    ("place", "epochs", "samples"),
    [
        (START, [], []),
        (Place(1, 1, None, {}), [(1, 1)], []),
        (Place(1, 2, None, {}), [(1, 1), (1, 2)], []),
        (Place(2, 1, None, {}), [(1, 1), (1, 2), (2, 1)], [1, 1]),
        (Place(2, 10, None, {}), [(1, 1), (1, 2), (2, 1), (2, 10)], [1, 1, 10, 10]),
    ],
)
def test_what_lies_beyond_the_checkpoint_is_dropped(tmp_path, written, place, epochs, samples):
    written((1, 1), (1, 2), (2, 1), (2, 10))
    Logs(tmp_path, place)
    if epochs:
        assert [(int(row["stage"]), int(row["epoch"])) for row in rows(tmp_path / "epochs.csv")] == epochs
    assert (tmp_path / "epochs.csv").exists() == bool(epochs)
    if samples:
        found = rows(tmp_path / "weights.csv")
        assert [int(row["epoch"]) for row in found] == samples
        assert [row["sample"] for row in found] == [*NAMES] * (len(samples) // 2)
    assert (tmp_path / "weights.csv").exists() == bool(samples)


@pytest.mark.parametrize("cut", [1, 5, 25])
def test_a_last_row_that_was_cut_off_is_dropped(tmp_path, written, cut):
    written((2, 1), (2, 2))
    for name in ("epochs.csv", "weights.csv"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-cut])
    written((2, 2), place=Place(2, 1, None, {}))
    assert [row["epoch"] for row in rows(tmp_path / "epochs.csv")] == ["1", "2"]
    assert [row["epoch"] for row in rows(tmp_path / "weights.csv")] == ["1", "1", "2", "2"]
    assert all(None not in row and None not in row.values() for row in rows(tmp_path / "weights.csv"))


@pytest.mark.parametrize("content", ["", "stage,ep", "stage,epoch\n"])
def test_a_log_without_a_whole_row_begins_anew(tmp_path, written, content):
    (tmp_path / "epochs.csv").write_text(content)
    written((1, 1))
    assert [list(row) for row in rows(tmp_path / "epochs.csv")] == [HEADER]


def test_tensorboard_has_one_curve_of_a_run_that_was_stopped(tmp_path, written, report):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written((2, 1), (2, 2), report=report)
    written((2, 2), (2, 3), place=Place(2, 1, None, {}))
    curves = events.EventAccumulator(str(tmp_path / "tensorboard" / "student")).Reload()
    assert [event.step for event in curves.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in curves.Scalars("terms/weight")] == pytest.approx([0.305] * 3)
    assert [event.step for event in curves.Scalars("validation/maxF")] == [1]
    assert {"learning_rate", "images_per_second", "terms/teacher_iou"} <= set(curves.Tags()["scalars"])


def test_tensorboard_forgets_a_second_stage_that_had_no_checkpoint_yet(tmp_path, written):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written((1, 1), (2, 1))
    written((2, 1), (2, 2), place=Place(1, 1, None, {}))
    curves = events.EventAccumulator(str(tmp_path / "tensorboard" / "student")).Reload()
    assert [event.step for event in curves.Scalars("loss")] == [1, 2]
