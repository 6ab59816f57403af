"""Make the data sets of the experiment on real depth, `benchmarks/experiments/plans/nlpr-depth.toml`.

    python benchmarks/real_depth.py NLPR256 REAL --out real-depth

NLPR256 has the folders RGB, depth (near = dark), pred_ISNet and pred_AMINet_test, and the lists train700.txt and
test300.txt. It has no ground truth: the masks written here are predictions, ISNet's for all images, and AMINet's for
the test images once more. REAL has data sets with real ground truth: folders RGB, depth and GT, at any level. Depth is
near = dark there, except in the sets that --near-bright names. Everything that is written has near = bright.

Written are train, train-spoilt (30% of the depth maps spoilt in the paper's three ways, listed in spoilt.csv),
test-isnet, test-aminet and real.
"""

import argparse
import csv
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from dynamic_kd.data import read_depth, read_gray


def dominated(rng, depth, mask, other):
    """Return the depth with another object in front of everything, where the salient one is not."""
    result = 0.75 * depth
    inside = other & ~mask
    result[inside] = 0.9 + 0.1 * depth[inside]
    return result


def low_contrast(rng, depth, mask, other):
    """Return the depth with the salient object faded into a smooth background, and noise."""
    sigma = len(depth) / 12
    weight = gaussian_filter((~mask).astype(float), sigma) + 1e-6
    background = np.where(mask, gaussian_filter(np.where(mask, 0, depth), sigma) / weight, depth)
    faded = background + rng.uniform(0, 0.15) * (depth - background)
    return faded + 0.05 * smooth_noise(rng, depth.shape, 10) + 0.04 * rng.standard_normal(depth.shape)


def distorted(rng, depth, mask, other):
    """Return the depth shifted by 10 to 20% of its size, bent, and with holes."""
    size = len(depth)
    way, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.2)
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(float)
    y += size * (shift * np.sin(way) + 0.04 * smooth_noise(rng, depth.shape, 3))
    x += size * (shift * np.cos(way) + 0.04 * smooth_noise(rng, depth.shape, 3))
    warped = map_coordinates(depth, [y, x], order=1, mode="nearest")
    warped[smooth_noise(rng, depth.shape, 6) > 1] = 0
    return warped


KINDS = {"dominated": dominated, "low_contrast": low_contrast, "distorted": distorted}


def smooth_noise(rng, shape, bumps):
    """Return noise of mean 0 and variance 1 with about ``bumps`` bumps across."""
    field = gaussian_filter(rng.standard_normal(shape), shape[0] / bumps / 2)
    return (field - field.mean()) / field.std()


def nearness(path, near):
    """Return depth in [0, 1] that is large where things are near."""
    depth = read_depth(path)
    return 1 - depth if near == "dark" else depth


def salient(path):
    """Return where a map is above half of its type's range, or a 1-bit mask is set."""
    levels = read_gray(path)
    return levels > 127 if levels.max() > 1 else levels > 0


def write(folder, name, image, depth, mask):
    """Write a sample: the image's file as it is, depth in [0, 1], mask as booleans."""
    for part in ("RGB", "depth", "GT"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, folder / "RGB" / f"{name}{image.suffix}")
    cv2.imwrite(str(folder / "depth" / f"{name}.png"), np.round(255 * np.clip(depth, 0, 1)).astype(np.uint8))
    cv2.imwrite(str(folder / "GT" / f"{name}.png"), 255 * mask.astype(np.uint8))


def nlpr(source, out, share, seed):
    """Write the training sets and the test sets."""
    train, test = (Path(source / f"{part}.txt").read_text().split() for part in ("train700", "test300"))
    depths = {name: nearness(source / "depth" / f"{name}.png", "dark") for name in (*train, *test)}
    masks = {name: salient(source / "pred_ISNet" / f"{name}.png") for name in (*train, *test)}
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(train))[: round(share * len(train))]
    kinds = {train[number]: list(KINDS)[place % len(KINDS)] for place, number in enumerate(chosen)}
    for name in train:
        image = source / "RGB" / f"{name}.jpg"
        write(out / "train", name, image, depths[name], masks[name])
        write(out / "train-spoilt", name, image, depths[name], masks[name])
    for name, kind in kinds.items():
        other = masks[train[rng.integers(len(train))]]
        spoilt = KINDS[kind](rng, depths[name].astype(float), masks[name], other)
        write(out / "train-spoilt", name, source / "RGB" / f"{name}.jpg", spoilt, masks[name])
    for name in test:
        image = source / "RGB" / f"{name}.jpg"
        write(out / "test-isnet", name, image, depths[name], masks[name])
        aminet = salient(source / "pred_AMINet_test" / f"{name}.png")
        write(out / "test-aminet", name, image, depths[name], aminet)
    with (out / "spoilt.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sample", "kind"), *sorted(kinds.items())])


def real(sources, out, near_bright):
    """Write the samples with real ground truth into one set; their names begin with their folder's."""
    for ground_truth in sorted(path for source in sources for path in source.rglob("GT")):
        place = ground_truth.parent
        near = "bright" if place.name in near_bright else "dark"
        for mask in sorted(ground_truth.iterdir()):
            [image], [depth] = ([*(place / part).glob(f"{mask.stem}.*")] for part in ("RGB", "depth"))
            write(out / "real", f"{place.name}-{mask.stem}", image, nearness(depth, near), salient(mask))


def main(argv=None):
    """Write the data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nlpr", type=Path, metavar="NLPR256")
    parser.add_argument("real", type=Path, nargs="+", metavar="REAL")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--near-bright", nargs="+", default=["njud-mini", "CROSS"], metavar="NAME")
    parser.add_argument("--share", type=float, default=0.3, help="of spoilt training depth (default: 0.3)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    nlpr(arguments.nlpr, arguments.out, arguments.share, arguments.seed)
    real(arguments.real, arguments.out, arguments.near_bright)
    return 0


if __name__ == "__main__":
    sys.exit(main())
