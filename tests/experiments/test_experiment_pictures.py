"""Maps of several runs side by side, where the runs see different things."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("matplotlib", "safetensors", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from benchmarks.experiments import visual_comparison  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, load_model, save_model  # noqa: E402
from dynamic_kd.training import read_recipe, saliency  # noqa: E402
from dynamic_kd.training._recipe_file import recipe_toml  # noqa: E402
from dynamic_kd.training._sources import report_samples  # noqa: E402
from dynamic_kd.training._tensors import Tensors  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDERS = ("data.source=folders", "data.train=['train']", "data.report=['report']")


@pytest.fixture
def runs(tmp_path):
    """Two students that nobody trained, of colour alone and with depth; in the data near seems dark, and is bright."""
    for sample in synthetic_rgbd(3, size=40, seed=3, spoilt_share=0):
        depth = 255 - np.rint(255 * sample.depth).astype(np.uint8)
        pictures = {"RGB": sample.image, "depth": depth, "GT": 255 * sample.mask.astype(np.uint8)}
        for name, picture in pictures.items():
            (tmp_path / "report" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "report" / name / f"{sample.name}.png"), picture)
    recipes = {}
    for name, special in (("RGB", ["depth=false"]), ("RGB-D", ["depth=true", "near=bright"])):
        special = [f"data.{each}" for each in special]
        recipe = recipes[name] = read_recipe("cpu", [*FOLDERS, f"data.root={tmp_path}", "data.size=32", *special])
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(recipe_toml(recipe), encoding="utf-8")
        with torch.random.fork_rng():
            torch.manual_seed(5)
            save_model(FPNStudent("tiny", recipe.data.channels), tmp_path / name / "student-last.safetensors")
    return recipes, {name: tmp_path / name for name in recipes}


@pytest.mark.parametrize("order", [["RGB", "RGB-D"], ["RGB-D", "RGB"]])
@pytest.mark.parametrize("given", [False, True])
def test_each_run_sees_depth_as_its_own_recipe_says(runs, order, given):
    recipes, folders = runs
    samples = report_samples(recipes["RGB-D"]) if given else None
    figure = visual_comparison({name: folders[name] for name in order}, ["00000", "00002"], samples=samples)
    cells = {cell.get_title(): cell.get_images()[0].get_array() for cell in figure.axes if cell.get_title()}
    assert list(cells)[-2:] == order
    for name, recipe in recipes.items():
        data = Tensors.of(report_samples(recipe), depth=recipe.data.depth)
        expected = saliency(load_model(folders[name] / "student-last.safetensors"), data)[0, 0]
        np.testing.assert_array_equal(cells[name], np.rint(255 * expected))


def test_runs_without_depth_need_no_depth_maps(runs):
    _, folders = runs
    for path in (folders["RGB"].parent / "report" / "depth").iterdir():
        path.unlink()
    titles = [cell.get_title() for cell in visual_comparison({"RGB": folders["RGB"]}, 1).axes]
    assert titles == ["image", "truth", "RGB"]
