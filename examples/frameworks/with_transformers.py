"""
Hugging Face Trainer
====================

SegFormer's logits have a quarter of the mask's height and width: ``resize="bilinear"`` enlarges them inside the loss.
The loss is a mean over images, which matters to gradient accumulation.
"""

import torch
from torch.nn.functional import interpolate
from transformers import SegformerConfig, SegformerForSemanticSegmentation, Trainer, TrainingArguments

from dynamic_kd.metrics import SODMetrics
from dynamic_kd.torch import DynamicKDLoss


class DistillationTrainer(Trainer):
    def __init__(self, *args, teacher, **options):
        super().__init__(*args, **options)
        self.teacher = teacher.to(self.args.device).eval()
        self.criterion = DynamicKDLoss(resize="bilinear")
        # The loss is a mean over images, which the Trainer averages over accumulated batches.
        # By default it would sum them, because SegFormer's forward takes **kwargs.
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(pixel_values=inputs["pixel_values"])
        with torch.no_grad():
            taught = self.teacher(pixel_values=inputs["pixel_values"])
        logits = outputs.logits, taught.logits
        loss, self.terms = self.criterion.with_terms(*logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs, start_time=None):
        if "loss" in logs:
            logs |= {name: mean.item() for name, mean in self.terms.log("kd/").items()}
        super().log(logs, start_time)


# %%
# With ``batch_eval_metrics`` maps are scored batch by batch and never collected.


metrics = SODMetrics()


def scores(batch, compute_result):
    size = batch.label_ids.shape[-2:]
    logits = interpolate(batch.predictions, size, mode="bilinear")
    metrics.update(logits.sigmoid(), batch.label_ids)
    if compute_result:
        report = metrics.compute()
        metrics.reset()
        return report.as_dict()
    return {}


# %%
# Stand-ins for your data and networks. Use ``from_pretrained`` for both, with ``num_labels=1``.

torch.manual_seed(0)
mask = torch.zeros(64, 64, dtype=torch.long)
mask[16:48, 16:48] = 1
data = [{"pixel_values": mask + torch.randn(3, 64, 64), "labels": mask} for _ in range(16)]
small = SegformerConfig(num_labels=1, depths=[1] * 4, hidden_sizes=[8, 16, 24, 32])
small.decoder_hidden_size = 16
student, teacher = (SegformerForSemanticSegmentation(small) for _ in range(2))
arguments = TrainingArguments(
    output_dir="out",
    num_train_epochs=2,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    logging_steps=1,
    eval_strategy="epoch",
    batch_eval_metrics=True,
    report_to="none",
)
trainer = DistillationTrainer(
    student, arguments, teacher=teacher, train_dataset=data, eval_dataset=data, compute_metrics=scores
)
trainer.train()
