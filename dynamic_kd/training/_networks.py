"""The networks of a recipe: new ones to train, and the teacher in the student's objective."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from dynamic_kd.losses import DynamicKDTerms
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, read_weights
from dynamic_kd.training._imported import ImportedWeight, attribute_named
from dynamic_kd.training._objective import CrossEntropy, Distillation, from_network, teacher_maps
from dynamic_kd.training._processes import seeded
from dynamic_kd.training._run_folder import weights_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerate import Accelerator

    from dynamic_kd.losses import DynamicKDLoss
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._sections import Teacher

_KINDS: dict[str, type[FPNStudent | RFBTeacher]] = {"rfb": RFBTeacher, "fpn": FPNStudent}


def new_networks(recipe: Recipe) -> dict[int, FPNStudent | RFBTeacher]:
    """Return the untrained network of each stage; weights may be downloaded."""
    networks = {}
    for stage in recipe.stages:
        part, kind = (recipe.teacher, _KINDS[recipe.teacher.model]) if stage == 1 else (recipe.student, FPNStudent)
        with seeded(recipe.seed):
            networks[stage] = kind(part.backbone, recipe.data.channels, weights=part.weights)
    return networks


def student_objective(recipe: Recipe, accelerator: Accelerator, folder: Path, samples: int) -> Objective:
    """Return the student's objective: distillation from its teacher, or cross-entropy alone.

    Parameters
    ----------
    recipe : Recipe
        Names the teacher.
    accelerator : Accelerator
        Moves the teacher to its device.
    folder : Path
        The run folder, with the weights of stage 1 if there is one.
    samples : int
        Number of training samples, for an imported loss.

    Raises
    ------
    ValueError
        If the teacher cannot be loaded, takes another input, or is another network than the recipe names.
    """
    if not recipe.needs_teacher:
        return CrossEntropy()
    if recipe.loss.impl == "fused" and accelerator.device.type != "cuda":
        raise ValueError('loss.impl: "fused" requires a GPU; choose "auto" or "eager"')
    shift, loss = recipe.teacher.probability_shift, distillation_loss(recipe)
    module = None if recipe.objective is None else _imported_loss(recipe, samples).to(accelerator.device)
    if recipe.teacher.model == "maps":
        return Distillation(loss, teacher_maps, shift=shift, replayable=True, module=module)
    network = _network(recipe, weights_file(folder, 1, "last"))
    ours = isinstance(network, (FPNStudent, RFBTeacher))
    network = network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = accelerator.prepare_model(network, evaluation_mode=True)
    return Distillation(loss, from_network(network), shift=shift, replayable=ours, module=module)


def distillation_loss(recipe: Recipe) -> DynamicKDLoss:
    """Return the loss with what the teacher's section says of its output."""
    maps = recipe.teacher.model == "maps" or recipe.teacher.output == "probabilities"
    return replace(recipe.loss, teacher="probabilities" if maps else "logits", clip=recipe.teacher.clip)


def _network(recipe: Recipe, trained: Path) -> nn.Module:
    teacher, channels = recipe.teacher, recipe.data.channels
    if ":" in teacher.model:
        with seeded(recipe.seed):
            return imported(teacher.model, teacher.weights)
    network = load_model(teacher.checkpoint or trained)
    source = f"{trained}" if teacher.checkpoint is None else "teacher.checkpoint"
    _check_named(source, network, teacher)
    if network.settings["in_channels"] != channels:
        raise ValueError(
            f"{source}: takes {network.settings['in_channels']} channels, but the recipe's images have {channels} "
            f"(data.depth = {recipe.data.depth})"
        )
    return network


def _check_named(source: str, network: FPNStudent | RFBTeacher, teacher: Teacher) -> None:
    """Raise unless a network is the one that the recipe names, because the recipe documents the run."""
    backbone = network.settings["backbone"]
    if type(network) is _KINDS[teacher.model] and backbone == teacher.backbone:
        return
    model = next(name for name, kind in _KINDS.items() if type(network) is kind)
    raise ValueError(
        f'{source}: is a network of model = "{model}" and backbone = "{backbone}", but the recipe names '
        f'"{teacher.model}" and "{teacher.backbone}"; change the recipe, or name another file'
    )


def check_teacher(
    recipe: Recipe, objective: Objective | None, data: ImageSet, accelerator: Accelerator, note: Callable[[str], None]
) -> None:
    """Raise unless an imported teacher returns logits of a batch that fit the student's loss.

    Logits that all lie in [0, 1] are noted, because they look like probabilities.
    """
    name, training = recipe.teacher.model, recipe.training
    if not isinstance(objective, Distillation) or ":" not in name:
        return
    images = training.batch_size // (training.accumulation * accelerator.num_processes)
    batch = data.batch(torch.arange(min(images, len(data))))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "teacher_logits: all values lie in")  # the note below says this
            output = objective.teacher(batch)
            objective(torch.zeros_like(batch.targets), batch)
    except Exception as error:  # an imported module may raise anything
        raise ValueError(
            f"teacher.model: {name} must map inputs {tuple(batch.inputs.shape)} to {recipe.teacher.output} "
            f"{tuple(batch.targets.shape)}, got {type(error).__name__}: {error}; wrap it in a module that does "
            f"(data.depth = {str(recipe.data.depth).lower()}: inputs have {recipe.data.channels} channels)"
        ) from error
    if recipe.teacher.output == "logits" and output.amin() >= 0 and output.amax() <= 1:
        note(
            f"all outputs of {name} for a batch lie in [0, 1]; they should be logits, before any sigmoid, or set "
            'teacher.output="probabilities"'
        )


def check_weight(recipe: Recipe, device: torch.device) -> None:
    """Raise unless an imported weighting returns valid weights, for a synthetic batch."""
    weight = recipe.loss.weighting
    if not isinstance(weight, ImportedWeight):
        return
    logits = torch.zeros(2, 1, 32, 32, device=device, requires_grad=True)
    target = torch.zeros_like(logits)
    target[..., :16] = 1  # so that neither α nor β is 0 or 1
    try:
        replace(recipe.loss, impl="eager")(logits, logits.detach(), target)
    except Exception as error:  # an imported function may raise anything
        raise ValueError(
            f"loss.weighting: {weight} must return one weight for each {recipe.loss.granularity} from (α, β, the "
            f"teacher's cross-entropy), got {type(error).__name__}: {error}"
        ) from error


def check_objective(recipe: Recipe, accelerator: Accelerator) -> None:
    """Raise unless an imported loss returns losses and terms of images, for a synthetic batch."""
    if recipe.objective is None:
        return
    name, device = recipe.objective, accelerator.device
    logits = torch.zeros(2, 1, 32, 32, device=device, requires_grad=True)
    target = torch.zeros(2, 1, 32, 32, device=device)
    target[..., :16] = 1
    teacher = target if distillation_loss(recipe).teacher == "probabilities" else 8 * target - 4
    try:
        module = _imported_loss(recipe, 2).to(device)
        losses, terms = module(logits, teacher, target, target >= 0, torch.arange(2, device=device))
        shapes = [tuple(each.shape) for each in (losses, *DynamicKDTerms(*terms))]
    except Exception as error:  # an imported module may raise anything
        raise ValueError(
            f"objective: {name} must be a function of a DynamicKDLoss and a number of samples that returns an "
            "nn.Module, which maps (student_logits, teacher, target, valid, positions) to losses and DynamicKDTerms; "
            f"got {type(error).__name__}: {error}"
        ) from error
    if wrong := [shape for shape in shapes if shape != (2,)]:
        raise ValueError(f"objective: {name} must return losses and terms of shape (2,) for 2 images, got {wrong[0]}")
    if next(module.parameters(), None) is not None:
        raise ValueError(f"objective: {name} has parameters, which training does not update; make them buffers")
    if module.state_dict() and accelerator.num_processes > 1:
        raise ValueError(
            f"objective: {name} has a state, which {accelerator.num_processes} processes would each have for "
            "themselves; train in one process"
        )


def _imported_loss(recipe: Recipe, samples: int) -> nn.Module:
    make = attribute_named(recipe.objective or "")
    return cast("nn.Module", make(replace(distillation_loss(recipe), reduction="none"), samples))


def imported(name: str, weights: str | None) -> nn.Module:
    """Return the module that an imported callable makes, with its state dict if there is one."""
    try:
        network = attribute_named(name)()
    except Exception as error:  # an imported module may raise anything
        raise ValueError(f"teacher.model: {name} cannot be imported and called without arguments: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"teacher.model: {name}() must return an nn.Module, got {type(network).__name__}")
    if weights is not None:
        try:
            network.load_state_dict(read_weights(weights))
        except RuntimeError as error:
            raise ValueError(f"teacher.weights: {weights} does not fit {name}: {error}") from error
    return network
