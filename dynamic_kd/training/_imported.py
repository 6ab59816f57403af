"""Objects that a recipe names by their import path, ``module:attribute``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamic_kd._array import Array


def attribute_named(name: str) -> Any:
    """Import the object that ``module:attribute`` names; errors of the module pass through."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class ImportedWeight:
    """An imported weighting function of (α, β, teacher's cross-entropy), named ``module:function`` in files.

    Raises
    ------
    ValueError
        If there is no such function.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._function = attribute_named(name)
        except Exception as error:  # an imported module may raise anything
            raise ValueError(f"loss.weighting: {name} cannot be imported: {error}") from error
        if not callable(self._function):
            raise ValueError(
                f"loss.weighting: {name} must be a function of α, β and the teacher's cross-entropy, got "
                f"{type(self._function).__name__}"
            )

    def __call__(self, teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        """Return the weight."""
        return self._function(teacher_iou, student_error, teacher_cross_entropy)

    def __eq__(self, other: object) -> bool:
        """Compare by name."""
        return isinstance(other, ImportedWeight) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name
