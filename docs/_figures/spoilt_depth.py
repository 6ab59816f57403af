"""Spoilt depth on the synthetic set: max F over its share, and how well α finds it."""

import matplotlib.pyplot as plt
import numpy as np
from ink import in_ink, over
from measured import experiment

STYLES = {
    "cross-entropy": ("#7f8b96", ":"),
    "s = 0.5": ("#d55e00", "-"),
    "dynamic": ("#3a9bd9", "--"),
    "dynamic + threshold": ("#3a9bd9", "-"),
    "s = 0.5 + relative": ("#cc79a7", "-"),
    "clean teacher, s = 0.5": ("#009e73", ":"),
    "clean teacher, s = 0.5 + relative": ("#009e73", "--"),
    "clean teacher, dynamic + threshold": ("#009e73", "-"),
    "other clean teacher, dynamic + threshold": ("#e69f00", "-"),
}
TAUGHT = {
    "dynamic + threshold": "teacher that learnt\nfrom these images and depths",
    "other clean teacher, dynamic + threshold": "teacher that learnt from\nother images, with clean depth",
}
SHADES = ("#f0c27a", "#e69f00", "#d55e00", "#8a2f00")
KINDS = {"dominated": "#3a9bd9", "low_contrast": "#cc79a7", "distorted": "#009e73"}
AXIS = "data.spoilt_share"


def light():
    scores("#222832")


def dark():
    scores("#ced6dd")


def found_light():
    found("#222832")


def found_dark():
    found("#ced6dd")


def scores(ink):
    """Max F and weighted F of each method over the share of spoilt maps."""
    results, _ = experiment("synthetic-noise")
    figure, both = plt.subplots(1, 2, figsize=(7.6, 4.1), layout="constrained")
    for axes, (score, label) in zip(both, {"maxF": "max F on 200 images", "wF": "weighted F"}.items(), strict=True):
        shares = over(axes, results, AXIS, score, STYLES)
        axes.set(xlabel="share of training depth maps that are spoilt", ylabel=label, xticks=shares)
        in_ink(axes, ink)
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", frameon=False, ncols=2, labelcolor=ink)


def found(ink):
    """The ROC of a low α for two teachers, and the area under it for each kind of spoilt map."""
    results, runs = experiment("synthetic-noise")
    noise = {run["run"]: run.get("noise", {}) for run in runs}
    _, (*rocs, areas) = plt.subplots(1, 3, figsize=(7.6, 3.2), layout="constrained")
    for axes, (method, title) in zip(rocs, TAUGHT.items(), strict=True):
        rows = [row for row in results["rows"] if row["method"] == method and row[AXIS]]
        for row, colour in zip(rows, SHADES, strict=True):
            known = [noise[run] for run in row["runs"].values()]
            share = np.mean([each["roc"] for each in known], axis=0)
            label = f"{row[AXIS]:.0%}: {np.mean([each['auc'] for each in known]):.3f}".replace("0.", ".")
            axes.plot(np.linspace(0, 1, len(share)), share, color=colour, label=label)
        axes.set(xlabel="share of clean samples", xlim=(0, 1), ylim=(0, 1.01))
        axes.set_title(title, fontsize=9, color=ink)
        legend = axes.legend(loc="lower right", frameon=False, fontsize=8, labelcolor=ink, title="spoilt: area")
        legend.get_title().set(color=ink, fontsize=8)
    rocs[0].set_ylabel("share of spoilt samples")
    rows = [row for row in results["rows"] if row["method"] == next(iter(TAUGHT)) and row[AXIS]]
    for kind, colour in KINDS.items():
        means = [np.mean([noise[run]["kinds"][kind]["auc"] for run in row["runs"].values()]) for row in rows]
        areas.plot([row[AXIS] for row in rows], means, color=colour, marker="o", ms=4, label=kind.replace("_", " "))
    areas.set(
        xlabel="spoilt share", ylabel="area under the curve", xticks=[row[AXIS] for row in rows], ylim=(0.5, 1.01)
    )
    areas.set_title("by kind, same teacher\nas on the left", fontsize=9, color=ink)
    areas.legend(frameon=False, fontsize=8, labelcolor=ink)
    for axes in (*rocs, areas):
        axes.set_box_aspect(1)
        in_ink(axes, ink)
