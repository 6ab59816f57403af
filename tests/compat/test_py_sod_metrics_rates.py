"""Handlers and the newer measures of the stand-in for PySODMetrics, beside PySODMetrics 1.6.2 itself."""

import numpy as np
import pytest

from dynamic_kd.compat import py_sod_metrics as ours

OTHERS = {
    "MSIoU": lambda library: library.MSIoU(True, True, with_binary=True),
    "MSIoU, adaptive": lambda library: library.MSIoU(with_dynamic=False, with_adaptive=True),
    "MSIoU, binary": lambda library: library.MSIoU(False, False, with_binary=True),
    "HCE": lambda library: library.HumanCorrectionEffortMeasure(),
    "HCE, settings": lambda library: library.HumanCorrectionEffortMeasure(relax=2, epsilon=0.5),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_other_scores(make, pairs, assert_same, both, kept):
    chosen = list(pairs.values())
    mine, peer = both(make, chosen)
    assert_same(mine.get_results(), peer.get_results())
    assert_same(kept(mine), kept(peer))
    mine, peer = both(make, [(pred / 255, gt > 128) for pred, gt in chosen[:4]], normalize=False)
    assert_same(mine.get_results(), peer.get_results())


@pytest.mark.parametrize("settings", [{}, {"beta2": 0.3, "alpha": 2.8}], ids=str)
def test_context_measure(settings, pairs, assert_same, both, kept):
    """PySODMetrics filters in single precision."""
    mine, peer = both(lambda library: library.ContextMeasure(**settings), pairs.values())
    assert_same(mine.get_results(), peer.get_results(), atol=1e-6)
    assert_same(kept(mine), kept(peer), atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"beta2": 0.3, "alpha": 2.8, "gamma": 2, "lambda_spatial": 5}], ids=str)
def test_camouflage_context_measure(settings, pairs, assert_same, kept, quietly, theirs):
    """Photographs of noise, whose patches are never equally near."""
    generator = np.random.default_rng(1)
    for name, (pred, gt) in pairs.items():
        mine, peer = (library.CamouflageContextMeasure(**settings) for library in (ours, theirs))
        photograph = generator.integers(0, 256, (*gt.shape, 3), dtype=np.uint8)
        if min(gt.shape) >= 7:  # the size of a patch
            mine.step(pred, gt, img=photograph)
            quietly(peer.step, pred, gt, img=photograph)
            assert_same(mine.get_results(), peer.get_results(), atol=1e-5, where=name)
            assert_same(kept(mine), kept(peer), atol=1e-5, where=name)


@pytest.fixture(scope="session")
def object_pairs(pairs):
    """Pairs with several objects, and those on which PySODMetrics' size-invariant measures do not fail or give NaN."""
    generator = np.random.default_rng(7)
    chosen = {name: pair for name, pair in pairs.items() if (pair[1] <= 128).any() and name != "soft mask"}
    for index in range(6):
        gt = np.zeros((70, 90), np.uint8)
        for _ in range(index + 2):
            top, left, height, width = (*generator.integers(0, 60, 2), *generator.integers(2, 20, 2))
            gt[top : top + height, left : left + width] = 255
        chosen[f"objects {index}"] = generator.integers(0, 256, gt.shape, dtype=np.uint8) // 2 + gt // 2, gt
    return chosen


def test_size_invariant_handlers(flags, object_pairs, assert_same, both, kept, handlers):
    mine, peer = both(lambda library: library.SizeInvarianceFmeasureV2(handlers(library, flags)), object_pairs.values())
    assert_same(mine.get_results(), peer.get_results())
    for name in mine._metric_handlers:
        assert_same(kept(mine._metric_handlers[name]), kept(peer._metric_handlers[name]), where=name)


def test_size_invariant_error(object_pairs, assert_same, both, kept):
    mine, peer = both(lambda library: library.SizeInvarianceMAE(), object_pairs.values())
    assert_same(mine.get_results(), peer.get_results())
    assert_same(kept(mine), kept(peer))


def test_handlers(flags, pairs, assert_same, both, kept, handlers):
    mine, peer = both(lambda library: library.FmeasureV2(handlers(library, flags)), pairs.values())
    assert_same(mine.get_results(), peer.get_results())
    for name in mine._metric_handlers:
        assert_same(kept(mine._metric_handlers[name]), kept(peer._metric_handlers[name]), where=name)


def test_handlers_are_functions_of_counts(assert_same, handlers, theirs):
    generator = np.random.default_rng(0)
    counts = dict(zip(("tp", "fp", "tn", "fn"), generator.integers(0, 50, (4, 300)), strict=True))
    flags = {"with_dynamic": True, "with_adaptive": True}
    for name, handler in handlers(ours, flags).items():
        assert_same(handler(**counts), handlers(theirs, flags)[name](**counts), where=name)


def test_kappa_is_cohens(pairs, both):
    """PySODMetrics multiplies (TN + FN) by (TN + TP), where chance agreement on the background is by (TN + FP)."""
    pred, gt = pairs["noisy 0"]
    cut, mask = pred / pred.max() > 0.5, gt > 128
    tp, fp, tn, fn = (np.count_nonzero(part) for part in (cut & mask, cut & ~mask, ~cut & ~mask, ~cut & mask))
    accuracy = (tp + tn) / gt.size
    chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / gt.size**2
    assert pred.min() == 0
    flags = {"with_dynamic": True, "with_adaptive": True, "with_binary": True}
    mine, peer = both(lambda library: library.FmeasureV2({"kappa": library.KappaHandler(**flags)}), [(pred, gt)])
    mine, peer = mine.get_results()["kappa"], peer.get_results()["kappa"]
    assert mine["binary"] == pytest.approx((accuracy - chance) / (1 - chance), rel=0, abs=1e-12)
    assert abs(mine["binary"] - peer["binary"]) > 1e-3
    assert {name: np.shape(value) for name, value in mine.items()} == {"dynamic": (256,), "adaptive": (), "binary": ()}


def test_counts_of_other_peoples_handlers(pairs, assert_same, both, theirs):
    """A handler written for PySODMetrics gets the same counts, integers in the same order."""

    class Counts(theirs.FmeasureHandler):
        def __call__(self, tp, fp, tn, fn):
            return np.stack(np.broadcast_arrays(tp, fp, tn, fn)).astype(float)

    def make(library):
        measure = library.FmeasureV2()
        measure.add_handler("counts", Counts(True, True, with_binary=True))
        return measure

    mine, peer = both(make, pairs.values())
    mine, peer = mine._metric_handlers["counts"], peer._metric_handlers["counts"]
    for name in ("dynamic_results", "binary_results", "adaptive_results"):
        for a, b in zip(getattr(mine, name), getattr(peer, name), strict=True):
            np.testing.assert_array_equal(a, b)
