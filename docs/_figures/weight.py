"""The weight of the teacher over both networks' agreement with the truth."""

import matplotlib.pyplot as plt
import numpy as np

from dynamic_kd import dynamic_weight, eliminate_noise


def light():
    draw("#222832")


def dark():
    draw("#ced6dd")


def draw(ink):
    steps = np.linspace(0, 1, 401)
    alpha, beta = np.meshgrid(steps, steps)
    theta = eliminate_noise(dynamic_weight(alpha, beta), alpha)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    with plt.rc_context({"text.color": ink}):
        picture = axes.imshow(theta, origin="lower", extent=(0, 1, 0, 1), aspect="auto", cmap="viridis", vmin=0)
        bar = figure.colorbar(picture, label="weight of the teacher")
        axes.text(0.25, 0.5, "teacher ignored", ha="center", va="center", color="white")
    axes.set(xlabel="how right the teacher is (α)", ylabel="how wrong the student is (β)")
    for each in (axes, bar.ax):
        each.tick_params(colors=ink)
        each.xaxis.label.set_color(ink)
        each.yaxis.label.set_color(ink)
        for spine in each.spines.values():
            spine.set_visible(False)
    bar.outline.set_visible(False)
