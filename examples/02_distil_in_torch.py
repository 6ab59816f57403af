"""
The dynamic loss in a training loop of your own
===============================================

A small student learns from masks and from a teacher that is wrong on a quarter of the images. The loss finds out
which: there its weight is ε, elsewhere it follows how much the student still lacks.
"""

import argparse

import torch
from matplotlib.figure import Figure
from torch import nn

from dynamic_kd.torch import DynamicKDLoss

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--size", type=int, default=48)
options = parser.parse_args()

# %%
# Sixteen noisy images of discs, and the logits of a teacher that takes the background of four for the object.

torch.manual_seed(0)
grid = torch.stack(torch.meshgrid(*2 * [torch.linspace(-1, 1, options.size)], indexing="ij"))
centers = torch.rand(16, 2, 1, 1) - 0.5
masks = ((grid - centers).norm(dim=1, keepdim=True) < 0.4).float()
images = masks + 0.5 * torch.randn(16, 3, options.size, options.size)
teacher_logits = 8 * masks - 4
teacher_logits[:4] = -teacher_logits[:4]  # the teacher is wrong here

# %%
# Nothing else changes in the loop: the criterion takes one argument more.

student = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2))
optimizer = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9)
criterion = DynamicKDLoss()
history = []
for step in range(options.steps):
    logits = student(images)
    loss, terms = criterion.with_terms(logits, teacher_logits, masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    wrong, right = terms.weight[:4].mean().item(), terms.weight[4:].mean().item()
    history.append((loss.item(), wrong, right))
    if step % 20 == 0 or step == options.steps - 1:
        print(f"step {step:3}: loss {loss:.3f}, weight of the wrong teacher {wrong:.3f}, of the right one {right:.3f}")

# %%
# The student learns in spite of the wrong quarter, and the right teacher is heard less as there is less to learn.

figure = Figure(figsize=(6.4, 2.8), layout="constrained")
left, beside = figure.subplots(1, 2)
losses, *weights = zip(*history, strict=True)
left.plot(losses)
left.set(xlabel="step", ylabel="loss", ylim=(0, None))
for values, where in zip(weights, ("wrong", "right"), strict=True):
    beside.plot(values, label=f"where it is {where}")
beside.set(xlabel="step", ylabel="weight of the teacher", ylim=(0, 0.8))
beside.legend(frameon=False)
