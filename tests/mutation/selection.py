"""A pytest plugin: which tests run, in which order, and what came of them."""

from __future__ import annotations

import hypothesis
import pytest


class Selection:
    """Run only the tests with these names, in their order (all of them by default), and note how each ended.

    Tests that are not among the known ones run, too, after the others: parametrised by the mutated code itself, they
    stand in the place of some that are gone.
    """

    def __init__(self, names: list[str] | None = None, known: frozenset[str] = frozenset()) -> None:
        self.order = None if names is None else {name: place for place, name in enumerate(names)}
        self.known = known
        self.collected: set[str] = set()
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.skipped: set[str] = set()

    def pytest_sessionstart(self) -> None:
        """Few examples, the same in every run, and none made smaller: that one fails is all there is to know."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutation", deadline=None, derandomize=True, database=None, max_examples=25, phases=phases
        )
        hypothesis.settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep and sort the selected tests."""
        self.collected = {item.nodeid for item in items}
        if self.order is not None:
            order = self.order
            chosen = [item for item in items if item.nodeid in order or item.nodeid not in self.known]
            items[:] = sorted(chosen, key=lambda item: order.get(item.nodeid, len(order)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note modules that cannot be imported."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note time, failures and skips."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)
        if report.skipped:
            self.skipped.add(report.nodeid)
