"""
The dynamic loss in your own training loop
==========================================

A small student learns from masks and from a teacher that is wrong on a quarter of the images. The loss finds these
images by itself: there, the teacher's weight is ε = 0.01. Elsewhere, it falls from 0.7 to 0.5 as the student catches
up.
"""

import torch
from matplotlib.figure import Figure
from torch import nn

from dynamic_kd.torch import DynamicKDLoss

# %%
# Sixteen noisy images of discs. For four of them, the teacher's logits confuse object and background.

STEPS, SIZE = 60, 48
torch.manual_seed(0)
grid = torch.stack(torch.meshgrid(*2 * [torch.linspace(-1, 1, SIZE)], indexing="ij"))
centers = torch.rand(16, 2, 1, 1) - 0.5
masks = ((grid - centers).norm(dim=1, keepdim=True) < 0.4).float()
images = masks + 0.5 * torch.randn(16, 3, SIZE, SIZE)
teacher_logits = 8 * masks - 4
teacher_logits[:4] = -teacher_logits[:4]  # the teacher is wrong here

# %%
# In the training loop, only the criterion changes: it takes the teacher's logits as a second argument.

student = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2))
optimizer = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9)
criterion = DynamicKDLoss()
history = []
for step in range(STEPS):
    logits = student(images)
    loss, terms = criterion.with_terms(logits, teacher_logits, masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    wrong, right = terms.weight[:4].mean().item(), terms.weight[4:].mean().item()
    history.append((loss.item(), wrong, right))
    if step % 20 == 0 or step == STEPS - 1:
        print(f"step {step:2}: loss {loss:.3f}, weight of the wrong maps {wrong:.3f}, of the right ones {right:.3f}")

# %%
# The student learns in spite of the wrong maps, and needs the right ones less and less.

figure = Figure(figsize=(6.4, 2.8), layout="constrained")
left, beside = figure.subplots(1, 2)
losses, *weights = zip(*history, strict=True)
left.plot(losses)
left.set(xlabel="step", ylabel="loss", ylim=(0, None))
for values, kind in zip(weights, ("wrong", "right"), strict=True):
    beside.plot(values, label=f"{kind} teacher maps")
beside.set(xlabel="step", ylabel="teacher's weight θ", ylim=(0, 0.8))
beside.legend(frameon=False)
