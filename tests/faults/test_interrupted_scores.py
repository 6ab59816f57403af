"""An interrupt at any moment of an update or a merge: scores without it or with it, or an error, never others."""

import sys

import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics

SETTINGS = [
    {},
    {"duplicates": "once", "empty_target": "skip", "metrics": ("MAE", "IoU", "SI-MAE")},
]
INTERRUPTED = (
    "expected the last update or merge to have ended, got an interrupted one, of which a part may be kept; reset"
)


def batch(seed):
    generator = np.random.default_rng(seed)
    target = generator.random((3, 6, 7)) > 0.5
    target[0] = seed % 2 == 0
    return generator.integers(0, 256, (3, 6, 7), dtype=np.uint8), target, [f"{seed}{letter}" for letter in "abc"]


def seen(*seeds, **settings):
    metrics = SODMetrics(**settings)
    for seed in seeds:
        metrics.update(*batch(seed))
    return metrics


def interrupted(action, line):
    """Press Ctrl-C before a line of the package's metrics is run; tell whether there were that many."""
    passed = 0

    def trace(frame, event, argument):
        nonlocal passed
        if "dynamic_kd" not in frame.f_code.co_filename:
            return None
        if event == "line":
            passed += 1
            if passed == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("operation", ["update", "merge", "compute"])
def test_scores_are_never_of_a_part(settings, operation):
    other = seen(2, **settings)
    without, with_it = seen(1, **settings).compute(), seen(1, 2, **settings).compute()
    line, outcomes = 1, set()
    while True:
        metrics = seen(1, **settings)
        action = {
            "update": lambda: metrics.update(*batch(2)),  # noqa: B023
            "merge": lambda: metrics.merge(other),  # noqa: B023
            "compute": metrics.compute,
        }[operation]
        if not interrupted(action, line):
            break
        line += 1 if operation == "merge" else 7
        try:
            report = metrics.compute()
        except ValueError as error:
            said = str(error)
            assert said.startswith(INTERRUPTED)
            outcomes.add("refused")
            metrics.reset()
            metrics.update(*batch(1))
            assert metrics.compute().as_dict() == without.as_dict()
            continue
        whole = with_it if len(report.names) == len(with_it.names) else without
        outcomes.add("with" if whole is with_it else "without")
        assert report.as_dict() == whole.as_dict()
        assert report.counts == whole.counts
        assert report.names == whole.names
    assert line > 10
    assert "without" in outcomes
    assert operation == "compute" or "refused" in outcomes


def test_a_state_saved_before_an_interrupt_is_where_to_go_on():
    metrics = seen(1)
    state = metrics.state_dict()
    line = 1
    while interrupted(lambda: metrics.merge(seen(2)), line):  # noqa: B023
        line += 1
        try:
            metrics.compute()
        except ValueError:
            break
        metrics = seen(1)
    for use in (metrics.compute, metrics.state_dict, lambda: len(metrics), lambda: metrics.update(*batch(3))):
        with pytest.raises(ValueError, match=INTERRUPTED):
            use()
    metrics.load_state_dict(state)
    assert metrics.compute().as_dict() == seen(1).compute().as_dict()
