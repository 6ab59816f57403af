"""Weights from files: what is read, what is refused, and how a trunk starts from them."""

import hashlib
import os
import re
from pathlib import Path
from urllib.error import URLError

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.torch import save_file  # noqa: E402

from dynamic_kd.models import FPNStudent, RFBTeacher, read_weights  # noqa: E402
from dynamic_kd.models import _weights as weights_module  # noqa: E402
from dynamic_kd.models._backbone import Backbone  # noqa: E402
from dynamic_kd.models._weights import load_trunk, published  # noqa: E402

HED = Path(__file__).parents[3] / "shared" / "weights" / "vgg16_hed_fp16.safetensors"


@pytest.fixture(scope="module")
def vgg16():
    """VGG16 as torchvision publishes it, in small numbers: other weights in each layer, and a classifier."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in Backbone("vgg16", 3).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.randn(shape, generator=generator).half() for key, shape in shapes.items()}
    return state | {"classifier.0.weight": torch.zeros(2, 2)}


@pytest.fixture(scope="module")
def file(vgg16, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file(vgg16, path)
    return path


class TestReading:
    @pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
    @pytest.mark.parametrize("suffix", [".pth", ".pt"])
    def test_torch_files_bare_and_wrapped(self, tmp_path, wrapper, suffix):
        state = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.float16)}
        torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / f"w{suffix}")
        read = read_weights(tmp_path / f"w{suffix}")
        assert list(read) == ["a", "b"]
        assert read["b"].dtype == torch.float16
        torch.testing.assert_close(read["a"], state["a"])

    def test_safetensors_by_path_or_string(self, file, vgg16):
        for path in (file, str(file)):
            read = read_weights(path)
            assert read.keys() == vgg16.keys()
            assert torch.equal(read["features.7.weight"], vgg16["features.7.weight"])

    def test_a_file_that_is_not_there(self, tmp_path):
        for name in ("none.pth", "none.safetensors"):
            with pytest.raises(FileNotFoundError, match=rf"{name}: expected a file of weights, got no file"):
                read_weights(tmp_path / name)
        (tmp_path / "folder.pt").mkdir()
        with pytest.raises(FileNotFoundError, match=r"folder.pt: expected a file of weights, got a folder"):
            read_weights(tmp_path / "folder.pt")

    @pytest.mark.parametrize("name", ["weights.npz", "weights"])
    def test_another_suffix(self, tmp_path, name):
        (tmp_path / name).touch()
        got = ".npz" if "." in name else "no suffix"
        with pytest.raises(ValueError, match=rf"expected weights as .safetensors, .pth or .pt, got {got}"):
            read_weights(tmp_path / name)

    @pytest.mark.parametrize("content", [b"", b"not weights at all", "cut"])
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_a_damaged_file(self, tmp_path, content, suffix):
        path = tmp_path / f"weights{suffix}"
        if content == "cut":
            (torch.save if suffix == ".pth" else save_file)({"a": torch.zeros(1000)}, path)
            content = path.read_bytes()[:-200]
        path.write_bytes(content)
        kind = "a safetensors file" if suffix == ".safetensors" else r"a file of torch.save"
        with pytest.raises(ValueError, match=rf"not {kind}, or a damaged one.*; get it again"):
            read_weights(path)

    def test_pickled_code_is_never_run(self, tmp_path):
        class Harmful:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "harm"),)

        for content in ({"a": Harmful()}, torch.nn.Linear(2, 2)):
            torch.save(content, tmp_path / "code.pth")
            message = r"code.pth: holds pickled Python objects, which are never loaded; save its state_dict\(\)"
            with pytest.raises(ValueError, match=message):
                read_weights(tmp_path / "code.pth")
        assert not (tmp_path / "harm").exists()

    @pytest.mark.parametrize(
        ("content", "got"),
        [(torch.zeros(2), "a Tensor"), ([1], "a list"), ({"a": torch.zeros(1), "epoch": 3}, "a dict with 'epoch'")],
    )
    def test_something_else_than_tensors(self, tmp_path, content, got):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=rf"expected a state dict \(names and tensors\), got {got}; save the"):
            read_weights(tmp_path / "other.pth")


class TestTrunk:
    @pytest.mark.parametrize("model", [FPNStudent, RFBTeacher])
    def test_depth_starts_from_the_mean_of_the_colours(self, model, file, vgg16):
        trunk = model("vgg16", weights=file).backbone.features
        first = vgg16["features.0.weight"].float()
        assert trunk[0].weight.dtype == torch.float32
        torch.testing.assert_close(trunk[0].weight[:, :3], first, rtol=0, atol=0)
        torch.testing.assert_close(trunk[0].weight[:, 3], first.mean(1), rtol=1e-3, atol=1e-3)
        assert torch.equal(trunk[28].bias, vgg16["features.28.bias"].float())

    def test_colour_alone_and_four_channels_are_taken_as_they_are(self, file, vgg16, tmp_path):
        student = FPNStudent("vgg16", 3, weights=file)
        assert torch.equal(student.backbone.features[0].weight, vgg16["features.0.weight"].float())
        four = vgg16 | {"features.0.weight": torch.rand(64, 4, 3, 3)}
        torch.save(four, tmp_path / "four.pth")
        student = FPNStudent("vgg16", weights=tmp_path / "four.pth")
        assert torch.equal(student.backbone.features[0].weight, four["features.0.weight"])

    def test_the_pyramid_is_the_one_without_weights(self, file):
        heads = []
        for weights in (None, file):
            torch.manual_seed(0)
            heads.append(FPNStudent("vgg16", 3, weights=weights).predict.weight)
        assert torch.equal(*heads)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"features.28.bias": None}, r"\(missing: features.28.bias\)"),
            ({"features.99.bias": torch.zeros(1)}, r"\(unknown: features.99.bias\)"),
            (
                {"features.2.bias": torch.zeros(3)},
                r"\(wrong: features.2.bias is torch.float32 \(3,\) instead of \(64,\)\)",
            ),
            ({"features.2.bias": torch.zeros(64, dtype=torch.int8)}, r"\(wrong: features.2.bias is torch.int8 \(64,\)"),
            ({"features.0.weight": torch.zeros(64, 1, 3, 3)}, r"\(wrong: features.0.weight is torch.float32 \(64, 1, "),
            (
                {f"layer{n}": torch.zeros(1) for n in range(5)} | {"features.0.weight": None},
                r"\(missing: features.0.weight; unknown: layer0, layer1, layer2 and 2 more\)",
            ),
        ],
    )
    def test_another_networks_weights(self, vgg16, tmp_path, change, message):
        state = {key: value for key, value in (vgg16 | change).items() if value is not None}
        torch.save(state, tmp_path / "other.pth")
        with torch.device("meta"):
            trunk = Backbone("vgg16", 4)
        with pytest.raises(ValueError, match=r"other.pth: these are not the convolutions of vgg16 " + message):
            load_trunk(trunk, "vgg16", tmp_path / "other.pth")

    @pytest.mark.parametrize("weights", ["torchvision", "some.pth"])
    def test_tiny_has_none(self, weights):
        with pytest.raises(ValueError, match=r"weights: there are none for 'tiny', .* leave weights out"):
            FPNStudent("tiny", weights=weights)

    def test_edge_detector(self):
        if not HED.is_file():
            pytest.skip("the HED weights are not here")
        torch.manual_seed(0)
        student, image = FPNStudent("vgg16", weights=HED), torch.randn(1, 4, 64, 64)
        with torch.no_grad():
            assert student.backbone(image)[0].std() > 20  # trained at another scale than torchvision's
            for network in (student, RFBTeacher("vgg16", weights=HED)):
                assert 0.1 < network(image).std() < 3


class TestDownload:
    @pytest.fixture
    def cache(self, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        return tmp_path / "checkpoints"

    @pytest.fixture
    def server(self, monkeypatch, vgg16, tmp_path):
        """Publish small numbers under a name with their hash; return the addresses asked for."""
        torch.save(vgg16, tmp_path / "published")
        digits = hashlib.sha256((tmp_path / "published").read_bytes()).hexdigest()[:8]
        address = (tmp_path / "published").as_uri().replace("published", f"vgg16-{digits}.pth")
        (tmp_path / "published").rename(tmp_path / f"vgg16-{digits}.pth")
        monkeypatch.setitem(weights_module.PUBLISHED, "vgg16", address)
        return tmp_path / f"vgg16-{digits}.pth"

    def test_nothing_is_downloaded_unless_asked(self, monkeypatch):
        monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("a download"))
        with torch.device("meta"):
            FPNStudent("vgg16")

    def test_once_into_the_cache(self, server, cache, monkeypatch, vgg16):
        trunk = Backbone("vgg16", 3)
        load_trunk(trunk, "vgg16", "torchvision")
        assert torch.equal(trunk.features[5].bias, vgg16["features.5.bias"].float())
        assert [path.name for path in cache.iterdir()] == [server.name]
        monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("a second download"))
        assert published("vgg16") == cache / server.name

    def test_a_file_with_another_hash_is_refused(self, server, cache):
        server.write_bytes(b"something else")
        with pytest.raises(OSError, match=r"vgg16-\w{8}.pth: the download failed \(invalid hash value .*\); try again"):
            published("vgg16")
        assert not list(cache.iterdir())

    def test_without_network(self, cache, monkeypatch):
        def fail(*arguments, **settings):
            raise URLError("no network")

        monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
        message = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth: the download failed (<urlopen error no "
        with pytest.raises(OSError, match=re.escape(message)):
            FPNStudent("vgg19", weights="torchvision")

    @pytest.mark.parametrize(("name", "digits"), [("vgg16", "397923af"), ("vgg19", "dcbb9e9d")])
    def test_the_hash_that_is_asked_for(self, cache, monkeypatch, name, digits):
        asked = []
        monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: asked.append((a, k)))
        path = published(name)
        url = f"https://download.pytorch.org/models/{name}-{digits}.pth"
        assert asked == [((url, str(path)), {"hash_prefix": digits})]
