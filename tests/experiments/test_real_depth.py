"""The data sets of the experiment on real depth: polarity, masks, and how depth is spoilt."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("scipy", reason="SciPy is not installed")

PATH = Path(__file__).parents[2] / "benchmarks" / "real_depth.py"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script():
    return loaded(PATH)


def test_the_sets_are_scored_apart():
    pytest.importorskip("torch", reason="torch is not installed")
    scores_of = loaded(PATH.with_name("real_depth_scores.py")).scores_of
    metrics = SODMetrics(per_image_curves=True)
    mask = np.zeros((16, 16), bool)
    mask[4:9, 3:12] = True
    metrics.update(np.where(mask, 255, 0)[None].astype(np.uint8), mask[None], names=["real/a"])
    metrics.update(np.where(mask, 0, 255)[None].astype(np.uint8), mask[None], names=["test-isnet/a"])
    found = scores_of(metrics.compute(), "real"), scores_of(metrics.compute(), "test-isnet")
    assert (found[0]["maxF"], found[0]["MAE"], found[1]["MAE"]) == (1, 0, 1)
    # At the lowest threshold an inverted map is salient everywhere: precision is the mask's share, recall 1.
    assert found[1]["maxF"] == pytest.approx(1.3 * mask.mean() / (0.3 * mask.mean() + 1))


def test_sets_have_one_polarity_and_a_share_is_spoilt(script, tmp_path):
    rng = np.random.default_rng(0)
    nlpr, njud = tmp_path / "nlpr", tmp_path / "njud-mini"
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 10:22] = 255
    depth = np.where(mask, 40, 200).astype(np.uint8)  # near = dark
    depth[0, 0], depth[0, 1] = 0, 255
    names = [f"n{number:02}" for number in range(14)]
    for folder in ("RGB", "depth", "pred_ISNet", "pred_AMINet_test"):
        (nlpr / folder).mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(nlpr / "RGB" / f"{name}.jpg"), rng.integers(0, 255, (32, 32, 3), np.uint8))
        cv2.imwrite(str(nlpr / "depth" / f"{name}.png"), depth)
        cv2.imwrite(str(nlpr / "pred_ISNet" / f"{name}.png"), np.where(mask, 200, 90).astype(np.uint8))
        cv2.imwrite(str(nlpr / "pred_AMINet_test" / f"{name}.png"), 255 - mask)
    (nlpr / "train700.txt").write_text("\n".join(names[:10]))
    (nlpr / "test300.txt").write_text("\n".join(names[10:]))
    for folder, image in {"RGB": rng.integers(0, 255, (32, 32, 3), np.uint8), "depth": depth, "GT": mask}.items():
        (njud / folder).mkdir(parents=True)
        cv2.imwrite(str(njud / folder / f"one.{'jpg' if folder == 'RGB' else 'png'}"), image)
    out = tmp_path / "out"
    assert script.main([str(nlpr), str(njud), "--out", str(out)]) == 0

    def read(folder, name):
        return cv2.imread(str(out / folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)

    np.testing.assert_array_equal(read("train/depth", names[0]), 255 - depth)  # near = bright
    np.testing.assert_array_equal(read("train/GT", names[0]), mask)
    np.testing.assert_array_equal(read("test-aminet/GT", names[12]), 255 - mask)
    np.testing.assert_array_equal(read("real/depth", "njud-mini-one"), depth)  # bright already
    with (out / "spoilt.csv").open(newline="") as file:
        kinds = {row["sample"]: row["kind"] for row in csv.DictReader(file)}
    assert sorted(kinds.values()) == ["distorted", "dominated", "low_contrast"]  # 30% of ten
    for name in names[:10]:
        same = np.array_equal(read("train-spoilt/depth", name), 255 - depth)
        assert same is (name not in kinds)
    assert sorted(path.stem for path in (out / "train-spoilt" / "RGB").iterdir()) == names[:10]


def test_each_kind_does_what_the_paper_names(script):
    rng = np.random.default_rng(0)
    mask, other = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    mask[20:40, 20:40], other[10:30, 30:60] = True, True
    depth = np.where(mask, 0.8, 0.2)
    dominated = script.dominated(rng, depth, mask, other)
    assert dominated[other & ~mask].min() > dominated[mask].max()  # another object is nearest
    assert dominated[mask] == pytest.approx(0.6)
    faded = script.low_contrast(rng, depth, mask, other)
    assert abs(faded[mask].mean() - faded[~mask].mean()) < 0.2 * 0.6
    bent = script.distorted(rng, depth, mask, other)
    assert np.abs(bent - depth)[mask].mean() > 0.05
    assert (bent == 0).mean() > 0.05  # holes
