"""
MONAI
=====

The teacher's logits go along with the masks, the loss keeps its terms for a handler, and a handler of the evaluator
scores the maps.
"""

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer, default_prepare_batch
from monai.handlers import StatsHandler, ValidationHandler
from monai.transforms import EnsureTyped
from torch import nn

from dynamic_kd.torch import DynamicKDLoss, SODMetric


class DistillationLoss(DynamicKDLoss):
    def forward(self, student_logits, targets):
        masks, teacher_logits = targets
        loss, self.terms = self.with_terms(student_logits, teacher_logits, masks)
        return loss


def with_teacher(batch, device, non_blocking, **options):
    images, masks = default_prepare_batch(batch, device, non_blocking, **options)
    with torch.no_grad():
        return images, (masks, teacher(images)), (), {}


class Scores(SODMetric):
    """Scores of an epoch of validation, in ``evaluator.state.metrics``."""

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def score(self, engine):
        for output in engine.state.output:
            self.update(output["pred"].sigmoid(), output["label"])

    def finish(self, engine):
        engine.state.metrics |= self.compute()


# %%
# Stand-ins for your data and networks. The teacher averages its input.

torch.manual_seed(0)
mask = torch.zeros(1, 32, 32)
mask[:, 8:24, 8:24] = 1
squares = [{"image": mask + torch.randn(3, 32, 32), "label": mask} for _ in range(16)]
data = Dataset(squares, EnsureTyped("image"))
student, teacher = nn.Conv2d(3, 1, 5, padding=2), nn.Conv2d(3, 1, 5, padding=2)
nn.init.constant_(teacher.weight, 8 / 75)
nn.init.constant_(teacher.bias, -4)

loader, criterion = DataLoader(data, batch_size=8), DistillationLoss()
evaluator = SupervisedEvaluator("cpu", loader, student, val_handlers=[Scores()])
log = StatsHandler(output_transform=lambda output: criterion.terms.log("train/"))
trainer = SupervisedTrainer(
    "cpu",
    max_epochs=5,
    train_data_loader=loader,
    network=student,
    optimizer=torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9),
    loss_function=criterion,
    prepare_batch=with_teacher,
    train_handlers=[log, ValidationHandler(1, evaluator)],
)
trainer.run()
print(f"maxF {evaluator.state.metrics['maxF']:.3f}")
