"""PySODMetrics 1.6.2 beside the library, on fresh random images."""

import warnings

import metric_reference as reference
import numpy as np
import pytest

py_sod_metrics = pytest.importorskip(
    "py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers', which holds NumPy back"
)


def peer_scores(pred, target):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        measures = {name: getattr(py_sod_metrics, name)() for name in ("MAE", "Fmeasure", "WeightedFmeasure")}
        measures |= {name: getattr(py_sod_metrics, name)() for name in ("Smeasure", "Emeasure")}
        for measure in measures.values():
            measure.step(pred, target)
        results = {name: measure.get_results() for name, measure in measures.items()}
    return {
        "MAE": results["MAE"]["mae"],
        "F": results["Fmeasure"]["fm"]["curve"][::-1],
        "adpF": results["Fmeasure"]["fm"]["adp"],
        "wF": results["WeightedFmeasure"]["wfm"],
        "S": results["Smeasure"]["sm"],
        "E": results["Emeasure"]["em"]["curve"][::-1],
        "adpE": results["Emeasure"]["em"]["adp"],
    }


def differs_by_design(pred, target):
    """Whether one of the documented differences in S is at work: a centroid on a half, an empty or a flat quadrant."""
    if not target.any() or target.all():
        return False
    rows, columns = np.nonzero(target)
    centroid = rows.mean(), columns.mean()
    if any(abs(value % 1 - 0.5) < 1e-9 for value in centroid):
        return True
    row, column = (int(np.floor(value + 1.5)) for value in centroid)
    x = reference.normalised(pred)
    for part in (np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]):
        if x[part].size == 0 or x[part].min() == x[part].max() or target[part].min() == target[part].max():
            return True
    return False


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree(functions, random_pair, backend, seed):
    generator = np.random.default_rng(seed)
    compared = 0
    for _ in range(40):
        pred, target = random_pair(generator, *generator.integers(2, 90, 2))
        if generator.random() < 0.3:
            target = generator.random(target.shape) < 0.5
        expected = peer_scores(pred, (target * 255).astype(np.uint8))
        for name, function in functions.items():
            if name == "S" and differs_by_design(pred, target):
                continue
            value = np.asarray(function(backend(pred), backend(target)))
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-9, err_msg=name)
            compared += name == "S"
    assert compared > 5


def test_documented_differences(functions):
    """Where the library leaves PySODMetrics, it does so on purpose."""
    square = np.zeros((6, 6), np.uint8)
    square[2:4, 1:3] = 255  # the centroid, 2.5 from 0, rounds to 3 here and to 2 there
    pred = np.arange(36, dtype=np.uint8).reshape(6, 6)
    assert abs(functions["S"](pred, square) - peer_scores(pred, square)["S"]) > 1e-3
    last_row = np.zeros((6, 6), np.uint8)
    last_row[5] = 255
    assert np.isnan(peer_scores(pred, last_row)["S"])
    assert np.isfinite(functions["S"](pred, last_row))
    one = np.full((1, 1), 255, np.uint8)
    assert peer_scores(one, one)["adpE"] > 1e15
    assert functions["adpE"](one, one) == 1
