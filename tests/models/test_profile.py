"""What networks cost: counted by hand, and measured."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.models import NETWORKS, FPNStudent, Profile, RFBTeacher, profile  # noqa: E402
from dynamic_kd.models._profile import device_name  # noqa: E402


def weightless(name, channels=4):
    with torch.device("meta"):
        return NETWORKS[name](channels)


def by_hand(stages, size, width=64, channels=4):
    """Operations of the student's convolutions, two for each multiply-add."""
    macs = 0
    for level, stage in enumerate(stages):
        pixels = (size >> level) ** 2
        for count in stage:
            macs += 9 * channels * count * pixels
            channels = count
        macs += (channels * width + 2 * 9 * width * width) * pixels
    return 2 * (macs + 9 * width * size**2)


VGG16 = [(64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3]


@pytest.mark.parametrize(("name", "mebibytes"), [("student-vgg16", 57.9), ("student-vgg19", 78.2)])
def test_the_students_have_the_sizes_of_table_2(name, mebibytes):
    cost = profile(weightless(name), speed=False)
    assert cost.mebibytes == pytest.approx(mebibytes, abs=0.05)
    assert cost.mebibytes == cost.parameters * 4 / 1024**2


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("batch", [1, 3])
def test_operations_of_one_image_are_those_counted_by_hand(size, batch):
    cost = profile(weightless("student-vgg16"), size, batch=batch, speed=False)
    assert cost.flops == by_hand(VGG16, size)
    assert cost.macs * 2 == cost.flops


def test_colour_alone_takes_fewer():
    assert profile(weightless("student-vgg16", 3), 64, speed=False).flops == by_hand(VGG16, 64, channels=3)


def test_the_built_in_networks():
    kinds = {"student": FPNStudent, "teacher": RFBTeacher}
    names = [f"{role}-{backbone}" for role in kinds for backbone in ("vgg16", "vgg19", "tiny")]
    assert list(NETWORKS) == names
    for name in names:
        model, (role, backbone) = weightless(name, 3), name.split("-")
        assert type(model) is kinds[role]
        assert model.settings == {"backbone": backbone, "in_channels": 3}


@pytest.mark.parametrize("training", [True, False])
def test_speed_is_measured_and_the_model_stays_as_it_is(training):
    student = FPNStudent("tiny").train(training)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    cost = profile(student, 32, batch=2, seconds=0)
    assert cost.fps > 0
    assert cost.device == device_name(torch.device("cpu"))
    assert student.training is training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_speed_is_the_median_of_runs_after_the_first_two(monkeypatch):
    durations = iter([100, 100, 1, 2, 9])
    now = [0.0]

    class Waiting(torch.nn.Linear):
        def forward(self, images):
            if not images.is_meta:
                now[0] += next(durations)
            return images

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert profile(Waiting(1, 1), 8, batch=4, in_channels=1, seconds=5).fps == 4 / 2


def test_half_precision():
    cost = profile(FPNStudent("tiny").bfloat16(), 32, seconds=0)
    assert cost.mebibytes == profile(FPNStudent("tiny"), 32, speed=False).mebibytes


def test_as_dict():
    cost = Profile(parameters=2**18, size=64, batch=2, flops=10, fps=3.0, device="x")
    expected = {"parameters": 2**18, "size": 64, "batch": 2, "flops": 10, "fps": 3.0, "device": "x"}
    assert cost.as_dict() == expected | {"mebibytes": 1.0, "macs": 5}


def test_the_device_is_described(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device_name(torch.device("cpu")).endswith(", 1 thread")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert device_name(torch.device("cpu")).endswith(", 2 threads")
    assert device_name(torch.device("meta")) == "meta"


class TestErrors:
    def test_speed_without_weights(self):
        with pytest.raises(ValueError, match=r"model: expected weights on a device, .* got the device 'meta'"):
            profile(weightless("student-tiny"))

    def test_channels_of_another_model(self):
        with pytest.raises(ValueError, match="in_channels: pass it, as Linear has no settings that state it"):
            profile(torch.nn.Linear(1, 1))

    @pytest.mark.parametrize("setting", ["size", "batch"])
    def test_range(self, setting):
        with pytest.raises(ValueError, match=rf"{setting}: expected a whole number of at least 1, got 0"):
            profile(weightless("student-tiny"), **{setting: 0})
