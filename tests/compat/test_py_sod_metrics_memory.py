"""The stand-in for PySODMetrics: what objects stepped side by side share, and what they never mix up."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dynamic_kd.compat.py_sod_metrics import (
    MAE,
    BERHandler,
    Emeasure,
    Fmeasure,
    FmeasureHandler,
    FmeasureV2,
    MSIoU,
    Smeasure,
    WeightedFmeasure,
)
from dynamic_kd.metrics import _measured

CLASSES = (MAE, Fmeasure, WeightedFmeasure, Smeasure, Emeasure)
PRED = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
GT = np.zeros((6, 8), np.uint8)
GT[2:5, 3:7] = 255
X, MASK = PRED / 235, GT > 128


def handlers():
    flags = {"with_dynamic": True, "with_adaptive": True, "with_binary": True}
    return {"f": FmeasureHandler(**flags), "ber": BERHandler(**flags, sample_based=False)}


def make_all():
    return [make() for make in CLASSES] + [FmeasureV2(handlers()), MSIoU(False, True)]


def flat(result):
    return np.concatenate([flat(value) if isinstance(value, dict) else np.ravel(value) for value in result.values()])


def fresh(make, pred, gt, **settings):
    """Results of a pair without anything remembered."""

    def results():
        measure = make()
        measure.step(pred, gt, **settings)
        return flat(measure.get_results())

    with ThreadPoolExecutor(1) as pool:  # pairs are remembered for each thread
        return pool.submit(results).result()


@pytest.fixture
def measured(monkeypatch):
    """Count how often statistics are computed."""
    calls = []
    compute = _measured.statistics
    monkeypatch.setattr(_measured, "statistics", lambda pairs: calls.append(pairs) or compute(pairs))
    MAE().step(PRED.T, GT.T)  # another pair than those of the tests
    calls.clear()
    return calls


def test_objects_side_by_side_share_a_pair(measured):
    for pred, gt in ((PRED, GT), (PRED.copy(), GT.copy()), (PRED, GT > 128)):
        for measure in make_all()[:-1]:  # MSIoU reads the pixels
            measure.step(pred, gt)
    assert len(measured) == 2  # the same values again are the same pair, another mask's dtype is not


@pytest.mark.parametrize("changed", ["pred", "gt", "normalize"])
@pytest.mark.parametrize("make", CLASSES)
def test_a_pair_changed_between_two_steps_is_another(changed, make):
    pred, gt, normalize = X / 2, MASK.copy(), False
    first, second = make(), make()
    first.step(pred, gt, normalize)
    if changed == "pred":
        pred[:3] = 0
    elif changed == "gt":
        gt[:] = np.roll(gt, 1, axis=1)
    else:
        normalize = True
    second.step(pred, gt, normalize)
    results = flat(second.get_results())
    assert not np.array_equal(results, flat(first.get_results()))
    np.testing.assert_array_equal(results, fresh(make, pred, gt, normalize=normalize))


def test_masks_of_0_and_1_are_not_the_bool_masks_that_they_equal():
    measure = MAE()
    measure.step(PRED, MASK)
    with pytest.raises(ValueError, match="which would count as empty"):
        measure.step(PRED, MASK.astype(np.uint8))


def test_what_is_computed_later_is_of_the_kept_copy():
    """The second object finds the first one's pair, whose arrays have changed since and are back in a new buffer."""
    for pred, gt in ((PRED.copy(), GT.copy()), (PRED / 1.0, GT.copy()), (PRED.copy(), GT > 128)):
        again, mask = pred.copy(), gt.copy()
        expected = [fresh(make, again, mask) for make in CLASSES]
        MAE().step(pred, gt)
        pred[:], gt[:] = 0, 0
        for make, values in zip(CLASSES, expected, strict=True):
            measure = make()
            measure.step(again, mask)
            np.testing.assert_array_equal(flat(measure.get_results()), values)


def test_results_do_not_change_with_the_inputs():
    pred, gt = PRED.copy(), GT.copy()
    for measure in make_all():
        measure.step(pred, gt)
        before = flat(measure.get_results())
        pred[:], gt[:] = 255 - pred, 255 - gt
        np.testing.assert_array_equal(flat(measure.get_results()), before)


def test_a_thread_does_not_forget_for_another(measured):
    MAE().step(PRED, GT)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(MAE().step, 255 - PRED, GT).result()
    Emeasure().step(PRED, GT)
    assert len(measured) == 2


def test_threads_do_not_mix_pairs():
    generator = np.random.default_rng(0)
    pairs = [
        (generator.integers(0, 256, (31, 40), dtype=np.uint8), np.roll(GT.repeat(6, 0)[:31].repeat(5, 1), i, 1))
        for i in range(40)
    ]
    expected = [[fresh(make, *pair) for make in CLASSES] for pair in pairs]

    def score(pair):
        measures = [make() for make in CLASSES]
        for measure in measures:
            measure.step(*pair)
        return [flat(measure.get_results()) for measure in measures]

    with ThreadPoolExecutor(4) as pool:
        for mine, theirs in zip(pool.map(score, pairs), expected, strict=True):
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
