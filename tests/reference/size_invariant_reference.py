"""Size-invariant measures as their paper describes them: full-size masks, one object at a time."""

import numpy as np


def objects(g):
    """4-connected regions by flood fill, as full-size masks; those of 50 pixels or more, else the largest ones."""
    rest, found = {(int(r), int(c)) for r, c in zip(*np.nonzero(g), strict=True)}, []
    while rest:
        region, front = set(), [min(rest)]
        while front:
            row, column = front.pop()
            if (row, column) in rest:
                rest.discard((row, column))
                region.add((row, column))
                front += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        found.append(region)
    largest = max(map(len, found), default=0)
    return [region for region in found if len(region) >= min(50, largest)]


def boxes(g):
    masks = []
    for region in objects(g):
        rows, columns = zip(*region, strict=True)
        mask = np.zeros(g.shape, bool)
        mask[min(rows) : max(rows) + 1, min(columns) : max(columns) + 1] = True
        masks.append(mask)
    return masks


def parts(x, g):
    """Map and mask of each object, 0 outside of its box; the image itself if it has none."""
    return [(x * box, g & box) for box in boxes(g)] or [(x, g)]


def mean_absolute_error(x, g):
    errors = np.abs(x - g)
    masks = boxes(g)
    if not masks:
        return errors.mean()
    background = ~np.any(masks, axis=0)
    alpha = background.sum() / (~background).sum()
    outside = errors[background].mean() if background.any() else 0.0
    return (alpha * outside + sum(errors[mask].mean() for mask in masks)) / (len(masks) + alpha)
