"""Folders of maps and masks on disk."""

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def folders(tmp_path):
    """Five pairs: a png, a jpg and a bmp among the maps, masks as png; returns (pred, target)."""
    pred, target = tmp_path / "pred", tmp_path / "target"
    pred.mkdir()
    target.mkdir()
    generator = np.random.default_rng(0)
    for index, suffix in enumerate((".png", ".jpg", ".bmp", ".PNG", ".webp")):
        mask = np.zeros((30, 40), np.uint8)
        mask[5 + index : 20, 8:30] = 255
        noisy = np.clip(mask * 0.8 + generator.normal(20, 15, mask.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(pred / f"{index}{suffix}"), noisy)
        cv2.imwrite(str(target / f"{index}.png"), mask)
    return pred, target
