"""The synthetic set: repeatable, and its depth tells what is salient unless it is spoilt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_kd.data import Sample, synthetic_rgbd


def same(a, b):
    return (
        a.name == b.name
        and a.spoilt == b.spoilt
        and all(np.array_equal(getattr(a, field), getattr(b, field)) for field in ("image", "depth", "mask"))
    )


@given(seed=st.integers(0, 10_000), size=st.integers(32, 50), share=st.floats(0, 1))
@settings(max_examples=20)
def test_every_sample_is_well_formed_and_repeatable(seed, size, share):
    [sample] = synthetic_rgbd(1, size=size, seed=seed, spoilt_share=share)
    assert sample.image.shape == (size, size, 3)
    assert 0 <= sample.depth.min() < sample.depth.max() <= 1
    assert 0 < sample.mask.mean() < 0.3
    assert same(sample, synthetic_rgbd(1, size=size, seed=seed, spoilt_share=share)[0])


def test_a_sample_depends_on_its_index_not_on_the_count():
    whole = synthetic_rgbd(6, size=32, seed=3)
    part = synthetic_rgbd(4, size=32, seed=3, first=2)
    assert all(same(a, b) for a, b in zip(whole[2:], part, strict=True))


def test_seeds_and_indices_give_different_scenes():
    a, b = synthetic_rgbd(2, size=32, seed=0)
    [c] = synthetic_rgbd(1, size=32, seed=1)
    assert not np.array_equal(a.image, b.image)
    assert not np.array_equal(a.image, c.image)


def test_a_larger_share_spoils_further_maps_and_changes_nothing_else():
    sets = [synthetic_rgbd(60, size=32, seed=5, spoilt_share=share) for share in (0, 0.3, 0.6, 1)]
    counts = [sum(sample.spoilt is not None for sample in each) for each in sets]
    assert counts[0] == 0
    assert counts[3] == 60
    assert 10 <= counts[1] <= 26
    assert 28 <= counts[2] <= 44
    for versions in zip(*sets, strict=True):
        clean, *others = versions
        for other, before in zip(others, versions, strict=False):
            assert np.array_equal(other.image, clean.image)
            assert np.array_equal(other.mask, clean.mask)
            assert np.array_equal(other.depth, clean.depth) == (other.spoilt is None)
            assert before.spoilt in (None, other.spoilt)


def test_the_three_ways_of_spoiling_are_about_as_frequent():
    kinds = [sample.spoilt for sample in synthetic_rgbd(150, size=32, spoilt_share=1)]
    assert {kind: 30 <= kinds.count(kind) <= 70 for kind in kinds} == {
        "dominated": True,
        "low_contrast": True,
        "distorted": True,
    }


def test_depth_separates_the_salient_object_unless_it_is_spoilt():
    def separation(sample):
        """Probability that a salient pixel is nearer than one of the rest, floor included."""
        inside, outside = sample.depth[sample.mask], np.sort(sample.depth[~sample.mask])
        return np.mean(np.searchsorted(outside, inside) / len(outside))

    samples = synthetic_rgbd(200, size=48, seed=2, spoilt_share=0.75)
    by_kind = {}
    for sample in samples:
        by_kind.setdefault(sample.spoilt, []).append(separation(sample))
    means = {kind: np.mean(values) for kind, values in by_kind.items()}
    assert means[None] > 0.97
    assert means["dominated"] < 0.93
    assert means["low_contrast"] < 0.7
    assert means["distorted"] < 0.9


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"count": 0}, ValueError, r"count: expected a whole number of at least 1, got 0"),
        ({"count": 1.5}, TypeError, r"count: expected a whole number, got 1\.5"),
        ({"size": 31}, ValueError, r"size: expected a whole number of at least 32, got 31"),
        ({"seed": -1}, ValueError, r"seed: expected a whole number of at least 0, got -1"),
        ({"first": "a"}, TypeError, "first: expected a whole number"),
        ({"spoilt_share": 1.1}, ValueError, r"spoilt_share: expected a number in \[0, 1\], got 1\.1"),
    ],
)
def test_settings_out_of_range(setting, error, message):
    with pytest.raises(error, match=message):
        synthetic_rgbd(**{"count": 1, **setting})


def black(**fields):
    """A black sample, some of whose fields are replaced."""
    right = {
        "image": np.zeros((4, 5, 3), np.uint8),
        "depth": np.zeros((4, 5), np.float32),
        "mask": np.zeros((4, 5), bool),
    }
    return Sample("a", **(right | fields))


class TestSample:
    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("image", np.zeros((4, 5, 3)), r"sample a: expected image as uint8 with 3 axes, got float64 \(4, 5, 3\)"),
            (
                "depth",
                np.zeros((1, 4, 5), np.float32),
                r"expected depth as float32 with 2 axes, got float32 \(1, 4, 5\)",
            ),
            ("mask", [[True]], "expected mask as bool with 2 axes, got list"),
        ],
    )
    def test_wrong_arrays(self, field, value, message):
        with pytest.raises(TypeError, match=message):
            black(**{field: value})

    @pytest.mark.parametrize(
        ("field", "value"), [("image", np.zeros((4, 5, 4), np.uint8)), ("depth", np.zeros((5, 4), np.float32))]
    )
    def test_sizes_that_differ(self, field, value):
        with pytest.raises(
            ValueError, match=r"expected image \(H, W, 3\), and depth, mask and teacher's map \(H, W\), got "
        ):
            black(**{field: value})
