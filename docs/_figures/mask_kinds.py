"""Masks of every kind: how a viewer shows the file, the levels in it, and the option that it needs."""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {1: (128, 0, 0), 15: (192, 128, 128), 255: (224, 224, 192)}  # VOC's


def light():
    kinds("#222832")


def dark():
    kinds("#ced6dd")


def shapes(size=72):
    """Return a large disc, a small one, and the distance from the large one's edge."""
    rows, columns = np.indices((size, size))
    distance = np.hypot(rows - 32, columns - 27) - 19
    small = np.hypot(rows - 54, columns - 57) < 10
    return distance < 0, small, distance


def coloured(labels):
    """Return a label map in the colours of its palette."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    for label, colour in COLOURS.items():
        image[labels == label] = colour
    return image


def pictures():
    """Return title, image as a viewer shows it, levels, and what to say."""
    large, small, distance = shapes()
    labels = np.where(small, 15, np.where(large, 1, 0))
    void = np.abs(distance) < 2.5
    edges = np.clip(255 * (0.5 - distance / 3), 0, 255)
    board = np.where((np.indices(large.shape) // 6).sum(axis=0) % 2, 150, 205)
    return [
        ("binary", 255 * large, "0, 255", "no option"),
        ("any two levels", 120 * large, "0, 120", "no option"),
        ("grey edges", edges, "0, …, 255", "no option"),
        ("labels in a palette", coloured(labels), "0, 1, 15", "--salient 1"),
        ("void border", np.where(void, 255, 1 * large), "0, 1, 255", "--void 255"),
        ("void in a palette", coloured(np.where(void, 255, labels)), "0, 1, 15, 255", "--salient 1 --void 255"),
        ("three grey levels", np.where(void, 128, 255 * large), "0, 128, 255", "--void 128"),
        ("alpha channel", np.where(large, 0, board), "alpha: 0, 255", "--channel alpha"),
    ]


def kinds(ink):
    figure, axes = plt.subplots(2, 4, figsize=(7.4, 5.0), layout="constrained")
    figure.patch.set_alpha(0)
    figure.get_layout_engine().set(hspace=0.06)
    for cell, (title, image, levels, option) in zip(axes.flat, pictures(), strict=True):
        cell.imshow(image, cmap="gray", vmin=0, vmax=255)
        cell.set(xticks=[], yticks=[])
        for spine in cell.spines.values():
            spine.set_color(ink)
        cell.set_title(title, color=ink, fontsize=10)
        cell.set_xlabel(f"{levels}\n{option}", color=ink, fontsize=9)
