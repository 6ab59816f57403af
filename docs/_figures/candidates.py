"""Max F of every candidate on ECSSD, with the clean teacher and with 30% of its maps swapped."""

import matplotlib.pyplot as plt
from ink import in_ink
from measured import experiment

STYLES = {0.0: ("#3a9bd9", "clean teacher"), 0.3: ("#d55e00", "30% of its maps swapped")}


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    results, _ = experiment("ecssd-candidates")
    methods = list(results["methods"])
    _, axes = plt.subplots(figsize=(7.6, 5.6), layout="constrained")
    for share, (colour, label) in STYLES.items():
        rows = {row["method"]: row["scores"]["maxF"] for row in results["rows"] if row["teacher.spoil_share"] == share}
        axes.errorbar(
            [rows[method]["mean"] for method in methods],
            range(len(methods)),
            xerr=[rows[method]["deviation"] for method in methods],
            fmt="o",
            markersize=5,
            linewidth=1.2,
            color=colour,
            label=label,
        )
    axes.set_yticks(range(len(methods)), labels=methods)
    axes.invert_yaxis()
    axes.set_xlabel("max F on 100 images, mean and standard deviation over seeds")
    axes.grid(axis="x", color=ink, alpha=0.15)
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), labelcolor=ink)
    in_ink(axes, ink)
