"""Random masks of smooth blobs, which may touch the borders, and maps of them that err here and there."""

import numpy as np
from scipy.ndimage import gaussian_filter


def blob_pair(generator, height, width):
    """An 8-bit map and a mask; some masks are plain noise."""
    field = gaussian_filter(generator.standard_normal((height, width)), generator.uniform(0.3, 6))
    noise = gaussian_filter(generator.standard_normal((height, width)), generator.uniform(0.3, 4))
    signal = 2 * field / max(np.ptp(field), 1e-9) + noise
    pred = np.clip(128 + generator.uniform(20, 200) * signal, 0, 255).astype(np.uint8)
    if generator.random() < 0.15:
        return pred, generator.random((height, width)) < 0.5
    return pred, field >= np.quantile(field, generator.random())


def degenerate_pairs():
    """Empty, full, constant, tiny and border-hugging pairs by name."""
    ramp = np.arange(120, dtype=np.uint8).reshape(10, 12)
    none, full = np.zeros((10, 12), bool), np.ones((10, 12), bool)
    corner, frame = none.copy(), full.copy()
    corner[6:, 8:] = True
    frame[1:-1, 1:-1] = False
    yield "empty target", ramp, none
    yield "full target", ramp, full
    yield "both empty", np.zeros_like(ramp), none
    yield "both full", np.full_like(ramp, 255), full
    yield "constant", np.full_like(ramp, 99), corner
    yield "corner", ramp * 2, corner
    yield "frame", (frame * 255).astype(np.uint8), frame
    yield "inverted", (~frame * 255).astype(np.uint8), frame
    yield "one bright pixel", np.full((1, 1), 255, np.uint8), np.ones((1, 1), bool)
    yield "one dark pixel", np.zeros((1, 1), np.uint8), np.ones((1, 1), bool)
    yield "row", ramp[:1], corner[-1:]
    yield "column", ramp[:, :1], corner[:, -1:]
    yield "two rows", ramp[:2], frame[:2]
