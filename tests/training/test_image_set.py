"""Data sets in memory, and the one motion of all that belongs to an image."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import network_input  # noqa: E402
from dynamic_kd.training._augmentation import transformed  # noqa: E402
from dynamic_kd.training._image_set import ImageSet, TrainingBatch  # noqa: E402

ONE = torch.ones(1)
NONE = torch.zeros(1)


def batch_of(values):
    """The same map, (B, 1, H, W), as every channel of an image, as its mask, and as its teacher's map."""
    return TrainingBatch(values.expand(-1, 4, -1, -1), values, values)


def pattern(height, width, seed=0):
    """A map of soft blobs."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), 2)
    scaled = (noise - noise.min()) / (noise.max() - noise.min())
    return torch.from_numpy(scaled).float()[None, None]


def test_inputs_are_normalised_colour_and_depth():
    [sample] = synthetic_rgbd(1, size=32)
    batch = ImageSet.from_samples([sample]).batch(torch.tensor([0]))
    expected = [
        *(
            (sample.image[..., c] / 255 - mean) / std
            for c, mean, std in ((0, 0.485, 0.229), (1, 0.456, 0.224), (2, 0.406, 0.225))
        ),
        (sample.depth - 0.5) / 0.25,
    ]
    np.testing.assert_allclose(batch.inputs[0], expected, atol=1e-5)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.targets[0, 0], sample.mask)
    assert (batch.targets.dtype, batch.teacher_maps, batch.valid) == (torch.float32, None, None)


def test_colour_alone():
    samples = synthetic_rgbd(2, size=32)
    data = ImageSet.from_samples([replace(sample, depth=None) for sample in samples], depth=False)
    assert ImageSet.from_samples(samples, depth=False).depths is data.depths is None
    inputs = data.batch(torch.tensor([1])).inputs
    assert inputs.shape == (1, 3, 32, 32)
    torch.testing.assert_close(inputs, ImageSet.from_samples(samples).batch(torch.tensor([1])).inputs[:, :3])


def test_depth_that_is_wanted_and_missing():
    first, *others = synthetic_rgbd(3, size=32)
    lacking = [first, *(replace(sample, depth=None) for sample in others)]
    message = "2 images have no depth map, the first is 00001; set data.depth=false to train on colour alone"
    with pytest.raises(ValueError, match=message):
        ImageSet.from_samples(lacking)


def test_samples_are_found_by_their_position():
    samples = [replace(each, teacher=each.depth) for each in synthetic_rgbd(5, size=32)]
    data = ImageSet.from_samples(samples).for_device(torch.device("cpu"), move=True)
    batch = data.batch(torch.tensor([3, 0]))
    np.testing.assert_array_equal(batch.targets[:, 0], [samples[3].mask, samples[0].mask])
    np.testing.assert_array_equal(batch.teacher_maps[:, 0], [samples[3].teacher, samples[0].teacher])
    assert (len(data), data.names) == (5, ("00000", "00001", "00002", "00003", "00004"))
    assert ImageSet.from_samples([samples[0], replace(samples[1], teacher=None)]).teacher_maps is None


@pytest.mark.parametrize("rotates", [False, True])
def test_all_that_belongs_to_an_image_moves_together(rotates):
    batch = batch_of((pattern(32, 48) > 0.5).float().repeat(6, 1, 1, 1))
    mirror, turn = torch.tensor([1.0, -1, 1, -1, 1, -1]), torch.tensor([0.0, 0, 17, 17, -40, 90])
    after = transformed(batch, mirror, turn, rotates=rotates)
    torch.testing.assert_close(after.inputs, after.targets.expand(-1, 4, -1, -1))
    torch.testing.assert_close(after.teacher_maps, after.targets)
    assert len({image.numpy().tobytes() for image in after.targets}) == (6 if rotates else 2)
    assert after.inputs.is_contiguous(memory_format=torch.channels_last)


def test_a_mirrored_image_keeps_its_values():
    image = network_input(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.rand(2, 1, 32, 32))
    mask, teacher = torch.rand(2, 1, 32, 32).round(), torch.rand(2, 1, 32, 32)
    after = transformed(TrainingBatch(image, mask, teacher), torch.tensor([-1.0, 1]), torch.zeros(2), rotates=False)
    for found, before in zip(after[:3], (image, mask, teacher), strict=True):
        assert torch.equal(found[0], before[0].flip(-1))
        assert torch.equal(found[1], before[1])
    assert after.valid is None


@pytest.mark.parametrize("shape", [(33, 33), (32, 32), (24, 40), (41, 20)])
@given(turn=st.floats(-180, 180), mirrored=st.booleans())
def test_a_turn_is_that_of_the_pixels_about_the_centre(shape, turn, mirrored):
    """SciPy turns pixels, so right angles stay right on oblong images; what comes into view repeats the edge."""
    values = pattern(*shape)
    after = transformed(batch_of(values), -ONE if mirrored else ONE, turn * ONE, rotates=True)
    expected = ndimage.rotate(values[0, 0].numpy(), turn, reshape=False, order=1, mode="nearest")
    expected = expected[:, ::-1] if mirrored else expected
    np.testing.assert_allclose(after.targets[0, 0], expected, atol=2e-3)


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
@pytest.mark.parametrize("turn", [0.0, 15.0, -30.0, 90.0, 180.0])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_pixels_are_valid_where_they_were_inside(shape, turn, mirror):
    after = transformed(batch_of(pattern(*shape)), mirror * ONE, turn * ONE, rotates=True)
    height, width = shape
    rows, columns = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    angle = np.deg2rad(turn)
    from_column = np.cos(angle) * mirror * columns - np.sin(angle) * rows
    from_row = np.sin(angle) * mirror * columns + np.cos(angle) * rows
    inside = (np.abs(from_column) <= width / 2 + 1e-4) & (np.abs(from_row) <= height / 2 + 1e-4)
    assert after.valid.dtype == torch.bool
    np.testing.assert_array_equal(after.valid[0, 0], inside)


def test_without_a_turn_every_pixel_is_valid_and_stays():
    values = pattern(32, 48)
    after = transformed(batch_of(values), ONE, NONE, rotates=True)
    assert after.valid.all()
    torch.testing.assert_close(after.targets, values)


@given(turn=st.floats(-180, 180), seed=st.integers(0, 9))
def test_maps_stay_probabilities(turn, seed):
    values = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (1, 1, 32, 32))).float()
    after = transformed(batch_of(values), ONE, turn * ONE, rotates=True)
    for maps in (after.targets, after.teacher_maps):
        assert 0 <= maps.min() <= maps.max() <= 1


def test_images_without_maps():
    values = pattern(32, 32)
    after = transformed(TrainingBatch(values.expand(-1, 3, -1, -1), values), ONE, NONE, rotates=True)
    assert after.teacher_maps is None
    assert after.inputs.shape == (1, 3, 32, 32)
