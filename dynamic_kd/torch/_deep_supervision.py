"""One loss for networks with several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from dynamic_kd._checks import check_number

if TYPE_CHECKING:
    from dynamic_kd.losses import DynamicKDTerms


class DeepSupervision(nn.Module):
    r"""Weighted sum of the losses of a network's outputs.

    .. math:: L = \sum_i w_i L_i

    Side outputs of one map share the loss, the teacher and the target. Branches of different maps, such as saliency
    and edges, have their own: wherever a list, tuple or mapping stands, each output gets its own entry, and anything
    else serves every output.

    Parameters
    ----------
    loss : DynamicKDLoss, or a list or mapping of them
        The loss of every output, or one for each.
    weights : sequence or mapping of float, optional
        A non-negative weight for each output; 1 each by default.

    Raises
    ------
    TypeError, ValueError
        If a weight is not a finite, non-negative number.

    Examples
    --------
    Three side outputs, the last of which counts half:

    >>> import torch
    >>> from dynamic_kd.torch import DynamicKDLoss
    >>> loss = DeepSupervision(DynamicKDLoss(), weights=[1, 1, 0.5])
    >>> sides = [torch.zeros(2, 1, 8, 8, requires_grad=True) for _ in range(3)]
    >>> teacher, mask = torch.full((2, 1, 8, 8), 3.0), torch.ones(2, 1, 8, 8)
    >>> loss(sides, teacher, mask).backward()
    >>> bool(sides[2].grad.sum() == sides[0].grad.sum() / 2)
    True

    Two branches, each with its own settings, teacher and target:

    >>> loss = DeepSupervision({"map": DynamicKDLoss(), "edge": DynamicKDLoss(noise_threshold=0.2)})
    >>> outputs = {"map": sides[0], "edge": sides[1]}
    >>> total, terms = loss.with_terms(outputs, {"map": teacher, "edge": -teacher}, {"map": mask, "edge": 0 * mask})
    >>> bool(terms["edge"].reliable.any())
    False
    """

    def __init__(self, loss: Any, weights: Sequence[float] | Mapping[Any, float] | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.weights = weights
        entries = _entries(weights)
        if weights is not None and entries is None:
            raise TypeError(f"weights: expected a list or mapping of numbers, got {weights!r}")
        for name, weight in (entries or {}).items():
            check_number(f"weights[{name!r}]", weight, low=0)

    def forward(self, student_logits: Any, teacher_logits: Any, target: Any, valid: Any = None) -> Tensor:
        """Sum of the losses.

        Parameters
        ----------
        student_logits : list, tuple or mapping of Tensor, or an object with an attribute ``logits``
            The network's outputs, each as the loss takes it.
        teacher_logits, target, valid : Tensor, or a list, tuple or mapping of Tensor
            As the loss takes them: one for all outputs, or one for each.

        Returns
        -------
        Tensor, shape () or, with reduction "none", (B,)
            The weighted sum.

        Raises
        ------
        TypeError, ValueError
            If an argument has an entry too few or too many, or a loss does not accept what it gets.
        """
        return self.with_terms(student_logits, teacher_logits, target, valid)[0]

    def with_terms(
        self, student_logits: Any, teacher_logits: Any, target: Any, valid: Any = None
    ) -> tuple[Tensor, dict[Any, DynamicKDTerms]]:
        """Sum of the losses, and the terms of each output.

        Returns
        -------
        loss : Tensor, shape () or, with reduction "none", (B,)
            The weighted sum, as a call returns it.
        terms : dict of DynamicKDTerms
            Terms by output: by the mapping's names, or 0, 1, … for a list.
        """
        outputs = _entries(student_logits)
        if outputs is None:
            outputs = {0: _logits(student_logits)}
        if not outputs:
            raise ValueError("student_logits: expected at least one output, got none")
        arguments = [
            _for_each(name, value, outputs)
            for name, value in (
                ("loss", self.loss),
                ("weights", 1 if self.weights is None else self.weights),
                ("teacher_logits", teacher_logits),
                ("target", target),
                ("valid", valid),
            )
        ]
        total: Any = None
        terms = {}
        for name, logits in outputs.items():
            loss, weight, *others = (argument[name] for argument in arguments)
            value, terms[name] = loss.with_terms(logits, *others)
            total = weight * value if total is None else total + weight * value
        return total, terms


def _for_each(argument: str, value: Any, outputs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the entry of an argument for each output."""
    entries = _entries(value)
    if entries is None:
        return dict.fromkeys(outputs, _logits(value))
    if entries.keys() != outputs.keys():
        raise ValueError(
            f"{argument}: expected one entry for each output, {list(outputs)}, got {list(entries)}; "
            f"pass a single one if it serves all outputs"
        )
    return entries


def _entries(value: Any) -> dict[Any, Any] | None:
    """Return the entries of a list, tuple or mapping by name or number; None for anything else."""
    value = _logits(value)
    if isinstance(value, Mapping):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _logits(output: Any) -> Any:
    """Return the logits of a network's output, as Hugging Face's models wrap them."""
    return getattr(output, "logits", output)
