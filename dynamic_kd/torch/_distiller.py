"""Student, teachers and loss as one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class Distiller(nn.Module):
    """A student that learns from frozen teachers: inputs and target in, loss and terms out.

    Only the student belongs to the module's parameters, buffers and ``state_dict()``. The teachers run in evaluation
    mode without gradients, and follow ``.to()``, ``.cuda()`` and ``.half()``. Optimizers, checkpoints, DDP and
    ``torch.compile`` therefore see one network and its loss.

    Parameters
    ----------
    student : Module
        The network to train.
    teacher : Module or sequence of Module
        The frozen teacher; of several, the mean of their saliency maps teaches.
    loss : DynamicKDLoss or DeepSupervision
        Called as ``loss.with_terms(student_output, teacher_output, target, valid)``.
    output : callable, optional
        Turns a network's output into what the loss takes, for example ``lambda output: output[0]``. By default an
        output with an attribute ``logits`` gives those, and any other output is taken as it is.

    Raises
    ------
    ValueError
        If there is no teacher, or one shares a parameter with the student.

    Notes
    -----
    To save memory, the teachers' outputs can be computed once and given to the loss without this class.

    Examples
    --------
    >>> import torch
    >>> from dynamic_kd.torch import DynamicKDLoss
    >>> student, teacher = torch.nn.Conv2d(3, 1, 3, padding=1), torch.nn.Conv2d(3, 1, 5, padding=2)
    >>> distiller = Distiller(student, teacher, DynamicKDLoss())
    >>> loss, terms = distiller(torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8))
    >>> loss.backward()
    >>> [name for name, _ in distiller.named_parameters()]
    ['student.weight', 'student.bias']
    >>> sorted(terms.log("train/"))[:2]
    ['train/ce', 'train/kl']
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | Sequence[nn.Module],
        loss: nn.Module,
        output: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.loss: Any = loss
        self.output = output
        # A tuple hides the teachers from parameters(), state_dict() and train().
        self.teachers = (teacher,) if isinstance(teacher, nn.Module) else tuple(teacher)
        if not self.teachers:
            raise ValueError("teacher: expected at least one network, got none")
        own = {id(parameter) for parameter in student.parameters()}
        for network in self.teachers:
            if any(id(parameter) in own for parameter in network.parameters()):
                raise ValueError(
                    "teacher: expected a network of its own, got one that shares parameters with the student; "
                    "pass a copy (copy.deepcopy)"
                )
            network.eval().requires_grad_(False)

    def forward(self, inputs: Any, target: Any, valid: Any = None, *, teacher_inputs: Any = None) -> tuple[Tensor, Any]:
        """Loss of a batch and its terms.

        Parameters
        ----------
        inputs : Tensor, tuple or mapping
            The student's input; a tuple is passed as positional arguments, a mapping by keyword.
        target, valid : Tensor
            As the loss takes them.
        teacher_inputs : Tensor, tuple or mapping, optional
            The teachers' input, where it differs from the student's.

        Returns
        -------
        loss : Tensor, shape () or, with reduction "none", (B,)
            The loss; call ``backward()`` on it.
        terms : DynamicKDTerms, or a dict of them
            What the loss consists of, without gradients.
        """
        with torch.no_grad():
            seen = inputs if teacher_inputs is None else teacher_inputs
            outputs = [self._run(network, seen) for network in self.teachers]
            teacher = outputs[0] if len(outputs) == 1 else self._mean(outputs)
        loss, terms = self.loss.with_terms(self._run(self.student, inputs), teacher, target, valid)
        return loss, terms

    def _run(self, network: nn.Module, inputs: Any) -> Any:
        """Return what the loss takes from a network's output."""
        if isinstance(inputs, Mapping):
            result = network(**inputs)
        else:
            result = network(*inputs) if isinstance(inputs, tuple) else network(inputs)
        return getattr(result, "logits", result) if self.output is None else self.output(result)

    def _mean(self, outputs: Sequence[Any]) -> Tensor:
        """Return the mean of several teachers' saliency maps, as the loss takes a teacher."""
        for output in outputs:
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"teacher: expected one tensor from each of several teachers, got {type(output).__name__}; "
                    f"choose it with output="
                )
        shapes = [tuple(output.shape) for output in outputs]
        if len(set(shapes)) > 1:
            raise ValueError(f"teacher: expected outputs of one shape from several teachers, got {shapes}")
        maps = torch.stack(list(outputs))
        if getattr(getattr(self.loss, "settings", self.loss), "teacher", "logits") == "probabilities":
            return maps.mean(0)
        margins = maps.diff(dim=2) if maps.ndim == 5 and maps.shape[2] == 2 else maps
        # The mean of sigmoid(z) as a logit, which stays finite where the mean rounds to 0 or 1.
        return logsigmoid(margins).logsumexp(0) - logsigmoid(-margins).logsumexp(0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Apply a move or cast to the teachers too; torch calls this for ``.to()`` and its kind."""
        for network in self.teachers:
            network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
