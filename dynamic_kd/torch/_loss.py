"""The loss as a torch module."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from array_api_compat import torch as xp
from torch import Tensor, nn

from dynamic_kd import losses

if TYPE_CHECKING:
    from dynamic_kd.losses import DynamicKDTerms


class DynamicKDLoss(nn.Module):
    """Dynamic knowledge distillation loss with noise elimination, as a module.

    The attribute ``settings`` is a `dynamic_kd.losses.DynamicKDLoss`, which computes the loss. The module has no
    parameters and no buffers, so moving it or saving its state does nothing. It works under automatic mixed precision,
    where sums are taken in float32, and in ``torch.compile(fullgraph=True)``.

    Parameters
    ----------
    **settings
        The settings of `dynamic_kd.losses.DynamicKDLoss`, by keyword.

    Raises
    ------
    TypeError, ValueError
        If a setting is unknown, has the wrong type or lies outside its range.

    Examples
    --------
    >>> import torch
    >>> loss = DynamicKDLoss(temperature=4.0)
    >>> student = torch.zeros(2, 1, 8, 8, requires_grad=True)
    >>> teacher, mask = torch.full((2, 1, 8, 8), 3.0), torch.ones(2, 1, 8, 8)
    >>> loss(student, teacher, mask).backward()
    >>> bool((student.grad < 0).all())
    True
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = losses.DynamicKDLoss(**settings)

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Loss of a batch; see `dynamic_kd.losses.DynamicKDLoss` for shapes and errors."""
        _check_tensors(student_logits=student_logits, teacher_logits=teacher_logits, target=target, valid=valid)
        loss: Tensor = self.settings(student_logits, teacher_logits, target, valid, xp=xp)
        return loss

    def with_terms(
        self, student_logits: Tensor, teacher_logits: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> tuple[Tensor, DynamicKDTerms]:
        """Loss of a batch, and what it consists of; see `dynamic_kd.losses.DynamicKDLoss.with_terms`."""
        _check_tensors(student_logits=student_logits, teacher_logits=teacher_logits, target=target, valid=valid)
        return self.settings.with_terms(student_logits, teacher_logits, target, valid, xp=xp)

    def extra_repr(self) -> str:
        """Return the settings, for ``print(module)``."""
        values = {field.name: getattr(self.settings, field.name) for field in dataclasses.fields(self.settings)}
        return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _check_tensors(valid: Any, **others: Any) -> None:
    for name, given in (others if valid is None else {**others, "valid": valid}).items():
        if not isinstance(given, Tensor):
            several = isinstance(given, list | tuple | dict) or hasattr(given, "logits")
            fix = "DeepSupervision takes a network's outputs" if several else "dynamic_kd.losses takes other arrays"
            raise TypeError(
                f"{name}: expected a torch tensor, got {type(given).__module__}.{type(given).__name__}; {fix}"
            )


# Help and completion show the settings, listed in one place only. As a decorator it would hide the class's type.
functools.update_wrapper(DynamicKDLoss.__init__, losses.DynamicKDLoss.__init__, assigned=(), updated=())
