"""Max F on ECSSD over the share of wrong maps, and at 30% of other kinds; bands are one deviation over seeds."""

import matplotlib.pyplot as plt
from ink import in_ink
from measured import experiment

STYLES = {
    "cross-entropy": ("#7f8b96", ":"),
    "s = 0.3": ("#e69f00", "-"),
    "s = 0.5": ("#d55e00", "-"),
    "s = 0.7": ("#a03c00", "-"),
    "A2dele": ("#7f8b96", "--"),
    "dynamic": ("#3a9bd9", "--"),
    "dynamic + threshold": ("#3a9bd9", "-"),
    "s = 0.5 + threshold": ("#009e73", "-"),
    "s = 0.5 + probability shift": ("#cc79a7", "-"),
}


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    results, _ = experiment("ecssd-unreliable")
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.6, 4.4), sharey=True, layout="constrained", width_ratios=(3, 2)
    )
    kinds = list(dict.fromkeys(row["teacher.spoil"] for row in results["rows"] if row["teacher.spoil"] != "swapped"))
    for number, (method, (colour, line)) in enumerate(STYLES.items()):
        rows = [row for row in results["rows"] if row["method"] == method]
        along = [row for row in rows if row["teacher.spoil"] == "swapped"]
        shares, scores = [row["teacher.spoil_share"] for row in along], [row["scores"]["maxF"] for row in along]
        means = [score["mean"] for score in scores]
        style = {"color": colour, "marker": "o", "markersize": 4, "markerfacecolor": colour if line == "-" else "none"}
        left.plot(shares, means, linestyle=line, label=method, **style)
        low, high = ([score["mean"] + side * score["deviation"] for score in scores] for side in (-1, 1))
        left.fill_between(shares, low, high, color=colour, alpha=0.13, linewidth=0)
        for row in rows:
            if row["teacher.spoil"] != "swapped":
                place, score = kinds.index(row["teacher.spoil"]) + 0.08 * (number - 4), row["scores"]["maxF"]
                right.errorbar(place, score["mean"], score["deviation"], **style)
    left.set(xlabel="share of swapped maps", ylabel="max F on 100 images", xticks=(0, 0.1, 0.3, 0.6))
    right.set(xlabel="30% of the maps", xticks=range(len(kinds)))
    right.set_xticklabels([kind.replace("_", " ") for kind in kinds])
    figure.legend(loc="outside upper center", frameon=False, ncols=3, labelcolor=ink)
    for axes in (left, right):
        in_ink(axes, ink)
