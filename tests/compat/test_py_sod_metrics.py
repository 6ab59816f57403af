"""The stand-in for PySODMetrics beside PySODMetrics 1.6.2 itself, in the same run."""

import inspect

import numpy as np
import pytest

from dynamic_kd.compat import py_sod_metrics as ours

theirs = pytest.importorskip(
    "py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers', which holds NumPy back"
)

CLASSIC = {
    "MAE": lambda library: library.MAE(),
    "Fmeasure": lambda library: library.Fmeasure(),
    "Fmeasure, beta": lambda library: library.Fmeasure(beta=1.7),
    "Fmeasure, beta 0": lambda library: library.Fmeasure(0),
    "WeightedFmeasure": lambda library: library.WeightedFmeasure(),
    "WeightedFmeasure, beta": lambda library: library.WeightedFmeasure(beta=0.3),
    "Smeasure": lambda library: library.Smeasure(),
    "Smeasure, alpha": lambda library: library.Smeasure(alpha=0.2),
    "Emeasure": lambda library: library.Emeasure(),
}


def usable(make, pairs, s_differs):
    smeasure = isinstance(make(ours), ours.Smeasure)
    return [pair for pair in pairs.values() if not (smeasure and s_differs(*pair))]


def test_every_public_name_is_there():
    names = {name for name, value in vars(theirs).items() if inspect.isclass(value)}
    assert names <= set(dir(ours))
    assert ours.SensitivityHandler is ours.TPRHandler is ours.RecallHandler
    assert ours.TNRHandler is ours.SpecificityHandler


@pytest.mark.parametrize("name", [name for name in dir(theirs) if inspect.isclass(getattr(theirs, name))])
def test_signatures(name):
    def described(function):
        parameters = list(inspect.signature(function).parameters.values())
        return [(parameter.name, parameter.default, parameter.kind) for parameter in parameters]

    mine, peer = getattr(ours, name), getattr(theirs, name)
    assert described(mine) == described(peer)
    for method in ("step", "get_results", "add_handler"):
        if hasattr(peer, method):
            assert described(getattr(mine, method)) == described(getattr(peer, method)), method


@pytest.mark.parametrize("make", CLASSIC.values(), ids=CLASSIC)
def test_classic_scores(make, pairs, s_differs, assert_same, both, kept):
    chosen = usable(make, pairs, s_differs)
    assert len(chosen) > 9
    mine, peer = both(make, chosen)
    assert_same(mine.get_results(), peer.get_results())
    assert_same(kept(mine), kept(peer))
    for pair in chosen:  # one by one, so that no mean hides anything
        mine, peer = both(make, [pair])
        assert_same(mine.get_results(), peer.get_results())


def test_bool_masks_are_taken_as_they_are(pairs, assert_same):
    for make in CLASSIC.values():
        for pred, gt in pairs.values():
            mine, same = make(ours), make(ours)
            mine.step(pred, gt > 128)
            same.step(pred, gt)
            assert_same(mine.get_results(), same.get_results(), atol=0)


@pytest.mark.parametrize("dtype", [bool, np.int16, np.int64, np.uint16, np.float64])
def test_other_dtypes(dtype, pairs, s_differs, assert_same, both):
    for make in CLASSIC.values():
        for pred, gt in usable(make, pairs, s_differs):
            pred = (pred > 100) if dtype is bool else pred
            if dtype is bool and (pred.all() or s_differs(pred, gt)):
                continue  # a map that is True everywhere is read as 1 / 255 there
            mask = gt if dtype is bool else gt.astype(dtype)
            mine, peer = both(make, [(pred.astype(dtype), mask)])
            assert_same(mine.get_results(), peer.get_results())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalised_maps(dtype, pairs, s_differs, assert_same, both):
    normalised = {name: ((pred / dtype(255)).astype(dtype), gt > 128) for name, (pred, gt) in pairs.items()}
    for make in CLASSIC.values():
        chosen = [normalised[name] for name, pair in pairs.items() if not s_differs(*pair)]
        mine, peer = both(make, chosen, normalize=False)
        assert_same(mine.get_results(), peer.get_results(), atol=1e-9 if dtype is np.float64 else 1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_single_precision_maps_reach_the_same_thresholds(normalize, pairs, assert_same, both):
    for pred, gt in pairs.values():
        single = pred.astype(np.float32)
        if not normalize:
            low, high = single.min(), max(single.max(), single.min() + 1)
            single, gt = (single - low) / (high - low), gt > 128
        mine, peer = both(lambda library: library.Fmeasure(), [(single, gt)], normalize=normalize)
        assert_same(mine.get_results()["pr"], peer.get_results()["pr"], atol=0)


def test_what_differs_on_purpose(both, quietly):
    """Where PySODMetrics gives NaN or nonsense in silence."""
    pred, last_row = np.arange(36, dtype=np.uint8).reshape(6, 6), np.zeros((6, 6), np.uint8)
    last_row[5] = 255
    mine, peer = both(lambda library: library.Smeasure(), [(pred, last_row)])
    assert np.isnan(peer.get_results()["sm"])
    assert 0 <= mine.get_results()["sm"] <= 1
    one = np.full((1, 1), 255, np.uint8)
    mine, peer = both(lambda library: library.Emeasure(), [(one, one)])
    assert peer.get_results()["em"]["adp"] > 1e15
    assert mine.get_results()["em"]["adp"] == 1
    mask = (last_row > 0).astype(np.uint8)
    for dark in (mask, mask > 0):
        _, peer = both(lambda library: library.MAE(), [])
        quietly(peer.step, pred=pred, gt=dark)
        empty = theirs.MAE()
        empty.step(pred=pred, gt=np.zeros_like(pred))
        assert peer.get_results() == empty.get_results()
    assert np.isnan(quietly(theirs.MAE().get_results)["mae"])


SCRIPT = """
import os
import cv2
import numpy as np
{imports}

FM, WFM, SM, EM, M = Fmeasure(), WeightedFmeasure(), Smeasure(), Emeasure(), MAE()
FMv2 = FmeasureV2(metric_handlers={{
    "fm": FmeasureHandler(with_adaptive=True, with_dynamic=True, beta=0.3),
    "iou": IOUHandler(with_adaptive=True, with_dynamic=True),
    "sample_dice": DICEHandler(with_adaptive=False, with_dynamic=False, with_binary=True, sample_based=True),
    "overall_dice": DICEHandler(with_adaptive=False, with_dynamic=False, with_binary=True, sample_based=False),
}})
for name in sorted(os.listdir(os.path.join(root, "masks"))):
    mask = cv2.imread(os.path.join(root, "masks", name), cv2.IMREAD_GRAYSCALE)
    pred = cv2.imread(os.path.join(root, "maps", name), cv2.IMREAD_GRAYSCALE)
    for metric in (FM, WFM, SM, EM, M, FMv2):
        metric.step(pred=pred, gt=mask)
fm, em, fmv2 = FM.get_results()["fm"], EM.get_results()["em"], FMv2.get_results()
results = {{
    "Smeasure": SM.get_results()["sm"], "wFmeasure": WFM.get_results()["wfm"], "MAE": M.get_results()["mae"],
    "adpEm": em["adp"], "meanEm": em["curve"].mean(), "maxEm": em["curve"].max(),
    "adpFm": fm["adp"], "meanFm": fm["curve"].mean(), "maxFm": fm["curve"].max(),
    "maxiou": fmv2["iou"]["dynamic"].max(), "meaniou": fmv2["iou"]["dynamic"].mean(),
    "dice": fmv2["sample_dice"]["binary"], "overall_dice": fmv2["overall_dice"]["binary"],
    "precision": FM.get_results()["pr"]["p"].tolist(), "recall": np.flip(FM.get_results()["pr"]["r"]),
}}
"""
NAMES = "MAE, DICEHandler, Emeasure, Fmeasure, FmeasureHandler, FmeasureV2, IOUHandler, Smeasure, WeightedFmeasure"


def test_a_script_changes_by_its_import_line_only(tmp_path, pairs, s_differs, assert_same, quietly):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is in the extra 'eval'")
    for folder in ("maps", "masks"):
        (tmp_path / folder).mkdir()
    for name, pair in pairs.items():
        if not s_differs(*pair):
            for folder, image in zip(("maps", "masks"), pair, strict=True):
                cv2.imwrite(str(tmp_path / folder / f"{name}.png"), image)
    results = []
    for library in ("py_sod_metrics", "dynamic_kd.compat.py_sod_metrics"):
        variables = {"root": str(tmp_path)}
        quietly(exec, SCRIPT.format(imports=f"from {library} import {NAMES}"), variables)
        results.append(variables["results"])
    assert_same(results[1], results[0])
