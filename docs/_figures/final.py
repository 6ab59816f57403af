"""Max F and weighted F on ECSSD over the share of swapped maps, gradients clipped; bands: one deviation over seeds."""

import matplotlib.pyplot as plt
from ink import in_ink, over
from measured import experiment

STYLES = {
    "cross-entropy": ("#7f8b96", ":"),
    "s = 0.3": ("#e69f00", "-"),
    "s = 0.5": ("#d55e00", "-"),
    "dynamic + threshold": ("#3a9bd9", "-"),
    "s = 0.5 + threshold": ("#009e73", "--"),
    "relative": ("#cc79a7", "-"),
}
SCORES = {"maxF": "max F on 100 images", "wF": "weighted F"}


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    results, _ = experiment("ecssd-final")
    figure, both = plt.subplots(1, 2, figsize=(7.6, 3.9), layout="constrained")
    for axes, (score, label) in zip(both, SCORES.items(), strict=True):
        shares = over(axes, results, "teacher.spoil_share", score, STYLES)
        axes.set(xlabel="share of swapped maps", ylabel=label, xticks=shares)
        in_ink(axes, ink)
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", frameon=False, ncols=3, labelcolor=ink)
