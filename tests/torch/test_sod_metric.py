"""The scores as torchmetrics metrics: alone, in collections, and over processes."""

import json
import socket
import traceback
import warnings

import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

from dynamic_kd.torch import SODMetric, SODScore  # noqa: E402  (needs what is looked for above)

SHAPES = [(9, 14), (20, 11), (9, 14), (16, 16), (7, 30), (9, 14), (25, 8)]
NAMES = "abcdefg"


def images(device="cpu"):
    generator = np.random.default_rng(3)
    made = []
    for shape in SHAPES:
        target = generator.random(shape) < 0.4
        pred = np.clip(0.4 * target + 0.6 * generator.random(shape), 0, 1).astype(np.float32)
        made.append((torch.from_numpy(pred)[None].to(device), torch.from_numpy(target)[None].to(device)))
    made[4][1][:] = False
    return made


def expected(**settings):
    metrics = SODMetrics(**settings)
    for name, (pred, target) in zip(NAMES, images(), strict=True):
        metrics.update(pred, target, names=name)
    return metrics.compute()


def filled(which=None, device="cpu", **settings):
    metric = SODMetric(**settings).to(device)
    made = images(device)
    for index in range(len(made)) if which is None else which:
        metric.update(*made[index], names=NAMES[index])
    return metric


def assert_same(report, other, *, ordered=True):
    """The same bits of the data set's scores and curves, and the same rows, in order or by name."""
    assert report.as_dict() == other.as_dict()
    assert report.pooled == other.pooled
    assert report.counts == other.counts | {"duplicates": report.counts["duplicates"]}
    for name, curve in other.curves.items():
        np.testing.assert_array_equal(report.curves[name], curve)
    rows = dict(zip(report.names, report.rows.tolist(), strict=True))
    assert rows == dict(zip(other.names, other.rows.tolist(), strict=True))
    assert not ordered or report.names == other.names


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"metrics": ["MAE", "IoU"], "quantize": True, "normalize": False},
        {"strict": True, "empty_target": "skip", "duplicates": "once"},
    ],
)
def test_the_scores_of_the_accumulator(settings):
    metric = filled(**settings)
    assert_same(metric.report(), expected(**settings))
    scores = metric.compute()
    assert {name: value.item() for name, value in scores.items()} == expected(**settings).as_dict()
    assert all(value.dtype == torch.float64 and value.ndim == 0 for value in scores.values())


def test_forward_gives_the_batch_and_keeps_the_whole():
    metric = SODMetric()
    for pred, target in images():
        alone = SODMetrics()
        alone.update(pred, target)
        assert {name: value.item() for name, value in metric(pred, target).items()} == alone.compute().as_dict()
    assert {name: value.item() for name, value in metric.compute().items()} == expected().as_dict()
    assert metric.report().names == tuple("0123456")


def test_reset_pickling_and_checkpoints():
    import pickle

    metric = filled(range(4))
    again = pickle.loads(pickle.dumps(metric))
    metric.reset()
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="compute: expected at least one scored image, got none"),
    ):
        metric.compute()
    again.persistent(True)
    loaded = SODMetric()
    loaded.persistent(True)
    loaded.load_state_dict(again.state_dict())
    made = images()
    for index in range(4, 7):
        loaded.update(*made[index], names=NAMES[index])
    assert_same(loaded.report(), expected())


def test_collections_share_the_work():
    collection = torchmetrics.MetricCollection(
        {name: SODScore(name) for name in ("maxF", "meanF", "adpF", "MAE")} | {"all": SODMetric()}
    )
    for pred, target in images():
        collection.update(pred, target)
    scores, report = collection.compute(), expected()
    assert sorted(map(sorted, collection.compute_groups.values())) == [["MAE"], ["adpF", "maxF", "meanF"], ["all"]]
    for name in ("maxF", "meanF", "adpF", "MAE"):
        assert scores[name].item() == report[name]
    assert scores["all_Sm" if "all_Sm" in scores else "Sm"].item() == report["Sm"]


@pytest.mark.parametrize(
    "pair",
    [
        {"a": ("wF", {}), "b": ("Sm", {})},
        {"a": ("MAE", {}), "b": ("MAE", {"normalize": False})},
        {"a": ("maxE", {}), "b": ("maxE", {"empty_target": "skip"})},
        {"a": ("MAE", {"duplicates": "once"}), "b": ("MAE", {})},
    ],
)
def test_collections_keep_metrics_of_other_settings_apart(pair):
    """torchmetrics groups metrics whose states agree after the first batch, here a perfect one."""
    collection = torchmetrics.MetricCollection({name: SODScore(score, **rest) for name, (score, rest) in pair.items()})
    alone = {name: SODScore(score, **rest) for name, (score, rest) in pair.items()}
    perfect = torch.eye(8)[None], torch.eye(8)[None] > 0
    for each in (perfect, *images()):
        collection.update(*each)
        for metric in alone.values():
            metric.update(*each)
    scores = collection.compute()
    for name, metric in alone.items():
        assert scores[name] == metric.compute()


def test_other_settings_states_are_refused():
    metric = filled(normalize=False)
    metric.persistent(True)
    other = SODMetric()
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    other.update(*images()[0])
    with pytest.raises(ValueError, match="states: expected those of a metric of the same settings, got others"):
        other.compute()


def test_names_of_all_kinds():
    names = ["", "ü.png", "\udce9.png", "7"]
    metric = SODMetric()
    for name, each in zip(names, images(), strict=False):
        metric.update(*each, names=[name])
    metric.update(*images()[5])
    assert metric.report().names == (*names, "4")
    with pytest.raises(ValueError, match="names: expected text without NUL characters, got 'a"):
        metric.update(*images()[0], names=["a\0b"])
    with pytest.raises(TypeError, match="names: expected strings, got tensor"):
        metric.update(*images()[0], torch.ones(1, 9, 14))
    assert metric.report().counts["images"] == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_an_update_does_not_wait_for_the_device():
    metric, made = filled([0, 1], device="cuda"), images("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        metric.update(*made[2], names="c")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert metric.report().names == ("a", "b", "c")


def test_dtypes_and_checks():
    metric = filled().set_dtype(torch.float16)
    metric.update(*images()[0], names="again")
    assert metric.report().counts["images"] == 8
    assert metric.report().settings["backend"] in ("numba", "numpy")
    metric.reset()
    assert metric._report is None
    trusting = SODMetric(check="off")
    trusting.update(torch.eye(5)[None, None], torch.eye(5, dtype=torch.uint8)[None, None])
    assert trusting.report().counts["empty_target"] == 0


def test_a_score_says_which_way_is_better():
    assert SODScore("maxF").higher_is_better
    assert not SODScore("MAE").higher_is_better
    assert not SODScore("binBER").higher_is_better
    with pytest.raises(ValueError, match="score: expected one from statistics, got 'HCE', which looks at pixels"):
        SODScore("HCE")
    with pytest.raises(ValueError, match=r"score: expected one of 'MAE', 'maxF', .* got 'maxf'"):
        SODScore("maxf")


def test_bad_input_and_settings():
    metric = SODMetric()
    pred, target = images()[0]
    with pytest.raises(ValueError, match=r"pred: expected values in \[0, 1\]"):
        metric.update(255 * pred, target)
    with pytest.raises(ValueError, match="names: expected one for each of 1 images, got 2"):
        metric.update(pred, target, names=["a", "b"])
    with pytest.raises(ValueError, match="empty_target: expected one of"):
        SODMetric(empty_target="no")
    with pytest.raises(ValueError, match="metrics: expected metrics from statistics, got HCE, which look at pixels"):
        SODMetric(["F", "HCE"])
    refusing = filled(empty_target="refuse")
    with pytest.raises(ValueError, match="got none in e"):
        refusing.compute()


def test_names_seen_twice():
    with pytest.raises(ValueError, match="names: expected each image once, got b again"):
        filled([0, 1, 2, 1]).compute()
    report = filled([*range(7), 1, 4], duplicates="once").report()
    assert report.counts["duplicates"] == 2
    assert_same(report, expected())


def test_padded_batches():
    pred, target, valid = torch.full((7, 1, 25, 30), torch.nan), torch.zeros(7, 1, 25, 30), torch.zeros(7, 25, 30)
    for index, (image, mask) in enumerate(images()):
        place = index, slice(None), slice(0, mask.shape[1]), slice(0, mask.shape[2])
        pred[place], target[place], valid[(index, *place[2:])] = image, mask.float(), 1
    metric = SODMetric()
    metric.update(pred, target, names=list(NAMES), valid=valid[:, None])
    assert_same(metric.report(), expected())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
@pytest.mark.parametrize("salient", [1, 255])
def test_integer_targets_of_two_levels_are_read_as_booleans(dtype, salient):
    if salient > torch.iinfo(dtype).max:
        pytest.skip("the dtype cannot hold it")
    metric, score = SODMetric(), SODScore("Sm")
    for name, (pred, target) in zip(NAMES, images(), strict=True):
        metric.update(pred, salient * target.to(dtype), names=name)
        score.update(pred, salient * target.to(dtype))
    assert_same(metric.report(), expected())
    assert score.compute().item() == expected()["Sm"]


def test_images_of_several_sizes_come_as_a_list():
    metric = SODMetric()
    preds, targets = zip(*images(), strict=True)
    metric.update(list(preds), targets, names=list(NAMES))
    assert_same(metric.report(), expected())
    alone = SODMetric()
    batch = {name: value.item() for name, value in alone([preds[0], preds[1]], [targets[0], targets[1]]).items()}
    assert batch == filled([0, 1]).report().as_dict()


def test_the_prefix_is_put_before_the_names_of_scores():
    metric = filled(prefix="val/")
    assert {name.removeprefix("val/"): value.item() for name, value in metric.compute().items()} == expected().as_dict()
    assert all(name.startswith("val/") for name in metric.compute())
    assert metric.report().as_dict() == expected().as_dict()
    assert metric._fingerprint == SODMetric()._fingerprint  # checkpoints of another prefix can be read
    with pytest.raises(TypeError, match="prefix: a single score is a number without a name; pass it to the MetricC"):
        SODScore("MAE", prefix="val/")


def test_scores_of_a_collection_share_one_computation():
    names = ("MAE", "maxF", "wF", "Sm", "maxE")
    scores = {name: SODScore(name, metrics=["MAE", "F", "wF", "S", "E"]) for name in names}
    collection = torchmetrics.MetricCollection(scores, prefix="val/")
    made = images()
    collection.update(*made[0])
    updates = []
    for metric in collection.values(copy_state=False):
        metric.update = lambda *args, update=metric.update, **options: (updates.append(1), update(*args, **options))
    for each in made[1:]:
        collection.update(*each)
    assert len(updates) == len(made) - 1
    found, report = collection.compute(), expected()
    assert {name: found[f"val/{name}"].item() for name in names} == {name: report[name] for name in names}
    with pytest.raises(ValueError, match=r"metrics: expected 'F', which gives maxF, among them, got \['S'\]"):
        SODScore("maxF", metrics=["S"])


def test_collections_made_from_lists_and_dicts():
    report = expected()
    one = torchmetrics.MetricCollection([SODMetric()], prefix="val/")
    several = torchmetrics.MetricCollection({"all": SODMetric(["MAE"]), "raw": SODMetric(["MAE"], normalize=False)})
    for pred, target in images():
        one.update(pred, target)
        several.update(pred, target)
    assert {name: value.item() for name, value in one.compute().items()} == {f"val/{n}": v for n, v in report.items()}
    assert {name: value.item() for name, value in several.compute().items()} == {
        "all_MAE": report["MAE"],
        "raw_MAE": expected(normalize=False)["MAE"],
    }


def test_a_report_is_json():
    assert json.loads(json.dumps(filled().report().as_dict())) == expected().as_dict()


def test_scores_are_drawn():
    pytest.importorskip("matplotlib").use("agg")
    _, axes = filled().plot()
    assert {text.get_text() for text in axes.get_legend().get_texts()} >= {"MAE", "maxF", "Sm"}
    score = SODScore("maxF")
    values = [score(*each) for each in images()[:3]]
    figure, axes = score.plot(values)
    assert axes.get_ylabel() == "maxF"
    assert axes.lines[0].get_ydata() == pytest.approx([value.item() for value in values])
    assert axes.figure is figure


@pytest.fixture
def lightning():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_lightning", reason="needs the dependency group peers")


def validated(lightning, module, tmp_path):
    """The scores that Lightning logs of two epochs of validation; both must be the same."""
    loader = torch.utils.data.DataLoader(images(), batch_size=None)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it would recommend for larger work
        trainer = lightning.Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet)
        (first,), (again,) = (trainer.validate(module, loader, verbose=False) for _ in range(2))
    assert first == again
    return first


def test_lightning_logs_the_scores_of_an_epoch(lightning, tmp_path):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.scores = SODMetric(prefix="val/")
            self.best = SODScore("maxF")

        def validation_step(self, batch, index):
            self.scores.update(*batch)
            self.best.update(*batch)
            self.log("best", self.best)

        def on_validation_epoch_end(self):
            self.log_dict(self.scores.compute())
            self.scores.reset()

    scores, report = validated(lightning, Module(), tmp_path), expected()
    assert scores == pytest.approx({f"val/{name}": value for name, value in report.items()} | {"best": report["maxF"]})


def test_lightning_logs_a_collection_of_one_computation(lightning, tmp_path):
    names = ("MAE", "maxF", "Sm")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            scores = {name: SODScore(name, metrics=["MAE", "F", "S"]) for name in names}
            self.scores = torchmetrics.MetricCollection(scores, prefix="val/")

        def validation_step(self, batch, index):
            self.scores.update(*batch)
            self.log_dict(self.scores)

    module = Module()
    scores, report = validated(lightning, module, tmp_path), expected()
    assert scores == pytest.approx({f"val/{name}": report[name] for name in names})
    assert len(module.scores.compute_groups) == 1


# Processes

CASES = {
    "uneven shards": ([[0, 1, 2, 3, 4], [5, 6]], {}),
    "a shard of none": ([[0, 1, 2, 3, 4, 5, 6], []], {}),
    "a sampler's padding": ([[0, 2, 4, 6], [1, 3, 5, 0]], {"duplicates": "once", "strict": True}),
    "skipped images": ([[6, 4], [0, 1, 2, 3, 5]], {"empty_target": "skip", "metrics": ["F", "kappa", "S"]}),
}


def work(rank, size, port, backend, results):
    """One process: scores its shards, and sends back what it believes the whole is."""
    try:
        device = f"cuda:{rank}" if backend == "nccl" else "cpu"
        options = {"device_id": torch.device(device)} if backend == "nccl" else {}
        torch.distributed.init_process_group(
            backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size, **options
        )
        found = {}
        for case, (shards, settings) in CASES.items():
            metric = filled(shards[rank], device, **settings)
            if not shards[rank]:
                metric._update_count = 1  # torchmetrics warns of a compute without an update
            found[case] = metric.report()
        metric = SODMetric().to(device)
        for pred, target in images(device)[rank::size]:
            metric.update(pred, target)
        found["no names"] = metric.report()
        metric.update(*images(device)[0])  # goes on from its own shard, not from the whole
        found["after"] = metric.report()
        metric = SODMetric(empty_target="refuse").to(device)
        metric.update(*images(device)[4 if rank else 0])
        with pytest.raises(ValueError, match="got none in 1"):
            metric.compute()
        metric.update(*images(device)[1])  # still its own shard
        assert len(metric.numbers) == 2
        results.put((rank, found))
        torch.distributed.destroy_process_group()
    except BaseException:
        results.put((rank, traceback.format_exc()))


def of_two_processes(backend):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=work, args=(rank, 2, port, backend, results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=240) for _ in processes]
    for process in processes:
        process.join(60)
    failures = [result for _, result in found if isinstance(result, str)]
    assert not failures, "\n".join(failures)
    return [result for _, result in sorted(found, key=lambda each: each[0])]


def check_processes(backend):
    for reports in of_two_processes(backend):
        for case, (_, settings) in CASES.items():
            assert_same(reports[case], one_process(backend, **settings), ordered=False)
        assert reports["a sampler's padding"].counts["duplicates"] == 1
        assert reports["no names"].as_dict() == one_process(backend).as_dict()
        assert reports["after"].counts["images"] == len(SHAPES) + 2


def one_process(backend, **settings):
    return expected(**settings) if backend == "gloo" else filled(device="cuda", **settings).report()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_two_processes_give_the_bits_of_one():
    check_processes("gloo")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_give_the_bits_of_one():
    check_processes("nccl")
