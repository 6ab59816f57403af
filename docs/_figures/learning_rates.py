"""Max F of every run of Table 3 on ECSSD, over method and learning rate; runs that were lost are crosses below."""

import matplotlib.pyplot as plt
from ink import in_ink
from measured import experiment

COLOURS = {0.001: "#3a9bd9", 0.005: "#d55e00", 0.01: "#009e73"}
LOWEST = 0.78  # the scores of runs that diverged late lie far below


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    results, runs = experiment("ecssd-weights")
    scores = {run["run"]: run["report"]["maxF"] for run in runs}
    methods, seeds = list(results["methods"]), len(results["seeds"])
    _, axes = plt.subplots(figsize=(7.6, 3.6), layout="constrained")
    for number, (rate, colour) in enumerate(COLOURS.items()):
        axes.scatter([], [], s=22, color=colour, label=f"learning rate {rate:g}")
        for position, method in enumerate(methods):
            names = [
                name
                for row in results["grid"]
                if row["method"] == method and row["chosen"]["training.learning_rate"] == rate
                for name in row["runs"].values()
            ]
            cell(axes, position + 0.24 * (number - 1), [scores[name] for name in names], seeds, colour)
    axes.axhline(LOWEST, color=ink, linewidth=0.5)
    axes.set_xticks(range(len(methods)), labels=[method.replace(" + ", "\n+ ") for method in methods])
    axes.set(ylabel="max F on 100 images", ylim=(LOWEST - 0.009, None))
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.13), labelcolor=ink)
    in_ink(axes, ink)


def cell(axes, place, values, seeds, colour):
    """Draw a dot for each seed, their mean where all have one, and a cross for each that was lost."""
    kept = [value for value in values if value > LOWEST]
    lost = seeds - len(kept)
    axes.scatter([place] * len(kept), kept, s=22, color=colour, alpha=0.8)
    axes.scatter([place + 0.06 * each for each in range(lost)], [LOWEST - 0.004] * lost, s=22, marker="x", color=colour)
    if not lost:
        axes.hlines(sum(kept) / seeds, place - 0.1, place + 0.1, color=colour, linewidth=2)
