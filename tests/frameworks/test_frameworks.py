"""Each framework's example runs, and trains as a plain loop does with the loss in float64.

Those whose framework is not installed skip: ``nox -s frameworks`` installs all that work with a CPU build of torch.
torchdistill and segmentation-models-pytorch need torchvision, which is not built for every torch.
"""

import json
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from loss_reference import reduced_loss

from dynamic_kd.metrics import SODMetrics

torch = pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the frameworks' own
    pytest.mark.usefixtures("one_thread"),
]


def path_of(framework, *needs):
    missing = [name for name in needs if not find_spec(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return EXAMPLES / f"with_{framework}.py"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a framework's example in an empty folder and returns its variables."""
    monkeypatch.chdir(tmp_path)
    return lambda framework, *needs: runpy.run_path(str(path_of(framework, *needs)), run_name="__main__")


def run_alone(code, path, folder, **environment):
    """Run code, which gets an example's path as its argument, in a process of its own; return what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain_loss(student, teacher, masks, *, maps=False):
    """The loss with its default settings, of tensors (B, H, W), written down once more; and the mean weight."""

    def iou(p):
        return (p * masks).sum((1, 2)) / (p + masks - p * masks).sum((1, 2))

    alpha, beta = iou(teacher if maps else teacher.sigmoid()), 1 - iou(student.detach().sigmoid())
    theta = torch.where(alpha > 0.5, torch.tanh(alpha**0.7 * beta**0.3), 0.01)
    logits = teacher.clamp(0.5 / 255, 1 - 0.5 / 255).logit() if maps else teacher
    t, s = (logits / 5).sigmoid(), (student / 5).sigmoid()
    kl = 25 * (t * (t / s).log() + (1 - t) * ((1 - t) / (1 - s)).log()).mean((1, 2))
    ce = torch.nn.functional.binary_cross_entropy_with_logits(student, masks, reduction="none").mean((1, 2))
    return (theta * kl + (1 - theta) * ce).mean(), theta.mean().item()


def trained(weight, bias, images, masks, teacher, *, rate=0.01, maps=False):
    """Train one convolution by a plain loop in float64, five epochs in batches of 8.

    Returns weight and bias, and the loss and the teacher's weight at each step.
    """
    weight, bias, images, masks, teacher = (
        torch.tensor(np.ascontiguousarray(part), dtype=torch.float64) for part in (weight, bias, images, masks, teacher)
    )
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.SGD([weight, bias], lr=rate, momentum=0.9)
    steps = []
    for _ in range(5):
        for batch in zip(images.split(8), teacher.split(8), masks.split(8), strict=True):
            student = torch.nn.functional.conv2d(batch[0], weight, bias, padding=2)[:, 0]
            loss, theta = plain_loss(student, *batch[1:], maps=maps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.append((loss.item(), theta))
    return weight.detach(), bias.detach(), np.array(steps)


def trained_square(space):
    """What the examples with torch's convolutions must end with, from their data and the seed."""
    torch.manual_seed(0)
    torch.randn(16, 3, 32, 32)
    start = torch.nn.Conv2d(3, 1, 5, padding=2)
    images, masks = space["images"], space["masks"][:, 0]
    with torch.no_grad():
        teacher = space["teacher"].double()(images.double())[:, 0]
    return trained(start.weight.detach(), start.bias.detach(), images, masks, teacher)


def assert_trained(student, expected):
    for parameter, right in zip((student.weight, student.bias), expected[:2], strict=True):
        torch.testing.assert_close(parameter.detach().double(), right, rtol=1e-4, atol=1e-6)


def scores_of(space):
    """The scores of the trained student, by the accumulator alone."""
    metrics = SODMetrics()
    with torch.no_grad():
        metrics.update(space["student"](space["images"]).sigmoid(), space["masks"])
    report = metrics.compute()
    return pytest.approx([report["maxF"], report["Sm"]], abs=1e-6)


def test_the_plain_loss_is_that_of_the_loops():
    torch.manual_seed(0)
    student, noise, masks = (torch.randn(3, 4, 5, dtype=torch.float64) for _ in range(3))
    masks = (masks > 0).double()
    for teacher, kind in (
        (4 * masks - 2 + noise, "logits"),
        ((6 * masks - 3 + noise).sigmoid().round(), "probabilities"),
    ):
        loss = reduced_loss(student.numpy(), teacher.numpy(), masks.numpy(), teacher=kind)
        assert plain_loss(student, teacher, masks, maps=kind != "logits")[0].item() == pytest.approx(loss, abs=1e-12)


def test_lightning(run):
    space = run("lightning", "pytorch_lightning", "torchmetrics")
    expected = trained_square(space)
    assert_trained(space["student"], expected)
    logged = {name: value.item() for name, value in space["trainer"].logged_metrics.items()}
    assert [logged["train/loss"], logged["train/weight"]] == pytest.approx(expected[2][-1], rel=1e-5)
    assert [logged["val/maxF"], logged["val/Sm"]] == scores_of(space)


def test_mmengine(run):
    space = run("mmengine", "mmengine")
    expected = trained_square(space)
    assert_trained(space["student"], expected)
    history = space["runner"].message_hub
    values = [history.get_scalar(name)._log_history for name in ("train/loss", "train/kd/weight")]
    assert np.stack(values, axis=1) == pytest.approx(expected[2], rel=1e-5)
    assert [history.get_scalar(f"val/sod/{name}").current() for name in ("maxF", "Sm")] == scores_of(space)


def test_monai(run):
    space = run("monai", "monai", "ignite", "torchmetrics")
    for name, key in (("images", "image"), ("masks", "label")):
        space[name] = torch.stack([torch.tensor(np.array(image[key])) for image in space["data"]])
    expected = trained_square(space)
    assert_trained(space["student"], expected)
    assert space["trainer"].state.output[0]["loss"] == pytest.approx(expected[2][-1][0], rel=1e-5)
    assert space["criterion"].terms.weight.mean().item() == pytest.approx(expected[2][-1][1], rel=1e-5)
    assert [space["evaluator"].state.metrics[name].item() for name in ("maxF", "Sm")] == scores_of(space)


def test_transformers(run):
    space = run("transformers", "transformers", "accelerate")
    history = [entry for entry in space["trainer"].state.log_history if "kd/loss" in entry]
    assert len(history) == 4
    assert {"eval_maxF", "eval_Sm"} <= set(space["trainer"].state.log_history[-2])

    images = torch.stack([image["pixel_values"].double() for image in space["data"][:8]])
    masks = torch.stack([image["labels"] for image in space["data"][:8]])
    batches = [{"pixel_values": image, "labels": mask} for image, mask in zip(images, masks, strict=True)]

    class Teacher(torch.nn.Module):
        """One that is used: the mean over the channels of the image, at a quarter of its size."""

        def forward(self, pixel_values):
            pooled = torch.nn.functional.avg_pool2d(pixel_values, 4).mean(1, keepdim=True)
            return type("Output", (), {"logits": 8 * pooled - 4})

    def network():
        torch.manual_seed(1)
        made = type(space["student"])(space["small"]).double()
        # These differ between one batch and two.
        made.decode_head.batch_norm = made.decode_head.dropout = torch.nn.Identity()
        for module in made.modules():
            if type(module).__name__ == "SegformerDropPath":
                module.drop_prob = 0.0
        return made

    def stepped(accumulation, sums=False):
        """The gradient, from a step of SGD on 8 images in float64, and the logged loss."""
        student = network()
        arguments = space["TrainingArguments"](
            output_dir="one", max_steps=1, per_device_train_batch_size=8 // accumulation, use_cpu=True, max_grad_norm=0,
            gradient_accumulation_steps=accumulation, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant",
            logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        trainer = space["DistillationTrainer"](student, arguments, teacher=Teacher(), train_dataset=batches)
        if sums:
            trainer.model_accepts_loss_kwargs = True  # as the Trainer sets it
        trainer.train()
        pairs = zip(network().parameters(), student.parameters(), strict=True)
        return [(old - new).detach() for old, new in pairs], trainer.state.log_history[0]["loss"]

    student = network()
    larger = [
        torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear")[:, 0]
        for logits in (student(images).logits, Teacher()(images).logits)
    ]
    loss, theta = plain_loss(*larger, masks.double())
    loss.backward()
    assert theta > 0.1
    (whole, logged), (parts, _), (sums, _) = stepped(1), stepped(2), stepped(2, sums=True)
    assert logged == pytest.approx(loss.item(), rel=1e-6)
    assert max(step.abs().max() for step in whole) > 1e-3
    for parameter, one, two, doubled in zip(student.parameters(), whole, parts, sums, strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(doubled, 2 * one, rtol=1e-6, atol=1e-12)


def test_torchdistill(run):
    space = run("torchdistill", "torchdistill", "torchvision")
    expected = trained_square(space)
    assert_trained(space["student"], expected)
    terms = space["criterion"].terms
    assert [space["loss"].item(), terms.weight.mean().item()] == pytest.approx(expected[2][-1], rel=1e-5)
    assert [space["report"]["maxF"], space["report"]["Sm"]] == scores_of(space)


def test_segmentation_models(run):
    space = run("segmentation_models", "segmentation_models_pytorch", "timm", "torchvision", "torchmetrics")
    distiller, student = space["distiller"].eval(), space["student"]
    assert space["teacher"] in distiller.teachers
    images, masks = (space[name].to(space["device"]) for name in ("images", "masks"))
    teacher = torch.nn.Conv2d(3, 1, 5, padding=2).to(space["device"])
    torch.nn.init.constant_(teacher.weight, 8 / 75)
    torch.nn.init.constant_(teacher.bias, -4)
    distiller.teachers = (teacher,)  # one that is used
    distiller.zero_grad()
    loss, terms = distiller(images, masks)
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in student.parameters()]
    distiller.zero_grad()
    with torch.no_grad():
        taught = teacher(images).double()[:, 0]
    right, theta = plain_loss(student(images).double()[:, 0], taught, masks.double()[:, 0])
    right.backward()
    assert theta > 0.1
    assert [loss.item(), terms.weight.mean().item()] == pytest.approx([right.item(), theta], rel=1e-5)
    for gradient, parameter in zip(gradients, student.parameters(), strict=True):
        largest = parameter.grad.abs().max().item()  # convolutions on GPUs multiply in TF32
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=3e-3 * largest)


def test_webdataset(run):
    torch.manual_seed(0)
    start = torch.nn.Conv2d(3, 1, 5, padding=2)
    torch.manual_seed(0)
    space = run("webdataset", "webdataset", "PIL")
    images, masks, teacher = (torch.stack(part) for part in list(zip(*space["pipeline"]("train.tar"), strict=True))[1:])
    expected = trained(start.weight.detach(), start.bias.detach(), images, masks, teacher, rate=0.1, maps=True)
    assert_trained(space["student"], expected)
    assert [space["loss"].item(), space["terms"].weight.mean().item()] == pytest.approx(expected[2][-1], rel=1e-5)
    assert expected[2][-1][1] > 0.1  # the teacher is used
    assert space["report"].names == tuple(f"{number:04}" for number in range(16, 32))
    assert len({mask.shape for _, _, mask, _ in space["pipeline"]("validation.tar")}) == 16


def test_flax(run):
    space = run("flax", "flax", "optax")
    from flax import nnx

    def parameters(conv):
        return np.array(conv.kernel[...]).transpose(3, 2, 0, 1), np.array(conv.bias[...])

    images = np.array(space["images"]).transpose(0, 3, 1, 2)
    teacher = space["teacher"](space["images"])[..., 0]
    start = parameters(nnx.Conv(3, 1, (5, 5), rngs=nnx.Rngs(0)))
    *expected, steps = trained(*start, images, space["masks"], teacher)
    for found, right in zip(parameters(space["student"]), expected, strict=True):
        assert found == pytest.approx(right.numpy(), rel=1e-4, abs=1e-6)
    logged = np.stack([space["logged"]["train/loss"], space["logged"]["train/weight"]], axis=1)
    assert logged == pytest.approx(steps[-2:], rel=1e-5)
    metrics = SODMetrics()
    metrics.update(1 / (1 + np.exp(-np.array(space["student"](space["images"])[..., 0]))), np.array(space["masks"]))
    assert space["report"]["Sm"] == pytest.approx(metrics.compute()["Sm"], abs=1e-6)


KERAS = """
import runpy, sys, keras, numpy as np
space = runpy.run_path(sys.argv[1], run_name="__main__")
keras.utils.set_random_seed(0)
start = keras.layers.Conv2D(1, 5, padding="same")
start.build((None, 32, 32, 3))
teacher = keras.ops.convert_to_numpy(space["teacher"](space["images"]))[..., 0]
parts = [*start.get_weights(), *space["student"].get_weights(), space["images"], space["masks"][..., 0], teacher]
np.savez("found.npz", *parts, **space["history"].history)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras(backend, tmp_path):
    run_alone(KERAS, path_of("keras", "keras", backend), tmp_path, KERAS_BACKEND=backend)
    with np.load(tmp_path / "found.npz") as file:
        found = dict(file)
    start, bias, kernel, shift, images, masks, teacher = (found[f"arr_{index}"] for index in range(7))
    images = images.transpose(0, 3, 1, 2)
    weight, right, steps = trained(start.transpose(3, 2, 0, 1), bias, images, masks, teacher)
    assert kernel.transpose(3, 2, 0, 1) == pytest.approx(weight.numpy(), rel=1e-4, abs=1e-6)
    assert shift == pytest.approx(right.numpy(), rel=1e-4, abs=1e-6)
    epochs = steps.reshape(5, 2, 2).mean(1)
    assert np.stack([found["loss"], found["weight"]], axis=1) == pytest.approx(epochs, rel=1e-5)
    metrics = SODMetrics()
    logits = torch.nn.functional.conv2d(torch.tensor(images).double(), weight, right, padding=2)
    metrics.update(logits.sigmoid()[:, 0], torch.tensor(masks))
    assert found["val_Sm"][-1] == pytest.approx(metrics.compute()["Sm"], abs=1e-4)


def test_dask_gives_the_bits_of_one_machine(tmp_path):
    path = path_of("dask", "distributed")
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1], run_name='__main__')['report'].to_json())"
    printed = run_alone(code, path, tmp_path, OMP_NUM_THREADS="1")
    distributed = json.loads(printed[printed.index("{\n") :])
    space = runpy.run_path(str(path))
    metrics = SODMetrics()
    for number in reversed(range(40)):
        metrics.update_records(space["measure"](f"{number:04}"), names=[f"{number:04}"])
    alone = json.loads(metrics.compute().to_json())
    assert distributed["scores"] == alone["scores"]
    assert distributed["curves"] == alone["curves"]
    assert distributed["per_image"] == alone["per_image"][::-1]
