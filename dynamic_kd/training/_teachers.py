"""The teachers that a recipe can name, as the student's objective."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch
from torch import nn

from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, read_weights
from dynamic_kd.training._objective import CrossEntropy, Distillation, from_maps, from_network
from dynamic_kd.training._surroundings import seeded

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe


def student_objective(recipe: Recipe, accelerator: Accelerator, trained: Path) -> Objective:
    """Return what the student is trained for: to follow its teacher, or the masks alone.

    Parameters
    ----------
    recipe : Recipe
        Names the teacher.
    accelerator : Accelerator
        Whose device the teacher goes to.
    trained : Path
        Where stage 1, if there is one, has left its weights.

    Raises
    ------
    ValueError
        If the teacher cannot be had, or takes another input.
    """
    if not recipe.needs_teacher:
        return CrossEntropy()
    if recipe.teacher.model == "maps":
        return Distillation(recipe.loss, from_maps(recipe.teacher.clip), replayable=True)
    network = _network(recipe, trained)
    ours = isinstance(network, (FPNStudent, RFBTeacher))
    network = network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = accelerator.prepare_model(network, evaluation_mode=True)
    return Distillation(recipe.loss, from_network(network), replayable=ours)


def _network(recipe: Recipe, trained: Path) -> nn.Module:
    teacher, channels = recipe.teacher, recipe.data.channels
    if ":" in teacher.model:
        with seeded(recipe.seed):
            return imported(teacher.model, teacher.weights)
    network = load_model(teacher.checkpoint or trained)
    if network.settings["in_channels"] != channels:
        raise ValueError(
            f"teacher.checkpoint: expected a network for {channels} channels (data.depth = {recipe.data.depth}), "
            f"got one for {network.settings['in_channels']}"
        )
    return network


def imported(name: str, weights: str | None) -> nn.Module:
    """Return the module that a callable of a package makes, with its state dict, if there is one."""
    module, _, attribute = name.partition(":")
    try:
        network = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"teacher.model: expected something to import and to call without arguments, got {name}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"teacher.model: expected {name}() to return an nn.Module, got {type(network).__name__}")
    if weights is not None:
        try:
            network.load_state_dict(read_weights(weights))
        except RuntimeError as error:
            raise ValueError(f"teacher.weights: {weights} does not fit {name}: {error}") from error
    return network
