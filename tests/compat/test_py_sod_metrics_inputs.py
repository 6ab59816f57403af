"""The stand-in for PySODMetrics: what it takes and what it refuses, with every message."""

import re
import subprocess
import sys

import numpy as np
import pytest

from dynamic_kd.compat import py_sod_metrics
from dynamic_kd.compat.py_sod_metrics import (
    MAE,
    BERHandler,
    CamouflageContextMeasure,
    ContextMeasure,
    Emeasure,
    Fmeasure,
    FmeasureHandler,
    FmeasureV2,
    HumanCorrectionEffortMeasure,
    MSIoU,
    SizeInvarianceFmeasureV2,
    Smeasure,
    WeightedFmeasure,
)

CLASSES = (MAE, Fmeasure, WeightedFmeasure, Smeasure, Emeasure)
PRED = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
GT = np.zeros((6, 8), np.uint8)
GT[2:5, 3:7] = 255
X, MASK = PRED / 235, GT > 128

BAD_PAIRS = [
    (
        PRED.tolist(),
        GT,
        {},
        TypeError,
        "pred: expected a plain NumPy array of shape (H, W), got builtins.list",
    ),
    (PRED, np.ma.array(GT), {}, TypeError, "gt: expected a plain NumPy array of shape (H, W), got numpy.ma"),
    (
        np.dstack([PRED] * 3),
        GT,
        {},
        ValueError,
        "pred: expected one greyscale image of shape (H, W), got (6, 8, 3); take one channel of a colour image",
    ),
    (
        PRED[None],
        GT[None],
        {},
        ValueError,
        "got (1, 6, 8); take one channel of a colour image, and one",
    ),
    (PRED[:0], GT[:0], {}, ValueError, "pred: expected one greyscale image of shape (H, W), got (0, 8)"),
    (PRED, GT[:5], {}, ValueError, "pred and gt: expected equal shapes, got (6, 8) and (5, 8); resize the prediction"),
    (PRED * 1j, GT, {}, TypeError, "pred: expected bool, integers or floating values, got complex128"),
    (PRED, GT.astype(object), {}, TypeError, "gt: expected bool, integers or floating values, got object"),
    (PRED, GT, {"normalize": None}, TypeError, "normalize: expected True or False, got None (NoneType)"),
    (
        PRED.astype(int) + 100,
        GT,
        {},
        ValueError,
        "pred: expected finite values from 0 to 255, got 100 to 335; pass",
    ),
    (PRED - 1.0, GT, {}, ValueError, "pred: expected finite values from 0 to 255, got -1 to 234; pass probabilities"),
    (PRED * np.nan, GT, {}, ValueError, "pred: expected finite values from 0 to 255, got nan to nan"),
    (PRED, GT + np.nan, {}, ValueError, "gt: expected finite values from 0 to 255, got nan to nan; pass a bool mask"),
    (
        PRED,
        GT.astype(int) * 257,
        {},
        ValueError,
        "gt: expected finite values from 0 to 255, got 0 to 65535; pass",
    ),
    (
        PRED,
        GT // 255,
        {},
        ValueError,
        "gt: expected a mask in which more than 128 is salient, got a largest value of 1, which would count as empty;",
    ),
    (PRED, GT / 255, {}, ValueError, "pass gt > 0 for masks of 0 and 1, gt > 0.5 for soft ones"),
    (PRED, GT // 255 * 128, {}, ValueError, "got a largest value of 128, which would count as empty; pass gt > 0 for"),
    (PRED, (GT // 255).astype(np.int8), {}, ValueError, "got a largest value of 1, which would count as empty"),
    (PRED, MASK, {"normalize": False}, TypeError, "pred: expected float32 or float64 with normalize=False, got uint8;"),
    (X, GT, {"normalize": False}, TypeError, "gt: expected bool with normalize=False, got uint8; pass gt > 128"),
    (
        X * 255,
        MASK,
        {"normalize": False},
        ValueError,
        "pred: expected finite values in [0, 1] with normalize=False, got 0 to 255; divide 0 to 255 maps by 255, or",
    ),
    (
        X * np.nan,
        MASK,
        {"normalize": False},
        ValueError,
        "values in [0, 1] with normalize=False, got nan",
    ),
]
BAD_SETTINGS = [
    (ContextMeasure, {"beta2": 0}, ValueError, "beta2: expected a number in (0, inf), got 0"),
    (ContextMeasure, {"alpha": 0}, ValueError, "alpha: expected a number in (0, inf), got 0"),
    (CamouflageContextMeasure, {"gamma": 0}, ValueError, "gamma: expected a number in (0, inf), got 0"),
    (
        CamouflageContextMeasure,
        {"lambda_spatial": -1},
        ValueError,
        "lambda_spatial: expected a number in [0, inf), got",
    ),
    (Fmeasure, {"beta": -1}, ValueError, "beta: expected a number in [0, inf), got -1"),
    (WeightedFmeasure, {"beta": "1"}, TypeError, "beta: expected a number in [0, inf), got '1' (str)"),
    (FmeasureHandler, {"with_dynamic": True, "with_adaptive": True, "beta": -1}, ValueError, "beta: expected a number"),
    (Smeasure, {"alpha": 2}, ValueError, "alpha: expected a number in [0, 1], got 2"),
    (BERHandler, {"with_dynamic": 1, "with_adaptive": True}, TypeError, "with_dynamic: expected True or False, got 1"),
    (MSIoU, {"with_dynamic": True, "with_adaptive": 0}, TypeError, "with_adaptive: expected True or False, got 0"),
    (
        MSIoU,
        {"with_dynamic": True, "with_adaptive": True, "num_levels": 5},
        ValueError,
        "num_levels: expected 10, the cell sizes of the paper, got 5",
    ),
    (HumanCorrectionEffortMeasure, {"relax": -1}, ValueError, "relax: expected a whole number of at least 0, got -1"),
    (HumanCorrectionEffortMeasure, {"epsilon": -1}, ValueError, "epsilon: expected a number in [0, inf), got -1"),
    (
        FmeasureV2,
        {"metric_handlers": {"f": FmeasureHandler}},
        TypeError,
        "metric_handlers['f']: expected a handler such as FmeasureHandler(with_dynamic=True, with_adaptive=True), got",
    ),
]


def handlers():
    flags = {"with_dynamic": True, "with_adaptive": True, "with_binary": True}
    return {"f": FmeasureHandler(**flags), "ber": BERHandler(**flags, sample_based=False)}


def make_all():
    return [make() for make in CLASSES] + [FmeasureV2(handlers()), MSIoU(False, True)]


@pytest.mark.parametrize(("pred", "gt", "settings", "error", "message"), BAD_PAIRS)
def test_bad_pairs(pred, gt, settings, error, message):
    for measure in make_all():
        with pytest.raises(error, match=re.escape(message)):
            measure.step(pred, gt, **settings)
        with pytest.raises(ValueError, match=r"get_results: expected at least one pair, got none; call step"):
            measure.get_results()


@pytest.mark.parametrize(("make", "settings", "error", "message"), BAD_SETTINGS)
def test_bad_settings(make, settings, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make(**settings)


@pytest.mark.parametrize("make", [FmeasureV2, SizeInvarianceFmeasureV2])
@pytest.mark.parametrize("recorded", ["with_dynamic", "with_adaptive", "with_binary"])
@pytest.mark.parametrize("sample_based", [True, False])
def test_there_are_no_results_of_nothing(make, recorded, sample_based):
    flags = {"with_dynamic": False, "with_adaptive": False} | {recorded: True}
    measure = make({"f": FmeasureHandler(**flags, sample_based=sample_based)})
    with pytest.raises(ValueError, match=r"get_results: expected at least one pair, got none; call step"):
        measure.get_results()
    measure.step(PRED, GT)
    assert len(measure.get_results()["f"]) == 1


def test_photographs_are_checked():
    measure = CamouflageContextMeasure()
    for img, error, message in (
        (PRED, ValueError, "image: expected RGB of shape (6, 8, 3), as pred is (6, 8), got (6, 8)"),
        (np.dstack([X] * 3), TypeError, "image: expected uint8 (0 to 255), got float64; scale and round it"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            measure.step(PRED, GT, img=img)
    assert measure.scores == []


def test_handlers_are_needed_and_checked():
    measure = FmeasureV2()
    assert measure.get_results() == {}
    with pytest.raises(ValueError, match=r"step: expected at least one handler, got none; call add_handler\(name"):
        measure.step(PRED, GT)
    with pytest.raises(TypeError, match=re.escape("metric_handlers['f']: expected a handler such as FmeasureHandler(")):
        measure.add_handler("f", lambda tp, fp, tn, fn: tp)


def test_a_bool_map_is_0_and_255():
    for pred, error in ((np.ones((6, 8), bool), 1 - MASK.mean()), (np.zeros((6, 8), bool), MASK.mean()), (MASK, 0)):
        measure = MAE()
        measure.step(pred, GT)
        assert measure.get_results()["mae"] == pytest.approx(error, rel=0, abs=1e-12)


def test_importing_loads_no_framework():
    heavy = ("torch", "cv2", "matplotlib", "jax", "numba", "scipy.ndimage", "skimage", "sklearn")
    code = f"import sys, dynamic_kd.compat.py_sod_metrics; print(*[name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_the_module_and_its_names_can_be_imported_both_ways():
    assert py_sod_metrics.MAE is MAE
    assert Fmeasure.__module__.startswith("dynamic_kd.compat.py_sod_metrics")
