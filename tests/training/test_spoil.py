"""Teacher's maps made wrong on purpose: which, how, and how many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import Sample, synthetic_rgbd
from dynamic_kd.training import Teacher
from dynamic_kd.training._image_set import ImageSet
from dynamic_kd.training._spoilt_maps import with_spoilt_maps

KINDS = ("swapped", "blurred", "inverted", "half_missing")


def made(count):
    """Samples whose teacher's maps tell who they are: a soft object, and a level of the background of its own."""
    return [
        replace(each, teacher=(0.9 * each.mask + (1 + index) / 1000).astype(np.float32))
        for index, each in enumerate(synthetic_rgbd(count, size=32, seed=5, spoilt_share=0))
    ]


SAMPLES = made(20)


def spoil_maps(samples, kind, share, seed):
    """Spoil the maps of samples, and return them as samples."""
    depth = all(sample.depth is not None for sample in samples)
    data = with_spoilt_maps(ImageSet.from_samples(samples, depth=depth), kind, share, seed)
    return [data.sample(position) for position in range(len(data))]


def wrong(samples):
    return {sample.name for sample in samples if sample.spoilt is not None}


@given(st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 2**32))
def test_so_many_are_spoilt_as_was_asked_and_nothing_else_changes(kind, share, seed):
    spoilt = spoil_maps(SAMPLES, kind, share, seed)
    assert len(wrong(spoilt)) == round(share * 20)
    for before, after in zip(SAMPLES, spoilt, strict=True):
        assert after.name == before.name
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.mask, before.mask)
        assert after.spoilt in (None, kind)
        same = np.array_equal(before.teacher, after.teacher)
        assert same == (after.spoilt is None)
        assert after.teacher.dtype == np.float32
        assert 0 <= after.teacher.min() <= after.teacher.max() <= 1
    assert not wrong(SAMPLES)


@given(st.sampled_from(KINDS), st.floats(0, 1), st.floats(0, 1), st.integers(0, 100))
def test_a_larger_share_spoils_further_maps_and_the_same_ones_alike(kind, one, other, seed):
    few, many = (spoil_maps(SAMPLES, kind, share, seed) for share in sorted((one, other)))
    assert wrong(few) <= wrong(many)
    for less, more in zip(few, many, strict=True):
        if less.spoilt:
            np.testing.assert_array_equal(less.teacher, more.teacher)


@given(st.integers(2, 20), st.integers(0, 1000))
def test_no_sample_keeps_its_own_map_in_a_swap_and_no_map_is_used_twice(count, seed):
    samples = SAMPLES[:count]
    owners = {sample.teacher.tobytes(): sample.name for sample in samples}
    swapped = spoil_maps(samples, "swapped", 1.0, seed)
    given_by = [owners[sample.teacher.tobytes()] for sample in swapped]
    assert sorted(given_by) == sorted(sample.name for sample in samples)
    assert all(giver != sample.name for giver, sample in zip(given_by, swapped, strict=True))


def test_the_seed_chooses():
    chosen = [frozenset(wrong(spoil_maps(SAMPLES, "inverted", 0.3, seed))) for seed in range(30)]
    assert len(set(chosen)) > 20
    assert wrong(spoil_maps(SAMPLES, "inverted", 0.3, 7)) == chosen[7]
    assert wrong(spoil_maps(SAMPLES, "blurred", 0.3, 7)) == chosen[7]
    assert set().union(*chosen) == {sample.name for sample in SAMPLES}


def test_an_inverted_map_is_one_minus_the_map():
    for before, after in zip(SAMPLES, spoil_maps(SAMPLES, "inverted", 1, 0), strict=True):
        np.testing.assert_array_equal(after.teacher, 1 - before.teacher)


def test_a_blurred_map_keeps_its_mass_and_loses_its_shape():
    mask = np.zeros((64, 64), bool)
    mask[28:36, 28:36] = True
    sample = Sample("a", np.zeros((64, 64, 3), np.uint8), None, mask, teacher=mask.astype(np.float32))
    (after,) = spoil_maps([sample], "blurred", 1, 0)
    assert after.teacher.sum() == pytest.approx(64, rel=0.02)
    assert after.teacher.max() < 0.2
    rows, _ = np.indices((64, 64))
    spread = np.sqrt((after.teacher * (rows - 31.5) ** 2).sum() / after.teacher.sum())
    assert spread == pytest.approx(np.hypot(8, 8 / np.sqrt(12)), rel=0.05)  # a Gaussian of 64 / 8, and the square


def test_half_missing_cuts_a_half_of_the_objects_box():
    mask = np.zeros((32, 32), bool)
    mask[8:16, 4:24] = True
    whole = np.full((32, 32), 0.75, np.float32)
    halves = {(8, 16, 4, 14), (8, 16, 14, 24), (8, 12, 4, 24), (12, 16, 4, 24)}
    seen = set()
    for seed in range(40):
        sample = Sample("a", np.zeros((32, 32, 3), np.uint8), None, mask, teacher=whole)
        (after,) = spoil_maps([sample], "half_missing", 1, seed)
        rows, columns = np.nonzero(after.teacher == 0)
        box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
        assert (after.teacher == 0).sum() == (box[1] - box[0]) * (box[3] - box[2])
        seen.add(tuple(map(int, box)))
    assert seen == halves
    empty = replace(sample, mask=np.zeros_like(mask))
    assert (spoil_maps([empty], "half_missing", 1, 0)[0].teacher == 0).mean() == 0.5
    assert (whole == 0.75).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SAMPLES, "lost", 0.3, 0), "spoil: expected one of 'swapped', 'blurred', 'inverted', 'half_missing', got"),
        ((SAMPLES, "swapped", 1.5, 0), r"spoil_share: expected a number in \[0, 1\], got 1.5"),
        (
            (SAMPLES[:1], "swapped", 1.0, 0),
            "spoil: there is only one sample, and no other map to swap with; choose another",
        ),
        (
            ([*SAMPLES, replace(SAMPLES[0], name="x", teacher=None)], "blurred", 0.1, 0),
            "spoil: the training set has no teacher maps; name their folder in teacher.maps",
        ),
    ],
)
def test_what_cannot_be_spoilt(arguments, message):
    with pytest.raises(ValueError, match=message):
        spoil_maps(*arguments)


def test_a_recipe_spoils_maps_alone():
    assert Teacher(model="maps", maps="a", spoil="swapped", spoil_share=0.2).spoil_share == 0.2
    with pytest.raises(ValueError, match='spoil: requires model = "maps", got \'swapped\' with model = "rfb"'):
        Teacher(spoil="swapped")
    with pytest.raises(ValueError, match="spoil: expected one of 'swapped'"):
        Teacher(model="maps", maps="a", spoil="torn")
    with pytest.raises(ValueError, match=r"spoil_share: expected a number in \[0, 1\], got -1"):
        Teacher(model="maps", maps="a", spoil_share=-1)
