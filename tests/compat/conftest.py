"""PySODMetrics and its stand-in side by side: on which pairs, with which handlers, and how results are compared."""

import warnings

import numpy as np
import pytest

from dynamic_kd.compat import py_sod_metrics as ours

FLAGS = [
    {"with_dynamic": True, "with_adaptive": True, "with_binary": True},
    {"with_dynamic": True, "with_adaptive": True, "with_binary": True, "sample_based": False},
    {"with_dynamic": True, "with_adaptive": False},
    {"with_dynamic": False, "with_adaptive": True, "sample_based": False},
    {"with_dynamic": False, "with_adaptive": False, "with_binary": True},
]
ATTRIBUTES = (
    *("maes", "precisions", "recalls", "adaptive_fms", "changeable_fms", "weighted_fms", "sms", "adaptive_ems"),
    *("changeable_ems", "hces", "scores", "dynamic_results", "adaptive_results", "binary_results", "cell_sizes"),
    *("beta", "alpha", "beta2", "gamma", "lambda_spatial", "relax", "epsilon", "sample_based"),
)


def _blob(generator, height, width):
    rows, columns = np.indices((height, width))
    center = generator.uniform(0.2, 0.8, 2) * (height, width)
    target = np.hypot(rows - center[0], columns - center[1]) < generator.uniform(0.1, 0.4) * min(height, width) + 1
    noise = generator.normal(0, 60, (height, width))
    pred = np.clip(generator.integers(60, 255) * target + noise, 0, 255).astype(np.uint8)
    return pred, (target * 255).astype(np.uint8)


def _degenerate(generator):
    pred = generator.integers(0, 256, (17, 23), dtype=np.uint8)
    target = np.zeros((17, 23), np.uint8)
    target[3:9, 4:15] = 255
    corner = np.zeros_like(target)
    corner[-1, -1] = 255
    return {
        "empty": (pred, np.zeros_like(target)),
        "full": (pred, np.full_like(target, 255)),
        "black": (np.zeros_like(pred), target),
        "grey": (np.full_like(pred, 77), target),
        "white": (np.full_like(pred, 255), target),
        "both empty": (np.zeros_like(pred), np.zeros_like(target)),
        "both full": (np.full_like(pred, 255), np.full_like(target, 255)),
        "perfect": (target, target),
        "inverse": (255 - target, target),
        "corner": (pred, corner),
        "soft mask": (pred, generator.integers(0, 256, pred.shape, dtype=np.uint8)),
        "one row": (pred[:1], target[5:6]),
        "one column": (pred[:, :1], target[:, 6:7]),
        "two levels": (pred // 128 * 100 + 20, target),
        "two levels, 0 and 1": (pred // 128, target),
        "narrow range": (pred // 16 + 90, target),
    }


@pytest.fixture(scope="session")
def pairs():
    """8-bit maps and masks by name: noisy ones of several sizes, and degenerate ones."""
    generator = np.random.default_rng(3)
    noisy = {f"noisy {i}": _blob(generator, *generator.integers(12, 90, 2)) for i in range(8)}
    return noisy | _degenerate(generator)


@pytest.fixture(scope="session")
def s_differs():
    """Whether S is not PySODMetrics' on purpose: a centroid on a half, a quadrant without pixels, or with one value."""

    def differs(pred, gt):
        rows, columns = np.nonzero(gt > 128)
        if len(rows) in (0, gt.size):
            return False
        if any(abs(values.mean() % 1 - 0.5) < 1e-9 for values in (rows, columns)):
            return True
        row, column = int(np.floor(rows.mean() + 1.5)), int(np.floor(columns.mean() + 1.5))
        parts = (np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:])
        return any(pred[part].size == 0 or pred[part].min() == pred[part].max() for part in parts)

    return differs


@pytest.fixture(scope="session")
def assert_same():
    """Compare results leaf by leaf: keys and their order, lengths, shapes, dtypes, values (integers exactly)."""

    def compare(mine, theirs, atol=1e-9, where=""):
        if isinstance(theirs, dict):
            assert list(mine) == list(theirs), where
            for key in theirs:
                compare(mine[key], theirs[key], atol, f"{where}[{key!r}]")
        elif isinstance(theirs, list):
            assert isinstance(mine, list), where
            assert len(mine) == len(theirs), where
            for index, value in enumerate(theirs):
                compare(mine[index], value, atol, f"{where}[{index}]")
        elif theirs is None:
            assert mine is None, where
        else:
            assert np.shape(mine) == np.shape(theirs), where
            integers = np.asarray(mine).dtype.kind == "i"
            if not integers:
                assert np.asarray(mine).dtype == np.float64, where
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=0 if integers else atol, err_msg=where)

    return compare


def _quietly(function, *arguments, **settings):
    """Call PySODMetrics, which warns of itself, of NaN and of deprecated functions."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*arguments, **settings)


@pytest.fixture(scope="session")
def theirs():
    """PySODMetrics itself."""
    return pytest.importorskip(
        "py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers', which holds NumPy back"
    )


@pytest.fixture(scope="session")
def quietly():
    return _quietly


@pytest.fixture(scope="session")
def both(theirs):
    """Step one object of each library through the pairs."""

    def step(make, pairs, **settings):
        mine, peer = make(ours), _quietly(make, theirs)
        for pred, gt in pairs:
            mine.step(pred=pred, gt=gt, **settings)
            _quietly(peer.step, pred=pred, gt=gt, **settings)
        return mine, peer

    return step


@pytest.fixture(scope="session")
def kept():
    """Per-image results and settings, numbers as floats: some of PySODMetrics' zeros are Python integers."""

    def lists(measure):
        found = {name: getattr(measure, name) for name in ATTRIBUTES if hasattr(measure, name)}
        for name, values in found.items():
            if not isinstance(values, (list, dict)) and values is not None:
                found[name] = np.asarray(values, float)
        return found

    return lists


@pytest.fixture(params=FLAGS, ids=str)
def flags(request):
    """Options of a handler."""
    return request.param


@pytest.fixture(scope="session")
def handlers(theirs):
    """Make one handler of each kind; but kappa, which is another formula there."""

    def make(library, flags):
        names = [name for name in dir(theirs) if name.endswith("Handler") and name != "KappaHandler"]
        made = {name: getattr(library, name)(**flags) for name in names}
        return made | {"beta": library.FmeasureHandler(**flags, beta=2)}

    return make
