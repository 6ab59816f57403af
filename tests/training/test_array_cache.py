"""Arrays on disk: built once for each content and size, whole or absent, and as large as the disk."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
for package in ("filelock", "platformdirs"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.training import Data, Recipe, Teacher, _recipe_data  # noqa: E402
from dynamic_kd.training._array_cache import cache_folder, cached_image_set  # noqa: E402
from dynamic_kd.training._image_set import ImageSet  # noqa: E402
from dynamic_kd.training._recipe_data import find_folders, read_part, read_recipe_data  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache folder of one test."""
    monkeypatch.setenv("DYNAMIC_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """A data set with teacher maps, larger than what is decoded at a time."""
    for sample in synthetic_rgbd(70, size=32, seed=3):
        mask = 255 * sample.mask.astype(np.uint8)
        pictures = {"RGB": sample.image, "depth": np.rint(255 * sample.depth), "GT": mask, "maps": mask // 2}
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture.astype(np.uint8))
    return tmp_path / "set"


def recipe(folder, **settings):
    data = Data(source="folders", root=str(folder), train=["."], near="bright", size=32)
    return Recipe(data=replace(data, **settings), teacher=Teacher(model="maps", maps="maps"))


def read(made):
    """Return the training set, and what was told of its progress."""
    told = []
    return read_part(made, "train", lambda *step: told.append(step)), told


def same(one, other):
    fields = ("images", "depths", "targets", "teacher_maps")
    return one.names == other.names and all(torch.equal(getattr(one, name), getattr(other, name)) for name in fields)


def test_a_data_set_is_decoded_once(folder, monkeypatch):
    first, told = read(recipe(folder))
    assert told == [("training samples", 64, 70), ("training samples", 70, 70)]
    monkeypatch.setattr(_recipe_data, "read_samples", lambda *arguments, **settings: pytest.fail("decoded again"))
    again, told = read(recipe(folder))
    assert told == []
    assert same(first, again)


def test_the_arrays_are_those_of_the_samples(folder):
    from dynamic_kd.data import find_data, read_samples

    samples = read_samples(find_data(folder, depth=True, teacher="maps", near="bright"), size=32)
    assert same(read(recipe(folder))[0], ImageSet.from_samples(samples))


def test_content_decides_and_not_the_place(folder, tmp_path, monkeypatch):
    before, _ = read(recipe(folder))
    shutil.copytree(folder, tmp_path / "moved")
    assert read(recipe(tmp_path / "moved"))[1] == []
    mask = cv2.imread(str(tmp_path / "moved" / "GT" / "00000.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "moved" / "GT" / "00000.png"), 255 - mask)
    after, told = read(recipe(tmp_path / "moved"))
    assert told
    assert torch.equal(after.targets[0], ~before.targets[0])
    assert torch.equal(after.targets[1:], before.targets[1:])
    for settings in ({"size": 40}, {"near": "dark"}, {"depth": False}):
        assert read(recipe(folder, **settings))[1], settings


def test_a_change_of_the_arrays_stays_in_memory(folder):
    one, _ = read(recipe(folder))
    one.teacher_maps[:] = 0
    assert read(recipe(folder))[0].teacher_maps.max() > 0.4


def test_an_error_leaves_nothing_behind(folder, cache):
    (folder / "GT" / "00069.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"00069\.png"):
        read(recipe(folder))
    assert [path.name for path in cache.rglob("*") if path.suffix != ".lock"] == ["images-2"]


def test_what_a_killed_process_left_is_replaced(cache):
    samples = synthetic_rgbd(3, size=32)
    (cache / "images-2" / "key.partial").mkdir(parents=True)
    (cache / "images-2" / "key.partial" / "images.npy").write_bytes(b"half")
    made = cached_image_set("key", [samples[:2], samples[2:]], 3, depth=True)
    np.testing.assert_array_equal(made.sample(2).image, samples[2].image)
    assert made.spoilt == tuple(sample.spoilt for sample in samples)


def test_those_who_come_while_arrays_are_built_wait_for_them(cache):
    samples, entered, go, built = synthetic_rgbd(3, size=32), threading.Event(), threading.Event(), []

    def slowly():
        entered.set()
        assert go.wait(60)
        built.append(True)
        yield samples

    def build(chunks):
        found.append(cached_image_set("key", chunks, 3, depth=True))

    found = []
    first, second = (threading.Thread(target=build, args=[chunks]) for chunks in (slowly(), slowly()))
    first.start()
    assert entered.wait(60)
    second.start()
    go.set()
    first.join()
    second.join()
    assert (len(found), built) == (2, [True])
    assert torch.equal(found[0].images, found[1].images)


def test_the_cache_of_the_platform(monkeypatch):
    monkeypatch.delenv("DYNAMIC_KD_CACHE")
    assert cache_folder().name in ("dynamic-kd", "Cache")


@pytest.mark.parametrize(("free", "moved"), [(4.0, True), (1.9, False)])
def test_images_go_to_the_gpu_if_they_leave_half_of_its_free_memory(folder, monkeypatch, free, moved):
    made, notes, places = recipe(folder), [], []
    size = read(made)[0].nbytes
    assert size == 70 * 32 * 32 * (3 + 4 + 1 + 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * size), 10 * size))
    monkeypatch.setattr(ImageSet, "for_device", lambda data, device, *, move: places.append(move) or data)
    read_recipe_data(made, find_folders(made), torch.device("cuda"), lambda *step: None, notes.append)
    assert places == [moved]
    assert [note.startswith("the images take") for note in notes] == [True] * (not moved)
