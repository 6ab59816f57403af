"""Data sets on disk."""

import cv2
import numpy as np
import pytest

from dynamic_kd.data import synthetic_rgbd


@pytest.fixture
def write_set():
    """Write synthetic samples as a data set, under a layout and a polarity of one's choice."""

    def write(root, samples=None, *, names=("RGB", "depth", "GT"), suffixes=(".jpg", ".bmp", ".png"), near="bright"):
        samples = samples or synthetic_rgbd(4, size=48, seed=7, spoilt_share=0)
        for sample in samples:
            depth = sample.depth if near == "bright" else 1 - sample.depth
            pictures = (
                sample.image[..., ::-1],
                np.rint(255 * depth).astype(np.uint8),
                255 * sample.mask.astype(np.uint8),
            )
            for name, suffix, picture in zip(names, suffixes, pictures, strict=True):
                (root / name).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / name / f"{sample.name}{suffix}"), picture)
        return samples

    return write
