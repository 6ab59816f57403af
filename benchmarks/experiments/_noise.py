"""How well α found the spoilt samples of an experiment's runs, where it is known which they are."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiments._experiment import described
from dynamic_kd._extras import require
from dynamic_kd._figures import COLOURS, DASHES
from dynamic_kd._tables import rounded
from dynamic_kd.training._insight import NOISE, noise_limit
from dynamic_kd.training._noise_sources import read_noise_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmarks.experiments._results import Results
    from dynamic_kd.training._recipe import Recipe

Facts = Mapping[str, Any]

# Of a characteristic, the share of spoilt samples is kept at these shares of the clean ones.
CLEAN_SHARES = np.linspace(0, 1, 21)
NO_POINT = "-"  # of a grid with nothing in it but what is tuned
_PANELS_IN_A_ROW = 4


def noise_facts(place: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what a run folder's report says of its spoilt samples; nothing where nobody knows which they are."""
    if not (place / NOISE).is_file():
        return {}
    report = read_noise_report(place / NOISE, noise_limit(recipe).threshold)
    facts = report.summary()
    if 0 < facts.get("spoilt", 0) < facts["samples"]:
        facts["roc"] = [round(float(share), 4) for share in np.interp(CLEAN_SHARES, *report.roc())]
    return facts


def noise_lines(results: Results) -> list[list[str]]:
    """Return a table of what flags and α found, in the mean over seeds; a header alone where nobody knows the truth."""
    groups = _groups(results, "spoilt", "precision", "recall", "auc")
    kinds = sorted({kind for facts in groups.values() for each in facts for kind in _kinds(each)})
    kinds = kinds if len(kinds) > 1 else []
    named = [f"AUC, {kind.replace('_', ' ')}" for kind in kinds]
    lines = [["at", "methods", "spoilt", "precision", "recall", "AUC", *named]]
    for (at, methods), facts in groups.items():
        shares = [each["spoilt"] / each["samples"] for each in facts]
        columns = [[each[key] for each in facts] for key in ("precision", "recall", "auc")]
        columns += [[_kinds(each).get(kind, {}).get("auc") for each in facts] for kind in kinds]
        lines.append([at, methods, *map(_mean, [shares, *columns])])
    return lines


def roc_sheet(results: Results) -> Figure | None:
    """Draw what share of the spoilt samples has so low an α as a share of the clean ones, a panel for each point.

    Returns
    -------
    matplotlib.figure.Figure or None
        Receiver operating characteristics, the mean over seeds; None where it is not known what is spoilt.
    """
    every = _groups(results, "auc")
    groups = {group: facts for group, facts in every.items() if all("roc" in each for each in facts)}
    points = list(dict.fromkeys(at for at, _ in groups))
    if not points:
        return None
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    across = min(len(points), _PANELS_IN_A_ROW)
    down = math.ceil(len(points) / across)
    most = max(sum(at == point for at, _ in groups) for point in points)
    figure = Figure(figsize=(3.3 * across + 0.3, (3.9 + 0.36 * most) * down), layout="constrained", dpi=130)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, point in zip(panels, points, strict=False):
        _panel(panel, point, {methods: facts for (at, methods), facts in groups.items() if at == point})
    for panel in panels[len(points) :]:
        panel.set_axis_off()
    figure.supylabel("share of the spoilt samples with so low an α", fontsize=9)
    return figure


def _panel(axes: Any, point: str, groups: Mapping[str, Sequence[Facts]]) -> None:
    for index, (methods, facts) in enumerate(groups.items()):
        share = np.mean([each["roc"] for each in facts], axis=0)
        area = _mean([each["auc"] for each in facts])
        label = textwrap.fill(f"{area}  {methods}".replace("$", r"\$"), 44)
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}
        axes.plot(CLEAN_SHARES, share, label=label, linewidth=1.4, **style)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set_title("" if point == NO_POINT else point, fontsize=10)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", anchor="N")
    axes.set_xlabel("share of the clean samples", fontsize=9)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        fontsize=7,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0, -0.16),
        title="area under the curve",
        title_fontsize=7,
        alignment="left",
    )


def _groups(results: Results, *alike: str) -> dict[tuple[str, str], list[Facts]]:
    """Return the facts of runs that know of spoilt samples, by point and methods: those alike in these are one."""
    methods: dict[tuple[str, ...], list[str]] = {}
    facts: dict[tuple[str, ...], list[Facts]] = {}
    for row in results.rows:
        every = [results.runs[name].facts.get("noise", {}) for name in row.runs.values()]
        own = [each for each in every if "auc" in each]
        if own:
            at = described(row.point, results.experiment.axes) or NO_POINT
            found = (at, *(_mean([each[key] for each in own]) for key in alike))
            methods.setdefault(found, []).append(row.method)
            facts.setdefault(found, own)
    return {(found[0], ", ".join(names)): facts[found] for found, names in methods.items()}


def _kinds(facts: Facts) -> Facts:
    kinds: Facts = facts.get("kinds", {})  # results of early versions do not part them
    return kinds


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return rounded(sum(known) / len(known)) if known else "-"
