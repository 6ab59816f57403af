"""
segmentation-models-pytorch
===========================

A large network of the library teaches a small one. With ``classes=1`` and no activation both give one logit for each
pixel, as the loss takes them.
"""

import segmentation_models_pytorch as smp
import torch
from torch.utils.data import DataLoader, TensorDataset

from dynamic_kd.torch import Distiller, DynamicKDLoss, SODMetric

# %%
# A stand-in for your data, and networks without trained weights: load yours, and leave ``encoder_weights`` out.

torch.manual_seed(0)
masks = torch.zeros(16, 1, 64, 64)
masks[..., 16:48, 16:48] = 1
images = masks + torch.randn(16, 3, 64, 64)
loader = DataLoader(TensorDataset(images, masks), batch_size=8)
teacher = smp.UnetPlusPlus("resnet34", encoder_weights=None, in_channels=3, classes=1)
student = smp.Unet("mobilenet_v2", encoder_weights=None, in_channels=3, classes=1)

# %%
# Moving the distiller moves both networks; its parameters are the student's.

device = "cuda" if torch.cuda.is_available() else "cpu"
distiller = Distiller(student, teacher, DynamicKDLoss()).to(device)
optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9)
metric = SODMetric(prefix="val/").to(device)
for epoch in range(3):
    distiller.train()
    for inputs, target in loader:
        loss, terms = distiller(inputs.to(device), target.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    distiller.eval()
    with torch.no_grad():
        for inputs, target in loader:
            maps = distiller.student(inputs.to(device)).sigmoid()
            metric.update(maps, target.to(device))
    logged = terms.log("train/") | metric.compute()
    metric.reset()
    print(epoch, f"weight {logged['train/weight']:.3f}, maxF {logged['val/maxF']:.3f}")
