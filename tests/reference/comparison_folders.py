"""Small folders of masks and of maps of made-up methods, laid out by method and data set."""

import cv2
import numpy as np

NOISE = {"good": 12, "fair": 40, "poor": 90}


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_layout(root, *, datasets=("DES", "SIP"), methods=("good", "fair", "poor"), images=4, size=(20, 28), seed=0):
    """Write root/GT/DATASET and root/METHOD/DATASET; better methods carry less noise."""
    generator = np.random.default_rng(seed)
    for dataset in datasets:
        for index in range(images):
            mask = np.zeros(size, np.uint8)
            top, left = generator.integers(2, 8, 2)
            mask[top : top + 10, left : left + 14] = 255
            write_image(root / "GT" / dataset / f"{index:03}.png", mask)
            for method in methods:
                noisy = 0.7 * mask + 40 + generator.normal(0, NOISE.get(method, 30), size)
                write_image(root / method / dataset / f"{index:03}.png", np.clip(noisy, 0, 255).astype(np.uint8))
    return root
