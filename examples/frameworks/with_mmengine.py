"""
MMEngine
========

A ``BaseModel`` adds up every entry whose name contains "loss" and logs the others. The terms have an entry ``loss``,
which is left out.
"""

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dynamic_kd.metrics import SODMetrics
from dynamic_kd.torch import Distiller, DynamicKDLoss


class Distillation(BaseModel):
    def __init__(self, student, teacher):
        super().__init__()
        self.distiller = Distiller(student, teacher, DynamicKDLoss())

    def forward(self, images, masks, mode):
        if mode == "loss":
            loss, terms = self.distiller(images, masks)
            means = terms.log("kd/")
            del means["kd/loss"]
            return means | {"loss": loss}
        return self.distiller.student(images).sigmoid()


class SODScores(BaseMetric):
    metrics = SODMetrics()

    def process(self, batch, maps):
        pairs = zip(maps, batch[1], strict=True)
        self.results += [self.metrics.measure(*pair) for pair in pairs]

    def compute_metrics(self, results):  # of all processes, an entry for each image
        self.metrics.reset()
        for records in results:
            self.metrics.update_records(records)
        return self.metrics.compute().as_dict()


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
runner = Runner(
    Distillation(student, teacher),
    work_dir="work_dir",
    train_dataloader=loader,
    train_cfg={"by_epoch": True, "max_epochs": 5},
    optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
    val_dataloader=loader,
    val_cfg={},
    val_evaluator=Evaluator(SODScores(prefix="sod")),
)
runner.train()
