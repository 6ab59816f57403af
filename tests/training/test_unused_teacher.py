"""A run whose teacher does nothing says so at once: before the first epoch for maps, after it for networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import RFBTeacher, save_model  # noqa: E402
from dynamic_kd.training import train  # noqa: E402

SAMPLES = synthetic_rgbd(6, size=32, seed=3)


@pytest.fixture
def notes_on(tiny, tmp_path, no_figures):
    """Return a function that trains for an epoch with a teacher's maps, and returns what it told of the teacher."""

    def notes(map_of, *settings):
        for sample in SAMPLES:
            pictures = {"RGB": sample.image, "GT": 255 * sample.mask.astype(np.uint8), "maps": map_of(sample)}
            for name, picture in pictures.items():
                (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture)
        recipe = tiny(
            "data.source=folders", f"data.root={tmp_path}", "data.train=['set']", "data.depth=false",
            "training.epochs=1", "teacher.model=maps", "teacher.maps=maps", "evaluate_every=0", *settings,
        )  # fmt: skip
        told = []
        train(recipe, tmp_path / "run", note=told.append)
        return [note for note in told if "noise elimination" in note]

    return notes


def mean_alpha(map_of):
    """Equation 1 in float64, averaged over the samples."""
    maps = [np.float64(map_of(sample)) / 255 for sample in SAMPLES]
    pairs = [(p, np.float64(sample.mask)) for p, sample in zip(maps, SAMPLES, strict=True)]
    return np.mean([(p * g).sum() / (p + g - p * g).sum() for p, g in pairs])


def levels(sample):
    return sample.mask.astype(np.uint8)


def inverted(sample):
    return 255 - 255 * levels(sample)


def half(sample):
    return np.full((32, 32), 60, np.uint8)


@pytest.mark.parametrize(
    ("map_of", "cause"),
    [
        (levels, "their largest value is 1 of 255: if 1 stands for salient, save them with the levels 0 and 255"),
        (inverted, "they look inverted: one minus the maps has a mean α of 1.00; invert the files"),
        (half, "they may be inverted, hold 0 and 1 instead of 0 and 255, or belong to other images"),
    ],
)
def test_maps_that_are_flagged_are_told_before_the_first_epoch(notes_on, map_of, cause):
    start = f"noise elimination flags all of the teacher's maps (α ≤ 0.5; the mean α is {mean_alpha(map_of):.2f}), so "
    assert notes_on(map_of) == [f"{start}the student hardly learns from the teacher: {cause}"]


@pytest.mark.parametrize(
    ("map_of", "settings"),
    [
        (lambda sample: 255 * levels(sample), []),
        (inverted, ["loss.noise_elimination=none"]),
        (inverted, ["teacher.probability_shift=true"]),
        (inverted, ["loss.weighting=none", "teacher.model=rfb", "teacher.maps="]),
        (inverted, ["loss.granularity=pixel"]),
        (lambda sample: 255 * levels(sample) if sample is SAMPLES[0] else inverted(sample), []),
    ],
    ids=["good", "no elimination", "shifted", "no teacher", "pixels", "some"],
)
def test_nothing_is_told_of_a_teacher_that_is_used(notes_on, map_of, settings):
    assert notes_on(map_of, *settings) == []


def test_a_network_that_is_flagged_is_told_after_the_first_epoch(tiny, tmp_path, no_figures):
    torch.manual_seed(0)
    save_model(RFBTeacher("tiny"), tmp_path / "untrained.safetensors")
    told = []
    train(
        tiny(f"teacher.checkpoint={tmp_path}/untrained.safetensors", "training.epochs=2", "evaluate_every=0"),
        tmp_path / "run",
        note=told.append,
    )
    [note] = told
    assert note.startswith("noise elimination flagged all of the training samples in the first epoch (the mean α is 0.")
    assert note.endswith("whether its maps or outputs are inverted, and loss.noise_threshold")
