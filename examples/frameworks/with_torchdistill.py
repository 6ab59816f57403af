"""
torchdistill
============

A mid-level loss gets dictionaries of what modules put out. A subclass of the module takes the networks' logits from
them, and is what the YAML names.
"""

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchdistill.common.yaml_util import load_yaml_file
from torchdistill.core.distillation import get_distillation_box
from torchdistill.losses.registry import register_mid_level_loss

from dynamic_kd.metrics import SODMetrics
from dynamic_kd.torch import DynamicKDLoss


@register_mid_level_loss(key="DynamicKDLoss")
class DistillationLoss(DynamicKDLoss):
    def forward(self, student_io_dict, teacher_io_dict, targets):
        student, teacher = student_io_dict["."]["output"], teacher_io_dict["."]["output"]
        loss, self.terms = self.with_terms(student, teacher, targets)
        return loss


# %%
# ``kwargs`` are the settings of the loss.

CONFIG = """
num_epochs: 5
train_data_loader:
  dataset_id: squares
  sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
  kwargs: {batch_size: 8}
teacher: {forward_proc: forward_batch_only, requires_grad: False}
student: {forward_proc: forward_batch_only}
optimizer: {key: SGD, kwargs: {lr: 0.01, momentum: 0.9}}
criterion:
  key: WeightedSumLoss
  kwargs:
    sub_terms:
      kd: {criterion: {key: DynamicKDLoss, kwargs: {temperature: 5.0}}, weight: 1.0}
"""
Path("config.yaml").write_text(CONFIG)

# %%
# Stand-ins for your data and networks. The teacher averages its input.

torch.manual_seed(0)
masks = torch.zeros(16, 1, 32, 32)
masks[..., 8:24, 8:24] = 1
images = masks + torch.randn(16, 3, 32, 32)
student, teacher = nn.Conv2d(3, 1, 5, padding=2), nn.Conv2d(3, 1, 5, padding=2)
nn.init.constant_(teacher.weight, 8 / 75)
nn.init.constant_(teacher.bias, -4)

data = {"squares": TensorDataset(images, masks)}
config, device = load_yaml_file("config.yaml"), torch.device("cpu")
box = get_distillation_box(teacher, student, data, config, device, None, False, 1)
criterion, _ = box.criterion.term_dict["kd"]
for epoch in range(box.num_epochs):
    box.pre_epoch_process(epoch=epoch)
    for batch, targets, supplement in box.train_data_loader:
        loss = box.forward_process(batch, targets, supplement)
        box.post_forward_process(loss)
    box.post_epoch_process()
    metrics = SODMetrics()
    with torch.no_grad():
        metrics.update(student(images).sigmoid(), masks)
    report, logged = metrics.compute(), criterion.terms.log("train/")
    print(epoch, f"weight {logged['train/weight']:.3f}, maxF {report['maxF']:.3f}")
