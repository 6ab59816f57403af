"""
Lightning
=========

`Distiller` is a module like any other, its terms go to ``log_dict``, and `SODMetric` gives an epoch's scores over all
processes.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dynamic_kd.torch import Distiller, DynamicKDLoss, SODMetric


class Distillation(pl.LightningModule):
    def __init__(self, student, teacher):
        super().__init__()
        self.distiller = Distiller(student, teacher, DynamicKDLoss())
        self.scores = SODMetric(prefix="val/")

    def training_step(self, batch, index):
        loss, terms = self.distiller(*batch)
        self.log_dict(terms.log("train/"))
        return loss

    def validation_step(self, batch, index):
        images, masks = batch
        self.scores.update(self.distiller.student(images).sigmoid(), masks)

    def on_validation_epoch_end(self):
        self.log_dict(self.scores.compute())
        self.scores.reset()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


# %%
# Stand-ins for your data and networks. The teacher averages its input, and only the student is trained.

torch.manual_seed(0)
masks = torch.zeros(16, 1, 32, 32)
masks[..., 8:24, 8:24] = 1
images = masks + torch.randn(16, 3, 32, 32)
student, teacher = nn.Conv2d(3, 1, 5, padding=2), nn.Conv2d(3, 1, 5, padding=2)
nn.init.constant_(teacher.weight, 8 / 75)
nn.init.constant_(teacher.bias, -4)

loader = DataLoader(TensorDataset(images, masks), batch_size=8)
trainer = pl.Trainer(max_epochs=5, log_every_n_steps=1)
trainer.fit(Distillation(student, teacher), loader, loader)
print({name: round(value.item(), 3) for name, value in trainer.logged_metrics.items()})
