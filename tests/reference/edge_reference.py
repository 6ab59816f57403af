"""Multi-scale IoU and human correction effort, pixel by pixel, as their authors' code computes them."""

import math
from itertools import pairwise

import numpy as np

STEPS = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
CROSS = [(0, 0), (-1, 0), (0, 1), (1, 0), (0, -1)]


def pixels(image):
    """Rows and columns where an image is set."""
    return {(r, c) for r in range(image.shape[0]) for c in range(image.shape[1]) if image[r, c]}


def edge_pixels(cut):
    """Where the Sobel derivatives of a binary map, with zeros outside, are not both 0."""
    height, width = cut.shape
    inside = pixels(cut)
    found = set()
    for r in range(height):
        for c in range(width):
            down = sum((2 - abs(s)) * (((r + 1, c + s) in inside) - ((r - 1, c + s) in inside)) for s in (-1, 0, 1))
            right = sum((2 - abs(s)) * (((r + s, c + 1) in inside) - ((r + s, c - 1) in inside)) for s in (-1, 0, 1))
            if math.hypot(down, right) > 0:
                found.add((r, c))
    return found


def multi_scale_iou(cut, target):
    """Multi-scale IoU of a map already cut; cells are counted from the bottom right, since padding is on the other."""
    height, width = cut.shape
    ratios = []
    for size in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        ours, theirs = (
            {((height - 1 - r) // size, (width - 1 - c) // size) for r, c in edge_pixels(image)}
            for image in (cut, target)
        )
        ratios.append((len(ours & theirs) + 1) / (len(theirs) + 1))
    return sum((left + right) / 2 / 9 for left, right in pairwise(ratios))


# Neighbourhoods (clockwise from the top left) that scikit-image treats otherwise than the paper, by when they go.
OTHERWISE = {
    (1, 2): "01010000 00010100 01000001 00000101",
    (1,): "11000000 01100000 11010000 00110000 01110000 11000001 01100001 10000101 01000011 01100011",
    (2,): "00011000 01011000 00011100 00000110 00010110 00110110 00001101 00000011 00000111",
    (): "00001100 10000001",
}
RULES = {tuple(map(int, ring)): passes for passes, rings in OTHERWISE.items() for ring in rings.split()}


def passes_that_remove(ring):
    """In which of its two passes Zhang and Suen's algorithm (1984) removes a pixel with these neighbours."""
    if ring in RULES:
        return RULES[ring]
    turns = sum(not before and after for before, after in zip(ring, ring[1:] + ring[:1], strict=True))
    if not 2 <= sum(ring) <= 6 or turns != 1:
        return ()
    up, right, down, left = ring[1::2]
    first = up * right * down == 0 and right * down * left == 0
    second = up * right * left == 0 and up * down * left == 0
    return (1,) * first + (2,) * second


def skeleton(inside):
    """Remove pixels in passes over the whole image until none goes."""
    before = None
    while before != inside:
        before = inside
        for number in (1, 2):
            inside = {
                (r, c)
                for r, c in inside
                if number not in passes_that_remove(tuple(int((r + i, c + j) in inside) for i, j in STEPS))
            }
    return inside


def around(points):
    """The points and their four neighbours."""
    return {(r + i, c + j) for r, c in points for i, j in CROSS}


def human_correction_effort(cut, mask, relax=5, epsilon=2.0):
    """Human correction effort of a map already cut."""
    everything = pixels(np.ones_like(mask))
    predicted, salient = pixels(cut), pixels(mask)
    hit, union = predicted & salient, predicted | salient
    for _ in range(relax):
        union -= around(everything - union)
    regions = []
    for errors, barrier in ((predicted - hit, salient), (salient - hit, predicted)):
        grown = errors & union
        for _ in range(relax):
            grown = (around(grown) & everything) - barrier
        regions.append(grown & errors)
    extra, missing = regions
    missing |= skeleton(salient) - hit
    correct = everything - (hit | extra | missing)
    return sum(
        clicks(mask.shape, errors, around(beside), epsilon)
        for errors, beside in ((extra, hit | missing), (missing, correct))
    )


def clicks(shape, errors, beside, epsilon):
    """Control points of the contours beside correct pixels, and one click for each region that has none."""
    import cv2  # contours and their simplification are OpenCV's by definition

    image = np.zeros(shape, np.uint8)
    for r, c in errors:
        image[r, c] = 1
    seen, count = set(), 0
    for contour in cv2.findContours(image, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)[0]:
        runs = [[]]
        for c, r in contour[:, 0].tolist():
            if (r, c) in beside and (r, c) not in seen:
                seen.add((r, c))
                runs[-1].append((c, r))
            elif runs[-1]:
                runs.append([])
        runs = [run for run in runs if run]
        if len(runs) > 1 and max(abs(a - b) for a, b in zip(runs[0][0], runs[-1][-1], strict=True)) == 1:
            runs = [*runs[1:-1], runs[-1] + runs[0][::-1]]
        count += sum(len(cv2.approxPolyDP(np.array(run, np.int32)[:, None], epsilon, False)) for run in runs)
    return count + sum(not region & seen for region in connected(errors))


def connected(points):
    """Regions of points that touch at sides or corners."""
    left = set(points)
    while left:
        region, pending = set(), [left.pop()]
        while pending:
            r, c = pending.pop()
            region.add((r, c))
            near = {(r + i, c + j) for i, j in STEPS} & left
            left -= near
            pending += near
        yield region
