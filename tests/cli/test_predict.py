"""``dynamic-kd predict`` as its users call it."""

import shutil

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a data set, "my set", and the weights of a student of colour alone and one with depth."""
    monkeypatch.chdir(tmp_path)
    for sample in synthetic_rgbd(3, size=40, seed=3, spoilt_share=0):
        pictures = {
            "RGB": sample.image,
            "depth": np.rint(255 * sample.depth).astype(np.uint8),
            "GT": 255 * sample.mask.astype(np.uint8),
        }
        for name, picture in pictures.items():
            (tmp_path / "my set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "my set" / name / f"{sample.name}.png"), picture)
    torch.manual_seed(0)
    for channels in (3, 4):
        save_model(FPNStudent("tiny", channels), tmp_path / f"{channels}.safetensors", recipe={"data": {"size": 32}})
    return tmp_path


def test_maps_and_where_to_go_next(here, capsys):
    assert main(["predict", "4.safetensors", "my set", "--out", "maps"]) == 0
    assert {path.name for path in (here / "maps").glob("*.png")} == {"00000.png", "00001.png", "00002.png"}
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "wrote 3 maps into maps; the network's input is 32 pixels wide"
    assert out[1] == "near is bright in the depth files of my set"
    assert out[-1] == "  dynamic-kd evaluate --pred maps --target 'my set/GT'"
    assert main(["predict", "4.safetensors", "my set", "--out", "maps"]) == 0
    assert capsys.readouterr().out.startswith("wrote 0 maps into maps (3 existed before); ")


def test_the_options_reach_the_library(here, capsys):
    words = ["predict", "4.safetensors", "my set/RGB", "--out", "maps", "--depth", "my set/depth", "--near", "dark"]
    assert main([*words, "--size", "48", "--batch", "2", "--device", "cpu", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "input is 48 pixels wide" in out
    assert "near is dark in the depth files of RGB" in out
    assert "--target MASKS" in out
    assert main(["predict", "4.safetensors", "my set/RGB", "--out", "maps", "--depth", "my set/depth"]) == 2
    assert main([*words, "--overwrite"]) == 0


def test_what_was_left_out_is_said(here, capsys):
    (here / "my set").rename(here / "all")
    for name in ("A", "B"):
        shutil.copytree(here / "all", here / "sets" / name)
    shutil.rmtree(here / "sets" / "B" / "depth")
    assert main(["predict", "4.safetensors", "sets", "--out", "maps"]) == 0
    out = capsys.readouterr().out
    assert "note: sets/B is left out: it has RGB but no folder of depth maps\n" in out


def test_colour_alone(here, capsys):
    assert main(["predict", "3.safetensors", "my set/RGB", "--out", "maps"]) == 0
    assert "near" not in capsys.readouterr().out


def test_scores_at_once(here, capsys):
    assert main(["predict", "4.safetensors", "my set", "--out", "maps", "--evaluate"]) == 0
    out = capsys.readouterr().out
    assert "maxF" in out
    assert "3 images" in out
    assert "score them with" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.safetensors", "my set"], "none.safetensors: expected a file of weights, got no file"),
        (["4.safetensors", "nowhere"], "nowhere: expected a folder, got no such folder"),
        (["4.safetensors", "my set/RGB"], "RGB: this network takes depth, and there are no depth maps"),
        (["4.safetensors", "my set", "--size", "0"], "size: expected a whole number of at least 1, got 0"),
        (["4.safetensors", "my set", "--size", "8"], "expected shape (B, 4, H, W) with H and W at least 32"),
        (["4.safetensors", "my set", "--device", "x"], "device: expected one of 'auto', 'cpu', 'cuda', got 'x'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(here, capsys, words, message):
    assert main(["predict", *words, "--out", "maps"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_interruption_says_that_nothing_is_lost(here, capsys, monkeypatch):

    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("dynamic_kd.training.predict_folder", interrupted)
    assert main(["predict", "4.safetensors", "my set", "--out", "maps"]) == 130
    error = capsys.readouterr().err
    assert error == "dynamic-kd: interrupted; finished maps are kept; the same command continues from them\n"


def test_want_of_the_gpus_memory_is_one_line_and_other_errors_are_not(here, capsys, monkeypatch):
    def full(*arguments, **settings):
        raise errors.pop()

    said = "the GPU's memory is too small; lower batch_size (--batch) or size (--size)"
    errors = [RuntimeError("CUDA error: unspecified launch failure"), MemoryError(said)]
    monkeypatch.setattr("dynamic_kd.training.predict_folder", full)
    assert main(["predict", "4.safetensors", "my set", "--out", "maps"]) == 2
    assert capsys.readouterr().err == f"dynamic-kd: error: {said}\n"
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        main(["predict", "4.safetensors", "my set", "--out", "maps"])
