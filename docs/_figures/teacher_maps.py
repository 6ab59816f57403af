"""The picture of the README: one scene, and the teacher's map and weight with a good and with a bad depth map.

Run it from a clone with the networks of a finished run of the recipe ``cpu``::

    dynamic-kd train cpu --out runs/cpu
    python docs/_figures/teacher_maps.py runs/cpu
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from dynamic_kd import DynamicKDLoss
from dynamic_kd.data import synthetic_rgbd
from dynamic_kd.models import load_model, network_input

PICTURE = Path(__file__).parents[1] / "_static" / "teacher-maps.png"
SCENE = 656  # after the 600 scenes that the recipe trains and validates on


def predicted(network, sample):
    image = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
    depth = torch.from_numpy(sample.depth).float()[None, None]
    with torch.no_grad():
        return network(network_input(image, depth))


def scene(index, spoilt_share):
    return synthetic_rgbd(1, size=96, first=index, spoilt_share=spoilt_share)[0]


def judged(teacher, student, sample):
    """Return the teacher's map, its IoU α with the mask, and its weight θ."""
    logits = predicted(teacher, sample)
    mask = torch.from_numpy(sample.mask)[None, None]
    _, terms = DynamicKDLoss().with_terms(predicted(student, sample), logits, mask)
    return logits.sigmoid()[0, 0], terms.teacher_iou.item(), terms.weight.item()


def draw(run):
    teacher, student = (load_model(Path(run) / f"{name}-last.safetensors").eval() for name in ("teacher", "student"))
    figure = Figure(figsize=(5.2, 3.9), layout="constrained", facecolor="white")
    good, bad = scene(SCENE, 0.0), scene(SCENE, 1.0)
    rows = figure.subplots(2, 3)
    for row, shown, name, sample in ((rows[0], "image", "good", good), (rows[1], "mask", "bad", bad)):
        saliency, alpha, theta = judged(teacher, student, sample)
        titles = (shown, f"{name} depth", f"teacher's map\nα = {alpha:.2f}, θ = {theta:.2f}")
        first = getattr(sample, shown)
        for each, title, picture in zip(row, titles, (first, sample.depth, saliency), strict=True):
            each.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
            each.set_xlabel(title, fontsize=10)
            each.set(xticks=[], yticks=[])
            each.spines[:].set_visible(False)
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    draw(sys.argv[1])
