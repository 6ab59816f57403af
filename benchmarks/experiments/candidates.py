"""Candidates of the study for a better weight, as losses that a recipe names: ``objective = "module:class"``.

All blend the divergence and the cross-entropy as equation 5 does. They differ in the teacher and its weight θ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import array_api_compat.torch as xp
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dynamic_kd.losses import DynamicKDTerms, cross_entropy, logits_from_probabilities, soft_iou, temperature_kl

if TYPE_CHECKING:
    from dynamic_kd.losses import DynamicKDLoss

RATIO = 0.75  # of the student's own IoU, as in noise_elimination="relative"
EDGE = 4  # pixels
LEAST_CROSS_ENTROPY = 0.001
KEPT = 0.8  # of the running mean, at each visit
SOFTNESS = 0.05  # IoU over which a teacher fades out


class Seen(NamedTuple):
    """A batch without channels, each map (B, H, W), and the soft IoU of teacher and student with the target, (B,)."""

    student: Tensor
    maps: Tensor
    target: Tensor
    valid: Tensor | None
    positions: Tensor
    teacher_iou: Tensor
    student_iou: Tensor


class Choice(NamedTuple):
    """Teacher logits (B, H, W), θ of each image (B,) or pixel (B, H, W), and whether the teacher counts (B,)."""

    teacher: Tensor
    weight: Tensor
    used: Tensor


class Candidate(nn.Module):
    """Equation 5 with the teacher and the weight that `choose` returns; neither carries a gradient."""

    replayable = True  # nothing waits for the device

    def __init__(self, loss: DynamicKDLoss, samples: int) -> None:
        super().__init__()
        if loss.teacher != "probabilities":
            raise ValueError('a candidate of the study takes maps; set teacher.model = "maps"')
        self.settings, self.samples = loss, samples

    def choose(self, seen: Seen) -> Choice:
        """Return the teacher and its weight for a batch."""
        raise NotImplementedError

    def logits(self, maps: Tensor) -> Tensor:
        """Return the logits of maps, clipped as the recipe's teacher is."""
        logits: Tensor = logits_from_probabilities(maps, clip=self.settings.clip, xp=xp)
        return logits

    def forward(
        self, student_logits: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, positions: Tensor
    ) -> tuple[Tensor, DynamicKDTerms]:
        """Return the loss of each image, (B,), and its terms."""
        student, maps, target = (each.float()[:, 0] for each in (student_logits, teacher, target))
        valid = None if valid is None else valid[:, 0]
        with torch.no_grad():
            ious = [soft_iou(each, target, valid, xp=xp) for each in (maps, torch.sigmoid(student))]
            choice = self.choose(Seen(student, maps, target, valid, positions, *ious))
        kl = temperature_kl(
            student,
            choice.teacher,
            temperature=self.settings.temperature,
            temperature_squared=self.settings.temperature_squared,
            xp=xp,
        )
        ce = cross_entropy(student, target, xp=xp)
        weight = choice.weight if choice.weight.ndim == 3 else choice.weight[:, None, None].expand_as(kl)
        loss = mean(weight * kl + (1 - weight) * ce, valid)
        logged = (mean(weight, valid), choice.used, mean(kl, valid), mean(ce, valid), loss)
        return loss, DynamicKDTerms(ious[0], 1 - ious[1], *(each.detach() for each in logged))


class Replace(Candidate):
    """θ = ½; a teacher with α ≤ .75 (1 - β) is replaced by the clipped mask instead of being dropped."""

    def choose(self, seen: Seen) -> Choice:
        """Return the teacher's logits or the mask's."""
        kept = seen.teacher_iou > RATIO * seen.student_iou
        maps = torch.where(kept[:, None, None], seen.maps, seen.target)
        return Choice(self.logits(maps), torch.full_like(seen.teacher_iou, 0.5), kept)


class PixelGate(Candidate):
    """θ = ½ at pixels where the teacher is right or the mask's edge is near, and ε elsewhere."""

    def choose(self, seen: Seen) -> Choice:
        """Return the teacher's logits, weighted pixel by pixel."""
        gate = ((seen.maps - seen.target).abs() <= 0.5) | near_edge(seen.target > 0.5)
        weight = torch.full_like(seen.maps, self.settings.noise_weight).masked_fill(gate, 0.5)
        return Choice(self.logits(seen.maps), weight, mean(gate.float(), seen.valid) > 0.5)


class Ratio(Candidate):
    """θ = ½ (1 - exp(-CE_s / max(CE_t, .001))) of the cross-entropies of student and clipped teacher."""

    def choose(self, seen: Seen) -> Choice:
        """Return the teacher's logits, weighted image by image."""
        teacher = self.logits(seen.maps)
        student_ce, teacher_ce = (
            mean(cross_entropy(each, seen.target, xp=xp), seen.valid) for each in (seen.student, teacher)
        )
        weight = 0.5 * (1 - torch.exp(-student_ce / teacher_ce.clamp(min=LEAST_CROSS_ENTROPY)))
        return Choice(teacher, weight, torch.ones_like(weight, dtype=torch.bool))


class SmoothRelative(Candidate):
    """θ = ½ σ((α - .75 m) / .05), with m the running mean of the student's IoU on this image over its visits.

    m is the first 1 - β at the first visit, and then .8 m + .2 (1 - β), updated before it is used.
    """

    def __init__(self, loss: DynamicKDLoss, samples: int) -> None:
        super().__init__(loss, samples)
        self.means: Tensor
        self.register_buffer("means", torch.full((samples,), torch.nan))

    def choose(self, seen: Seen) -> Choice:
        """Return the teacher's logits, weighted image by image, and keep the means."""
        before = self.means[seen.positions]
        now = torch.where(before.isnan(), seen.student_iou, KEPT * before + (1 - KEPT) * seen.student_iou)
        self.means[seen.positions] = now
        excess = seen.teacher_iou - RATIO * now
        return Choice(self.logits(seen.maps), 0.5 * torch.sigmoid(excess / SOFTNESS), excess > 0)


def mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean over each image's valid pixels, (B,); 0 for an image that has none."""
    if valid is None:
        return values.mean(dim=(1, 2))
    valid = valid > 0
    return torch.where(valid, values, 0).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)


def near_edge(mask: Tensor) -> Tensor:
    """Return where a pixel of the other class lies within `EDGE` pixels, for masks (B, H, W)."""
    steps = torch.arange(-EDGE, EDGE + 1, device=mask.device)
    disc = (steps[:, None] ** 2 + steps**2 <= EDGE**2).float()[None, None]
    both = [conv2d(each.float()[:, None], disc, padding=EDGE)[:, 0] > 0.5 for each in (mask, ~mask)]
    return both[0] & both[1]
