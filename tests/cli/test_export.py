"""``dynamic-kd export`` as its users call it."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import onnx  # noqa: E402

from dynamic_kd import models  # noqa: E402
from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_model(FPNStudent("tiny"), tmp_path / "student.safetensors", recipe={"seed": 5})
    return tmp_path / "student.safetensors"


@pytest.fixture
def asked(monkeypatch):
    """Record what the library is asked for instead of doing it."""
    calls = []

    def record(model, path, **settings):
        calls.append((model, path, settings))
        return models._export.ExportReport(path, [(1, 4, 32, 32), (3, 4, 32, 32)], 1.2e-6)

    monkeypatch.setattr(models, "export_onnx", record)
    return calls


def test_weights_become_a_checked_file(weights, tmp_path, capsys):
    assert main(["export", str(weights), "--out", str(tmp_path / "x.onnx"), "--size", "32"]) == 0
    captured = capsys.readouterr()
    check, wrote = captured.out.splitlines()
    assert check.startswith("ONNX Runtime differs from torch by at most ")
    assert check.endswith("on images of 1x4x32x32, 3x4x32x32, 2x4x32x32.")
    assert wrote == f"wrote {tmp_path / 'x.onnx'}"
    assert captured.err == ""
    assert {each.key: each.value for each in onnx.load(tmp_path / "x.onnx").metadata_props}["recipe"] == '{"seed": 5}'


def test_what_the_library_is_asked_for_by_default(weights, asked, capsys):
    assert main(["export", str(weights)]) == 0
    [(model, path, settings)] = asked
    assert type(model) is FPNStudent
    assert path == weights.with_suffix(".onnx")
    assert settings.pop("metadata")["recipe"] == {"seed": 5}
    assert settings == {"output": "saliency", "size": None, "opset": 18, "tolerance": 1e-4}
    assert "at most 1.2e-06 on images of 1x4x32x32, 3x4x32x32." in capsys.readouterr().out


def test_options_are_passed_on(weights, asked):
    options = ["--output", "logits", "--size", "64", "--opset", "21", "--tolerance", "0.5", "--out", "y.onnx"]
    assert main(["export", str(weights), *options]) == 0
    [(_, path, settings)] = asked
    assert str(path) == "y.onnx"
    del settings["metadata"]
    assert settings == {"output": "logits", "size": 64, "opset": 21, "tolerance": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors: expected a file of weights, got no file"),
        (["WEIGHTS", "--size", "8"], "size: expected a whole number of at least 32, got 8"),
        (["WEIGHTS", "--opset", "9"], "opset: expected a whole number from 18 to "),
        (["WEIGHTS", "--opset", "99"], "opset: expected a whole number from 18 to "),
        (["WEIGHTS", "--out", "x.pt"], "x.pt: expected a name ending in .onnx, got .pt"),
    ],
)
def test_mistakes_are_one_line_and_status_2(weights, capsys, arguments, message):
    assert main(["export", *(str(weights) if each == "WEIGHTS" else each for each in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dynamic-kd: error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["student.safetensors", "weights.onnx"])
def test_weights_are_never_replaced_by_the_file_made_of_them(weights, name, capsys, monkeypatch):
    monkeypatch.chdir(weights.parent)
    weights.rename(weights.with_name(name))
    before = weights.with_name(name).read_bytes()
    assert main(["export", name, "--out", f"./{name}"]) == 2
    assert weights.with_name(name).read_bytes() == before
    error = capsys.readouterr().err
    assert error.startswith(f"dynamic-kd: error: --out ./{name}: this is the file of weights")
    assert error.count("\n") == 1
