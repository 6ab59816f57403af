"""Networks as files: what comes back, what the metadata say, and what is refused."""

import json
import os
import re

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import dynamic_kd  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, model_metadata, save_model  # noqa: E402

MODELS = [FPNStudent, RFBTeacher]


@pytest.fixture
def student():
    torch.manual_seed(0)
    return FPNStudent("tiny")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


@pytest.fixture
def written(student, path):
    """Write the student's tensors and metadata, changed at will, as another program or version might."""

    def write(tensors=(), **metadata):
        words = {"dynamic_kd": "0.0.1", "model": "FPNStudent", "model_settings": json.dumps(student.settings)}
        words = {name: word for name, word in (words | metadata).items() if word is not None}
        state = {name: tensor for name, tensor in (student.state_dict() | dict(tensors)).items() if tensor is not None}
        save_file(state, path, metadata=words)
        return path

    return write


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("channels", [3, 4])
def test_the_same_network_comes_back(model, channels, path):
    torch.manual_seed(1)
    network = model("tiny", channels).to(memory_format=torch.channels_last)
    save_model(network, path)
    again = load_model(path)
    assert type(again) is model
    assert again.settings == {"backbone": "tiny", "in_channels": channels}
    assert not again.training
    image = torch.rand(1, channels, 40, 48)
    with torch.no_grad():
        torch.testing.assert_close(again(image), network(image))
    again(image).sum().backward()
    assert all(parameter.grad is not None for parameter in again.parameters())


def test_the_suffix_is_the_callers(student, tmp_path):
    save_model(student, tmp_path / "student.best")
    assert type(load_model(tmp_path / "student.best")) is FPNStudent


def test_loading_leaves_the_random_numbers_alone(student, path):
    save_model(student, path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(str(path), device=torch.device("cpu"))
    assert torch.equal(torch.rand(2), expected)


def test_the_device_is_the_callers(student, path):
    save_model(student, path)
    assert {parameter.device.type for parameter in load_model(path, device="meta").parameters()} == {"meta"}


def test_half_precision_stays(student, path):
    save_model(student.half(), path)
    assert {parameter.dtype for parameter in load_model(path).parameters()} == {torch.float16}


def test_metadata(student, path):
    recipe = {"temperature": 5.0, "seed": 0, "name": "größer"}
    save_model(student, path, recipe=recipe, weighting="dynamic", epoch=40, best=None)
    assert model_metadata(path) == {
        "dynamic_kd": dynamic_kd.__version__,
        "model": "FPNStudent",
        "model_settings": {"backbone": "tiny", "in_channels": 4},
        "recipe": recipe,
        "weighting": "dynamic",
        "epoch": 40,
        "best": None,
    }
    with safe_open(path, "pt") as file:  # what other programs see: words, and JSON
        assert file.metadata()["model"] == "FPNStudent"
        assert json.loads(file.metadata()["recipe"]) == recipe


def test_words_that_are_no_json_stand_for_themselves(written):
    assert model_metadata(written(note="by hand"))["note"] == "by hand"


class TestWriting:
    def test_folders_are_made(self, student, tmp_path):
        save_model(student, tmp_path / "a" / "b" / "x.safetensors")
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.safetensors"]

    def test_a_failure_leaves_the_old_file_whole_and_nothing_else(self, student, path, monkeypatch):
        save_model(student, path, epoch=1)

        def fail(descriptor):
            raise OSError("no space left")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space left"):
            save_model(student, path, epoch=2)
        assert model_metadata(path)["epoch"] == 1
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["dynamic_kd", "model", "model_settings"])
    def test_names_that_are_taken(self, student, path, name):
        with pytest.raises(ValueError, match=f"metadata: '{name}' is set by save_model; choose another name"):
            save_model(student, path, **{name: "x"})
        assert not path.exists()

    def test_what_json_cannot_hold(self, student, path):
        with pytest.raises(TypeError, match=r"metadata: expected values that JSON can hold, got seed = \{1\} \(.*set"):
            save_model(student, path, seed={1})

    def test_another_model(self, path):
        with pytest.raises(TypeError, match="model: expected one of FPNStudent, RFBTeacher, got Linear"):
            save_model(torch.nn.Linear(1, 1), path)


class TestRefused:
    @pytest.mark.parametrize("read", [load_model, model_metadata])
    def test_no_file(self, path, read):
        with pytest.raises(FileNotFoundError, match=r"network.safetensors: expected a file of weights, got no file"):
            read(path)

    @pytest.mark.parametrize("read", [load_model, model_metadata])
    def test_no_safetensors_file(self, path, read):
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=r"network.safetensors: not a safetensors file, or a damaged one"):
            read(path)

    @pytest.mark.parametrize("read", [load_model, model_metadata])
    def test_weights_without_metadata(self, path, read):
        save_file({"features.0.weight": torch.zeros(1)}, path)
        message = r"expected a network of dynamic-kd, got weights without its metadata; .*FPNStudent\(weights=...\)"
        with pytest.raises(ValueError, match=message):
            read(path)

    @pytest.mark.parametrize(
        ("metadata", "problem"),
        [
            ({"model": "UNet"}, "model: expected one of 'FPNStudent', 'RFBTeacher', got 'UNet'"),
            ({"model": None}, "'model'"),
            ({"model_settings": None}, "'model_settings'"),
            ({"model_settings": '{"depth": 3}'}, ".*unexpected keyword argument 'depth'"),
            ({"model_settings": '{"backbone": "vgg11"}'}, "backbone: expected one of .*, got 'vgg11'"),
        ],
    )
    def test_a_network_not_known_here(self, written, metadata, problem):
        here = re.escape(dynamic_kd.__version__)
        message = rf"written by dynamic-kd 0.0.1; this is {here}, which cannot rebuild the network: "
        with pytest.raises(ValueError, match=message + problem):
            load_model(written(**metadata))

    @pytest.mark.parametrize(
        ("tensors", "problem"),
        [
            ({"predict.bias": None}, r"\(missing: predict.bias\)"),
            ({"predict.gain": torch.zeros(1)}, r"\(unknown: predict.gain\)"),
            ({"predict.bias": torch.zeros(2)}, r"\(wrong: predict.bias is torch.float32 \(2,\) instead of \(1,\)\)"),
        ],
    )
    def test_tensors_of_another_network(self, written, tensors, problem):
        with pytest.raises(ValueError, match=r"written by dynamic-kd 0.0.1; .* which expects other tensors " + problem):
            load_model(written(tensors))


def test_what_cannot_be_written_is_said_of_the_file_itself(student, tmp_path):
    """It is written beside its place first, under a name that nobody knows."""
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OSError, match=r"Is a directory: .*folder\.safetensors'$") as caught:
        save_model(student, tmp_path / "folder.safetensors")
    assert caught.value.filename == str(tmp_path / "folder.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_weights_that_may_not_be_read(student, path):
    save_model(student, path)
    path.chmod(0)
    with pytest.raises(PermissionError, match=r"network\.safetensors"):
        load_model(path)
