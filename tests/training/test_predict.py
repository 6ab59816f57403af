"""Prediction of folders: the maps, what is kept, what is refused."""

import hashlib
import json
import re
import shutil
import threading

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402
from dynamic_kd.training._predict import predict_folder  # noqa: E402

MEAN, DEVIATION = [0.485, 0.456, 0.406, 0.5], [0.229, 0.224, 0.225, 0.25]
SIZES = {"00000": (40, 56), "00001": (56, 40), "00002": (64, 64), "00003": (33, 47), "00004": (48, 48)}


class Pick(torch.nn.Module):
    """One channel of the input as logits, which shows what the network sees."""

    def __init__(self, channel, channels):
        super().__init__()
        self.settings = {"in_channels": channels}
        self.register_buffer("channel", torch.tensor(channel))
        self.batches = []

    def forward(self, images):
        self.batches.append(tuple(images.shape))
        assert not self.training
        return images[:, self.channel, None]


@pytest.fixture
def data(tmp_path):
    """A data set of five samples of five sizes; JPEG images, near is bright."""
    root = tmp_path / "set"
    for sample in synthetic_rgbd(5, size=64, seed=3, spoilt_share=0):
        pictures = {
            "RGB": (sample.image[..., ::-1], ".jpg"),
            "depth": (np.rint(255 * sample.depth).astype(np.uint8), ".png"),
            "GT": (255 * sample.mask.astype(np.uint8), ".png"),
        }
        for name, (picture, suffix) in pictures.items():
            (root / name).mkdir(parents=True, exist_ok=True)
            sized = cv2.resize(picture, SIZES[sample.name][::-1], interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(root / name / f"{sample.name}{suffix}"), sized)
    return root


@pytest.fixture
def weights(tmp_path):
    """Weights of a student that was trained with 48 pixels."""
    torch.manual_seed(0)
    save_model(FPNStudent("tiny"), tmp_path / "student.safetensors", recipe={"data": {"size": 48}})
    return tmp_path / "student.safetensors"


def stretched(values):
    return (values - values.min()) / (values.max() - values.min())


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


class TestMaps:
    @pytest.mark.parametrize("channel", [0, 1, 2, 3])
    def test_the_network_sees_what_it_was_trained_on_and_maps_have_the_images_sizes(self, data, tmp_path, channel):
        predict_folder(Pick(channel, 4), data, tmp_path / "maps", size=32, near="bright")
        for stem, (height, width) in SIZES.items():
            if channel == 3:
                seen = stretched(read(data / "depth" / f"{stem}.png").astype(np.float64))
                seen = cv2.resize(seen, (32, 32), interpolation=cv2.INTER_AREA)
            else:
                image = cv2.imread(str(data / "RGB" / f"{stem}.jpg"))[..., 2 - channel]
                seen = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) / 255
            probabilities = 1 / (1 + np.exp((MEAN[channel] - seen) / DEVIATION[channel]))
            expected = 255 * cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
            made = read(tmp_path / "maps" / f"{stem}.png")
            assert made.dtype == np.uint8
            np.testing.assert_allclose(made, expected, atol=0.501)

    def test_dark_may_be_near(self, data, tmp_path):
        predict_folder(Pick(3, 4), data, tmp_path / "a", size=64, near="bright")
        predict_folder(Pick(3, 4), data, tmp_path / "b", size=64, near="dark")
        low, high = (1 / (1 + np.exp(edge)) for edge in (2, -2))  # depth 0 and 1, normalised
        for stem in SIZES:
            bright, dark = read(tmp_path / "a" / f"{stem}.png"), read(tmp_path / "b" / f"{stem}.png")
            np.testing.assert_allclose(bright.astype(float) + dark, 255 * (low + high), atol=1.001)

    def test_the_polarity_is_decided_and_told(self, data, tmp_path):
        for path in (data / "depth").iterdir():
            cv2.imwrite(str(path), 255 - read(path))
        for near, told in (("auto", "dark"), ("bright", "bright")):
            assert predict_folder(Pick(3, 4), data, tmp_path / near, near=near).folders[0].near == told

    def test_colour_alone_from_a_data_set_or_a_plain_folder(self, data, tmp_path):
        predict_folder(Pick(1, 3), data, tmp_path / "a", size=32)
        predict_folder(Pick(1, 3), data / "RGB", tmp_path / "b", size=32)
        for stem in SIZES:
            np.testing.assert_array_equal(read(tmp_path / "a" / f"{stem}.png"), read(tmp_path / "b" / f"{stem}.png"))

    def test_plain_folders_of_images_and_depth_maps(self, data, tmp_path):
        result = predict_folder(Pick(3, 4), data / "RGB", tmp_path / "b", depth=data / "depth", size=32)
        predict_folder(Pick(3, 4), data, tmp_path / "a", size=32)
        for stem in SIZES:
            np.testing.assert_array_equal(read(tmp_path / "a" / f"{stem}.png"), read(tmp_path / "b" / f"{stem}.png"))
        assert (result.folders[0].masks, result.folders[0].near) == (None, "bright")

    def test_batches_threads_and_memory_order_change_nothing_that_counts(self, data, weights, tmp_path):
        predict_folder(weights, data, tmp_path / "a", batch_size=1, workers=1)
        predict_folder(weights, data, tmp_path / "b", batch_size=3, workers=4)
        for stem in SIZES:
            first, second = (read(tmp_path / name / f"{stem}.png").astype(int) for name in "ab")
            assert abs(first - second).max() <= 1

    def test_batches_are_of_the_size_that_was_asked_for(self, data, tmp_path):
        network = Pick(0, 3)
        predict_folder(network, data, tmp_path / "maps", size=32, batch_size=2)
        assert network.batches == [(2, 3, 32, 32), (2, 3, 32, 32), (1, 3, 32, 32)]
        assert network.training  # as it was

    def test_several_data_sets_go_to_a_folder_each(self, data, tmp_path):
        for name in ("DES", "LFSD"):
            shutil.copytree(data, tmp_path / "all" / name)
        result = predict_folder(Pick(0, 4), tmp_path / "all", tmp_path / "maps", size=32, evaluate=True)
        assert [folder.maps for folder in result.folders] == [tmp_path / "maps" / name for name in ("DES", "LFSD")]
        assert [folder.masks for folder in result.folders] == [tmp_path / "all" / n / "GT" for n in ("DES", "LFSD")]
        assert {path.stem for path in (tmp_path / "maps" / "DES").glob("*.png")} == set(SIZES)
        assert list(result.reports) == ["DES", "LFSD"]


class TestSettings:
    def test_the_size_is_that_of_training_or_256(self, data, weights, tmp_path):
        assert predict_folder(weights, data, tmp_path / "a").size == 48
        assert predict_folder(weights, data, tmp_path / "b", size=64).size == 64
        assert predict_folder(Pick(0, 3), data, tmp_path / "c").size == 256

    def test_a_module_that_does_not_say_takes_four_channels_or_what_is_said(self, data, tmp_path):
        network = torch.nn.Conv2d(4, 1, 1)
        predict_folder(network, data, tmp_path / "a")
        predict_folder(torch.nn.Conv2d(3, 1, 1), data, tmp_path / "b", in_channels=3)

    def test_what_the_maps_are_of_is_remembered(self, data, weights, tmp_path):
        predict_folder(weights, data, tmp_path / "maps", near="dark")
        content = json.loads((tmp_path / "maps" / "predict.json").read_text())
        assert content.pop("dynamic_kd")
        assert content == {
            "model": "FPNStudent",
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "size": 48,
            "near": {"set": "dark"},
            "images": {"set": str((data / "RGB").resolve())},
        }

    def test_progress_counts_what_was_there(self, data, tmp_path):
        steps = []
        predict_folder(Pick(0, 3), data, tmp_path / "maps", size=32)
        (tmp_path / "maps" / "00003.png").unlink()
        predict_folder(
            Pick(0, 3), data, tmp_path / "maps", size=32, evaluate=True, progress=lambda *step: steps.append(step)
        )
        assert steps[:2] == [("predicting", 4, 5), ("predicting", 5, 5)]
        assert steps[2:] == [("scoring set", done, 5) for done in range(1, 6)]

    def test_the_scores_are_those_of_the_folders(self, data, weights, tmp_path):
        result = predict_folder(weights, data, tmp_path / "maps", evaluate=True)
        assert result.reports["set"].as_dict() == evaluate_folders(tmp_path / "maps", data / "GT").as_dict()
        assert result.folders[0].masks == data / "GT"
        assert predict_folder(weights, data, tmp_path / "maps").reports == {}


class TestResume:
    def test_maps_that_are_there_are_kept(self, data, weights, tmp_path):
        first = predict_folder(weights, data, tmp_path / "maps")
        assert (first.written, first.kept) == (5, 0)
        (tmp_path / "maps" / "00001.png").unlink()
        (tmp_path / "maps" / "00002.png").write_bytes(b"mine")
        again = predict_folder(weights, data, tmp_path / "maps")
        assert (again.written, again.kept) == (1, 4)
        assert (tmp_path / "maps" / "00002.png").read_bytes() == b"mine"

    def test_what_was_written_before_an_interruption_stays_and_is_whole(self, data, weights, tmp_path):
        def interrupt(step, done, total):
            if done == 2:
                raise KeyboardInterrupt

        for number in range(5, 20):  # more than are read, predicted and written at a time
            for folder, suffix in (("RGB", ".jpg"), ("depth", ".png"), ("GT", ".png")):
                shutil.copy(data / folder / f"00000{suffix}", data / folder / f"{number:05}{suffix}")
        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            predict_folder(weights, data, tmp_path / "maps", batch_size=1, workers=1, progress=interrupt)
        assert threading.active_count() == before
        there = sorted((tmp_path / "maps").glob("*.png"))
        assert 2 <= len(there) < 20
        assert all(read(path).shape == SIZES.get(path.stem, SIZES["00000"]) for path in there)
        assert predict_folder(weights, data, tmp_path / "maps").kept == len(there)
        names = {path.name for path in (tmp_path / "maps").iterdir()}
        assert names == {*(f"{number:05}.png" for number in range(20)), "predict.json"}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"size": 64}, "its maps are of size 48, not 64"),
            ({"near": "dark"}, "its maps are of near bright (set), not dark (set)"),
        ],
    )
    def test_other_settings_are_refused(self, data, weights, tmp_path, change, message):
        predict_folder(weights, data, tmp_path / "maps", near="bright")
        fix = "; name another folder, or replace the maps by overwrite=True (--overwrite)"
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'maps'}: {message}{fix}")):
            predict_folder(weights, data, tmp_path / "maps", **{"near": "bright"} | change)

    def test_other_weights_are_refused(self, data, weights, tmp_path):
        predict_folder(weights, data, tmp_path / "maps")
        before = hashlib.sha256(weights.read_bytes()).hexdigest()
        save_model(FPNStudent("tiny"), weights, recipe={"data": {"size": 48}})
        now = hashlib.sha256(weights.read_bytes()).hexdigest()
        message = f"its maps are of weights {before[:12]}…, not {now[:12]}…;"
        with pytest.raises(ValueError, match=re.escape(message)):
            predict_folder(weights, data, tmp_path / "maps")
        first = read(tmp_path / "maps" / "00000.png")
        assert predict_folder(weights, data, tmp_path / "maps", overwrite=True).written == 5
        assert (first != read(tmp_path / "maps" / "00000.png")).any()
        assert predict_folder(weights, data, tmp_path / "maps").kept == 5

    def test_a_modules_weights_are_known_again_by_their_values(self, data, tmp_path):
        predict_folder(Pick(0, 3), data, tmp_path / "maps", size=32)
        assert predict_folder(Pick(0, 3), data, tmp_path / "maps", size=32).kept == 5
        with pytest.raises(ValueError, match="its maps are of weights"):
            predict_folder(Pick(1, 3), data, tmp_path / "maps", size=32)

    def test_images_of_another_folder_are_refused(self, data, tmp_path):
        predict_folder(Pick(0, 3), data / "RGB", tmp_path / "maps", size=32)
        shutil.copytree(data / "RGB", tmp_path / "other" / "RGB")
        with pytest.raises(ValueError, match="its maps are of images"):
            predict_folder(Pick(0, 3), tmp_path / "other" / "RGB", tmp_path / "maps", size=32)

    def test_depth_maps_of_another_folder_are_refused(self, data, tmp_path):
        shutil.copytree(data / "depth", tmp_path / "other")
        maps, first, second = tmp_path / "maps", data / "depth", tmp_path / "other"
        predict_folder(Pick(3, 4), data / "RGB", maps, depth=first, size=32)
        message = f"{maps}: its maps are of depth {first.resolve()}, not {second.resolve()}; name"
        with pytest.raises(ValueError, match=re.escape(message)):
            predict_folder(Pick(3, 4), data / "RGB", maps, depth=second, size=32)
        assert predict_folder(Pick(3, 4), data / "RGB", maps, depth=first, size=32).kept == 5

    def test_maps_of_unknown_origin_are_refused(self, data, tmp_path):
        (tmp_path / "maps").mkdir()
        (tmp_path / "maps" / "00000.png").touch()
        with pytest.raises(ValueError, match=r"maps: has maps, but no predict\.json that tells their network; name"):
            predict_folder(Pick(0, 3), data, tmp_path / "maps")
        for damaged in ("{", "[]"):
            (tmp_path / "maps" / "predict.json").write_text(damaged)
            with pytest.raises(ValueError, match=r"predict\.json: is damaged; name"):
                predict_folder(Pick(0, 3), data, tmp_path / "maps")
        assert predict_folder(Pick(0, 3), data, tmp_path / "maps", overwrite=True).written == 5

    def test_overwriting_leaves_other_files_alone(self, data, tmp_path):
        (tmp_path / "maps").mkdir()
        for name in ("notes.txt", "other.png"):
            (tmp_path / "maps" / name).touch()
        predict_folder(Pick(0, 3), data, tmp_path / "maps", overwrite=True)
        assert {"notes.txt", "other.png"} < {path.name for path in (tmp_path / "maps").iterdir()}


def test_sets_that_are_left_out_are_noted(data, tmp_path):
    for name in ("A", "B", "LFSD"):
        shutil.copytree(data, tmp_path / "all" / name)
    shutil.rmtree(tmp_path / "all" / "B" / "depth")
    made = predict_folder(Pick(0, 4), tmp_path / "all", tmp_path / "maps", size=32)
    assert [folder.name for folder in made.folders] == ["A", "LFSD"]
    assert made.notes == (
        f"{tmp_path / 'all' / 'B'} is left out: it has RGB but no folder of depth maps",
        "expected 100 images of LFSD, found 5; this is a part of them, or files are missing",
    )


class TestMistakes:
    @pytest.mark.parametrize("name", ["RGB", "depth", "GT"])
    def test_maps_among_the_data(self, data, tmp_path, name):
        with pytest.raises(ValueError, match=f"{name}: is a folder of the data; name another folder for the maps"):
            predict_folder(Pick(0, 4), data, data / name, overwrite=True)
        assert len(list((data / name).iterdir())) == 5

    def test_maps_of_several_sets_among_the_data_of_one(self, data, tmp_path):
        for name in ("A", "B"):
            shutil.copytree(data, tmp_path / "all" / name)
        images = tmp_path / "all" / "A" / "RGB"
        with pytest.raises(ValueError, match="RGB: is a folder of the data; name another folder for the maps"):
            predict_folder(Pick(0, 4), tmp_path / "all", images)
        assert len(list(images.iterdir())) == 5

    def test_a_file_in_place_of_the_folder(self, data, tmp_path):
        (tmp_path / "maps").touch()
        with pytest.raises(ValueError, match="maps: is a file; name a folder for the maps"):
            predict_folder(Pick(0, 3), data, tmp_path / "maps")

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"size": 0}, ValueError, "size: expected a whole number of at least 1, got 0"),
            ({"size": 32.5}, TypeError, "size: expected a whole number, got 32.5"),
            ({"batch_size": 0}, ValueError, "batch_size: expected a whole number of at least 1, got 0"),
            ({"workers": 0}, ValueError, "workers: expected a whole number of at least 1, got 0"),
            ({"near": "left"}, ValueError, "near: expected one of 'auto', 'bright', 'dark', got 'left'"),
            ({"device": "tpu"}, ValueError, "device: expected one of 'auto', 'cpu', 'cuda', got 'tpu'"),
            ({"device": "cuda:99"}, ValueError, "device: there is no 'cuda:99', this computer has"),
            ({"in_channels": 3}, ValueError, "in_channels: this network has 4, got 3"),
        ],
    )
    def test_settings(self, data, tmp_path, settings, error, message):
        with pytest.raises(error, match=re.escape(message)):
            predict_folder(Pick(0, 4), data, tmp_path / "maps", **settings)
        assert not (tmp_path / "maps").exists()

    def test_channels_that_no_network_has(self, data, tmp_path):
        with pytest.raises(ValueError, match="in_channels: this network has 3 or 4, got 5"):
            predict_folder(torch.nn.Conv2d(5, 1, 1), data, tmp_path / "maps", in_channels=5)

    def test_depth_that_is_missing(self, data, tmp_path):
        with pytest.raises(
            ValueError, match=r"RGB: this network takes depth, .* name their folder by depth=DIR \(--depth DIR\)"
        ):
            predict_folder(Pick(0, 4), data / "RGB", tmp_path / "maps")
        (data / "depth" / "00003.png").unlink()
        with pytest.raises(
            ValueError, match=r"depth: has no depth map for 1 of the images in .*RGB, the first is 00003"
        ):
            predict_folder(Pick(0, 4), data / "RGB", tmp_path / "maps", depth=data / "depth")
        with pytest.raises(ValueError, match="1 missing in depth: 00003"):
            predict_folder(Pick(0, 4), data, tmp_path / "maps")

    def test_depth_that_is_too_much(self, data, tmp_path):
        with pytest.raises(ValueError, match=r"this network takes colour alone \(in_channels=3\); leave depth out"):
            predict_folder(Pick(0, 3), data / "RGB", tmp_path / "maps", depth=data / "depth")

    def test_no_images(self, data, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="empty: has no images"):
            predict_folder(Pick(0, 4), tmp_path / "empty", tmp_path / "maps", depth=data / "depth")

    def test_no_masks_to_evaluate_against(self, data, tmp_path):
        for path in (data / "GT").iterdir():
            path.unlink()
        (data / "GT").rmdir()
        message = "set: expected sub-folders of .*; or predict without evaluate"
        with pytest.raises(ValueError, match=message):
            predict_folder(Pick(0, 4), data, tmp_path / "maps", evaluate=True)
        assert not (tmp_path / "maps").exists()

    def test_masks_that_one_of_the_sets_lacks(self, data, tmp_path):
        for name in ("A", "B"):
            shutil.copytree(data, tmp_path / "all" / name)
        (tmp_path / "all" / "B" / "GT").rename(tmp_path / "elsewhere")
        with pytest.raises(ValueError, match="B: has no masks beside the images; predict without evaluate"):
            predict_folder(Pick(0, 4), tmp_path / "all", tmp_path / "maps", evaluate=True)

    @pytest.mark.parametrize(
        ("network", "got"),
        [
            (torch.nn.Conv2d(3, 2, 1), r"\(5, 2, 32, 32\)"),
            (torch.nn.Flatten(), r"\(5, 3072\)"),
            (type("Two", (torch.nn.Module,), {"forward": lambda self, x: [x, x]})(), "list"),
        ],
    )
    def test_outputs_that_are_no_logits(self, data, tmp_path, network, got):
        with pytest.raises(
            ValueError, match=rf"model: must return one logit per pixel, .*5, 1, H, W\), got {got}; wrap"
        ):
            predict_folder(network, data, tmp_path / "maps", size=32, in_channels=3)
        assert not (tmp_path / "maps").exists()

    def test_not_a_number(self, data, tmp_path):
        network = torch.nn.Conv2d(3, 1, 1)
        torch.nn.init.constant_(network.weight, float("nan"))
        with pytest.raises(ValueError, match=r"00000\.png: the network returned NaN or infinities; check its weights"):
            predict_folder(network, data, tmp_path / "maps", size=32, in_channels=3)
        assert not (tmp_path / "maps").exists()

    def test_what_fails_at_once_leaves_the_maps_of_before(self, data, weights, tmp_path):
        predict_folder(weights, data, tmp_path / "maps")
        before = {path.name: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
        with pytest.raises(ValueError, match=r"H and W at least 32, got \(5, 4, 8, 8\)"):
            predict_folder(weights, data, tmp_path / "maps", size=8, overwrite=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "maps").iterdir()} == before

    def test_an_image_that_cannot_be_read(self, data, tmp_path):
        (data / "RGB" / "00002.jpg").write_bytes(b"")
        with pytest.raises(ValueError, match=r"00002\.jpg: expected an image file, got an empty one"):
            predict_folder(Pick(0, 3), data, tmp_path / "maps", size=32)

    def test_no_such_weights(self, data, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.safetensors: expected a file of weights, got no file"):
            predict_folder(tmp_path / "none.safetensors", data, tmp_path / "maps")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_gives_the_same_maps(data, weights, tmp_path):
    for device in ("cpu", "cuda"):
        predict_folder(weights, data, tmp_path / device, device=device)
    for stem in SIZES:
        first, second = (read(tmp_path / device / f"{stem}.png").astype(int) for device in ("cpu", "cuda"))
        assert abs(first - second).max() <= 1


@pytest.mark.parametrize("text", ["CUDA out of memory.", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_a_gpu_whose_memory_is_too_small(data, tmp_path, text):
    class Large(torch.nn.Module):
        def forward(self, images):
            raise RuntimeError(text)

    with pytest.raises(MemoryError, match=r"^the GPU's memory is too small; lower batch_size \(--batch\) or size"):
        predict_folder(Large(), data, tmp_path / "maps")
    text = "CUDA error: unspecified launch failure"
    with pytest.raises(RuntimeError, match=text):
        predict_folder(Large(), data, tmp_path / "maps")
