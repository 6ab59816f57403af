"""ONNX files: what ONNX Runtime makes of them, what they say of themselves, what is refused."""

import copy
import json
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

import dynamic_kd  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, export_onnx  # noqa: E402
from dynamic_kd.models import _export as export_module  # noqa: E402


def small(model=FPNStudent, channels=4):
    torch.manual_seed(0)
    return model("tiny", channels)


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.numpy()})[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A student as saliency at any size, with the metadata of its weights."""
    path = tmp_path_factory.mktemp("onnx") / "folder" / "student.onnx"
    student = small()
    before = copy.deepcopy(student)
    metadata = {"recipe": {"seed": 3}, "model": "as in the weights", "dynamic_kd": "0"}
    report = export_onnx(student, path, metadata=metadata)
    assert student.training
    for ours, theirs in zip(student.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    return student, path, report


@pytest.fixture(scope="module")
def content(exported):
    return {each.key: each.value for each in onnx.load(exported[1]).metadata_props}


@pytest.fixture
def quick(monkeypatch, exported):
    """Leave out the conversion, which takes seconds: every network is the exported student."""
    monkeypatch.setattr(export_module, "_converted", lambda *a: onnx.load(exported[1]))


@pytest.mark.parametrize("shape", [(1, 4, 256, 256), (5, 4, 64, 96), (2, 4, 33, 47), (1, 4, 32, 352)])
def test_saliency_is_torchs_at_any_size(exported, shape):
    student, path, _ = exported
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.sigmoid(student(images)).numpy()
    found = run(path, images)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_report(exported):
    _, path, report = exported
    assert report.path == path
    assert report.shapes == [(1, 4, 256, 256), (3, 4, 32, 32), (2, 4, 33, 63)]
    assert 0 < report.difference < 1e-5
    assert [each.name for each in path.parent.iterdir()] == ["student.onnx"]


def test_the_file_is_valid_and_says_nothing_of_where_it_was_made(exported):
    proto = onnx.load(exported[1])
    onnx.checker.check_model(proto, full_check=True)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 18)]
    assert [each.name for each in (*proto.graph.input, *proto.graph.output)] == ["images", "saliency"]
    assert not re.search(rb"\.py\b|stack_trace", exported[1].read_bytes())


def test_metadata_of_the_weights_go_along(content):
    assert content["dynamic_kd"] == dynamic_kd.__version__
    assert content["model"] == "FPNStudent"
    assert json.loads(content["model_settings"]) == {"backbone": "tiny", "in_channels": 4}
    assert json.loads(content["recipe"]) == {"seed": 3}
    assert json.loads(content["output"]) == "saliency in [0, 1]"


def test_input_normalised_as_the_metadata_say_is_what_training_sees(content):
    from dynamic_kd.models import network_input

    said = json.loads(content["input"])
    assert said["channels"] == ["red", "green", "blue", "depth"]
    assert said["size"] == "any from 32x32 on"
    colour, depth = torch.randint(0, 256, (1, 3, 5, 6), dtype=torch.uint8), torch.rand(1, 1, 5, 6)
    channels = torch.cat([colour / 255, depth], dim=1).permute(0, 2, 3, 1).numpy()
    ours = (channels - said["mean"]) / said["deviation"]
    np.testing.assert_allclose(network_input(colour, depth).permute(0, 2, 3, 1), ours, atol=1e-5)


def test_logits_of_colour_alone_at_a_fixed_size_by_a_newer_opset(tmp_path):
    teacher, path = small(RFBTeacher, 3).bfloat16(), tmp_path / "teacher.onnx"
    report = export_onnx(teacher, str(path), output="logits", size=48, opset=21)
    assert report.shapes == [(1, 3, 48, 48), (3, 3, 48, 48), (2, 3, 48, 48)]
    images = torch.randn(4, 3, 48, 48)
    with torch.no_grad():
        np.testing.assert_allclose(run(path, images), teacher.float()(images).numpy(), atol=1e-4)
    proto = onnx.load(path)
    assert proto.opset_import[0].version == 21
    assert [each.name for each in proto.graph.output] == ["logits"]
    content = {each.key: each.value for each in proto.metadata_props}
    assert json.loads(content["output"]) == "logits; their sigmoid is saliency"
    said = json.loads(content["input"])
    assert (said["channels"], said["size"]) == (["red", "green", "blue"], "48x48")
    assert len(said["mean"]) == len(said["deviation"]) == 3


class TestRefused:
    def test_a_file_that_computes_something_else_is_not_written(self, quick, tmp_path):
        other = small()
        with torch.no_grad():
            other.predict.bias += 1
        message = r"ONNX Runtime differs from torch by \d.\de-01, more than the tolerance 0.0001; nothing was written"
        with pytest.raises(ValueError, match=message):
            export_onnx(other, tmp_path / "other.onnx")
        assert not list(tmp_path.iterdir())
        assert export_onnx(other, tmp_path / "other.onnx", tolerance=1).difference > 0.1

    def test_what_is_not_a_number_is_a_difference(self, quick, tmp_path):
        other = small()
        with torch.no_grad():
            other.predict.bias.fill_(torch.nan)
        with pytest.raises(ValueError, match="differs from torch by nan"):
            export_onnx(other, tmp_path / "other.onnx")

    def test_another_model(self, tmp_path):
        with pytest.raises(TypeError, match="model: expected one of FPNStudent, RFBTeacher, got Linear"):
            export_onnx(torch.nn.Linear(1, 1), tmp_path / "x.onnx")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"output": "map"}, "output: expected one of 'saliency', 'logits', got 'map'"),
            ({"size": 31}, r"size: expected a whole number of at least 32, got 31"),
            ({"opset": 17}, r"opset: expected a whole number from 18 to \d\d, got 17"),
            ({"opset": 999}, r"opset: expected a whole number from 18 to \d\d, got 999"),
            ({"tolerance": -1}, r"tolerance: expected a number in \[0, inf\), got -1"),
        ],
    )
    def test_settings(self, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            export_onnx(small(), tmp_path / "x.onnx", **settings)

    def test_a_missing_package(self, monkeypatch, tmp_path):
        monkeypatch.setattr("dynamic_kd._extras.installed", lambda name: name != "onnxruntime")
        with pytest.raises(ModuleNotFoundError, match=r"onnxruntime is not installed; .*'dynamic-kd\[export\]'"):
            export_onnx(small(), tmp_path / "x.onnx")
