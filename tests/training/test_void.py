"""Masks with labels and void in training: the losses and scores leave void pixels out."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import recipe_file  # noqa: E402

from dynamic_kd.data import check_data, decide_masks, find_data, read_samples, synthetic_rgbd  # noqa: E402
from dynamic_kd.training import _train, read_recipe, read_records, train  # noqa: E402
from dynamic_kd.training._augmentation import transformed  # noqa: E402
from dynamic_kd.training._image_set import ImageSet, TrainingBatch  # noqa: E402
from dynamic_kd.training._objective import CrossEntropy  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    """Ten samples whose masks hold 0, 1 and a border of 255 around the object."""
    for sample in synthetic_rgbd(10, size=40, seed=3, spoilt_share=0):
        mask = sample.mask.astype(np.uint8)
        mask[cv2.dilate(mask, np.ones((5, 5))) > mask] = 255
        for name, picture in {"RGB": sample.image, "GT": mask}.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture)
    return tmp_path / "set"


def masks(folder):
    return np.stack([cv2.imread(str(path), 0) for path in sorted((folder / "GT").iterdir())])


def test_samples_know_what_is_void(folder):
    samples = read_samples(find_data(folder, depth=False, void=255))
    stored = masks(folder)
    np.testing.assert_array_equal([sample.mask for sample in samples], stored == 1)
    np.testing.assert_array_equal([sample.valid for sample in samples], stored != 255)
    assert all(sample.valid is None for sample in read_samples(find_data(folder, depth=False, salient=[1, 255])))


def test_half_a_void_pixel_is_void_when_masks_are_resized(folder):
    """Halving a mask averages 2 x 2 pixels: the labelled ones decide, if they are at least two."""
    samples = read_samples(find_data(folder, depth=False, void=255), size=20)
    blocks = masks(folder).reshape(10, 20, 2, 20, 2)
    labelled, salient = (blocks != 255).sum(axis=(2, 4)), (blocks == 1).sum(axis=(2, 4))
    np.testing.assert_array_equal([sample.valid for sample in samples], labelled >= 2)
    expected = (labelled >= 2) & (255 * salient > 128 * labelled)
    np.testing.assert_array_equal([sample.mask for sample in samples], expected)


def test_levels_are_decided_for_the_data_set(folder):
    ambiguous = (
        r"set: expected masks of two levels, 0 and a salient one, got 0, 1, 255 in 10 masks \(the first is 00000"
    )
    with pytest.raises(ValueError, match=ambiguous):
        read_samples(find_data(folder, depth=False))
    (folder / "list.txt").write_text("00000\n")
    with pytest.raises(ValueError, match=ambiguous):  # all masks of the folder count, not those of the list alone
        decide_masks(find_data(folder, depth=False, list_file=folder / "list.txt"))
    [decided] = decide_masks(find_data(folder, depth=False, void=255))
    assert decided.salient == (1,)
    assert decided.notes[-2:] == (f"{folder}: Void, left out: 255.", f"{folder}: Taken as salient: 1.")
    [problem] = check_data(folder).problems
    assert problem.startswith("set: GT: expected masks of two levels")
    report = check_data(folder, void=255)
    assert report.problems == ()
    [found] = report.sets
    assert (found.levels, found.salient) == ((0, 1), (1,))
    assert found.void_share == pytest.approx((masks(folder) == 255).mean())
    assert f"Levels of the masks: 0, 1; salient: 1; void: {found.void_share:.1%} of the pixels." in found.table().notes


def test_void_pixels_move_with_the_image_and_leave_the_loss(folder):
    data = ImageSet.from_samples(read_samples(find_data(folder, depth=False, void=255)), depth=False)
    batch = data.batch(torch.arange(4))
    logits = torch.randn(4, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    found = CrossEntropy()(logits, batch).loss
    by_pixel = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.targets, reduction="none")
    for image in range(4):
        torch.testing.assert_close(found[image], by_pixel[image][batch.valid[image]].mean())
    mirror, none = torch.tensor([-1.0, 1, -1, 1]), torch.zeros(4)
    mirrored = transformed(batch, mirror, none, rotates=False)
    for image in range(4):
        original = batch.valid[image].flip(-1) if mirror[image] < 0 else batch.valid[image]
        assert torch.equal(mirrored.valid[image], original)
    turned = transformed(TrainingBatch(*batch[:4]), torch.ones(4), torch.full((4,), 90.0), rotates=True)
    assert torch.equal(turned.valid, torch.rot90(batch.valid, -1, (2, 3))) or torch.equal(
        turned.valid, torch.rot90(batch.valid, 1, (2, 3))
    )


def test_a_run_leaves_void_out_of_its_scores(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
    lists = {"train": range(8), "choose": range(8, 10)}
    for name, numbers in lists.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{number:05}\n" for number in numbers))
    about = [
        *("data.source=folders", f"data.root={tmp_path}", "data.depth=false", "teacher_only=true"),
        f"data.train=[{{folder='set', list='{tmp_path}/train.txt'}}]",
        f"data.validation=[{{folder='set', list='{tmp_path}/choose.txt'}}]",
    ]
    path = recipe_file(tmp_path)
    with pytest.raises(ValueError, match=r"--void 255 \(void=255\)"):
        train(read_recipe(path, about), tmp_path / "refused")
    with pytest.raises(
        ValueError, match=r"best_by: with data\.void, expected a score that can leave pixels out, got 'Sm'"
    ):
        read_recipe(path, [*about, "data.void=255", "best_by=Sm"])
    with pytest.raises(ValueError, match="salient: expected levels such as 255"):
        read_recipe(path, [*about, "data.salient=x"])
    train(read_recipe(path, [*about, "data.void=255"]), tmp_path / "run")
    report = read_records(tmp_path / "run" / "teacher-validation.npz")
    assert set(report) == {"MAE", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "maxF_per_image", "maxE_per_image"}
    assert report.counts["images"] == 2
