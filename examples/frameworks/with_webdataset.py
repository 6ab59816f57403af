"""
WebDataset
==========

Shards hold an image, its mask and the teacher's saliency map, saved once. With ``teacher="probabilities"`` the loss
takes such maps as they are. Validation images keep their own sizes.
"""

import numpy as np
import torch
import webdataset as wds
from torch import nn

from dynamic_kd.metrics import SODMetrics
from dynamic_kd.torch import DynamicKDLoss

# %%
# A stand-in for your shards: noisy squares, and a teacher that is right but not sure.

generator = np.random.default_rng(0)
with wds.TarWriter("train.tar") as train, wds.TarWriter("validation.tar") as validation:
    for number in range(32):
        shard, size = (train, 32) if number < 16 else (validation, 32 + number)
        mask = np.zeros((size, size), np.uint8)
        mask[8:24, 8:24] = 255
        image = mask[..., None] // 2 + generator.integers(0, 128, (size, size, 3), np.uint8)
        files = {"image.png": image, "mask.png": mask, "teacher.png": mask // 4 * 3 + 32}
        shard.write({"__key__": f"{number:04}", **files})

# %%
# ``rgb8`` gives bytes with three channels, for grey images too.

names = ("image.png", "mask.png", "teacher.png")


def tensors(sample):
    name, *arrays = sample
    image, mask, taught = (torch.from_numpy(array).movedim(-1, 0) / 255 for array in arrays)
    return name, image, mask[0], taught[0]


def pipeline(shards):
    samples = wds.WebDataset(shards, shardshuffle=False).decode("rgb8")
    return samples.to_tuple("__key__", *names).map(tensors)


student = nn.Conv2d(3, 1, 5, padding=2)
criterion = DynamicKDLoss(teacher="probabilities")
optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):
    for _, images, masks, taught in pipeline("train.tar").batched(8):
        loss, terms = criterion.with_terms(student(images), taught, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    metrics = SODMetrics()
    with torch.no_grad():
        for name, image, mask, _ in pipeline("validation.tar"):
            metrics.update(student(image[None]).sigmoid()[0, 0], mask, names=[name])
    means, report = terms.log("train/"), metrics.compute()
    print(epoch, f"weight {means['train/weight']:.3f}, maxF {report['maxF']:.3f}")
