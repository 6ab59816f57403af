"""Feature pyramid networks: the student, and the teacher with its wider receptive fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dynamic_kd.models._backbone import Backbone, trunk
from dynamic_kd.models._layers import GroupNorm, resized
from dynamic_kd.models._rfb import ReceptiveFieldBlock
from dynamic_kd.models._weights import load_trunk

if TYPE_CHECKING:
    import os

    from torch import Tensor

    Weights = str | os.PathLike[str] | None


class _Pyramid(nn.Module):
    """A trunk, a lateral layer for each stage, and a path from coarse to fine that sums them."""

    def __init__(self, backbone: str, in_channels: int, weights: Weights, width: int, receptive_fields: int) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ValueError(f"in_channels: expected 3 (colour) or 4 (colour and depth), got {in_channels!r}")
        self.settings: dict[str, Any] = {"backbone": backbone, "in_channels": in_channels}
        self.backbone = Backbone(backbone, in_channels)
        channels = self.backbone.channels
        plain = len(channels) - receptive_fields
        normalized = trunk(backbone).normalized
        self.laterals = nn.ModuleList(_lateral(stage, width, normalized) for stage in channels[:plain])
        self.laterals.extend(ReceptiveFieldBlock(stage, width) for stage in channels[plain:])
        self.refinements = nn.ModuleList(_refinement(width, normalized) for _ in channels)
        self.predict = nn.Conv2d(width, 1, 3, padding=1)
        self.apply(_initialize)
        nn.init.normal_(self.predict.weight, std=0.01)  # all logits start near 0
        if weights is not None:
            load_trunk(self.backbone, backbone, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Predict saliency.

        Parameters
        ----------
        images : Tensor
            Shape (B, in_channels, H, W), floating, normalized as by `network_input`. H and W are at least 16 (32 for
            ``"tiny"``).

        Returns
        -------
        Tensor
            One logit per pixel, shape (B, 1, H, W).

        Raises
        ------
        ValueError
            If the input has another number of axes or channels, or is too small for the trunk.
        """
        self._check(images)
        *finer, coarsest = (lateral(m) for lateral, m in zip(self.laterals, self.backbone(images), strict=True))
        *refine_finer, refine_coarsest = self.refinements
        merged = refine_coarsest(coarsest)
        for lateral, refine in zip(reversed(finer), reversed(refine_finer), strict=True):
            merged = refine(lateral + resized(merged, lateral.shape[-2:]))
        return resized(self.predict(merged), images.shape[-2:])

    def _check(self, images: Tensor) -> None:
        channels, least = self.settings["in_channels"], self.backbone.reduction
        if images.ndim != 4 or images.shape[1] != channels or min(images.shape[-2:]) < least:
            raise ValueError(
                f"images: expected shape (B, {channels}, H, W) with H and W at least {least}, got {tuple(images.shape)}"
            )


class FPNStudent(_Pyramid):
    """The thin student: early fusion of colour and depth, a VGG trunk and a feature pyramid.

    On VGG16 and VGG19 it has the paper's 57.9 and 78.2 MiB of float32 parameters.

    Parameters
    ----------
    backbone : {"vgg16", "vgg19", "tiny"}
        The trunk. ``"tiny"`` trains within minutes on a CPU.
    in_channels : int
        4 for colour and depth, 3 for colour alone.
    weights : path, "torchvision" or None
        Initial weights of the trunk. A path names a ``.safetensors`` or ``.pth`` file with torchvision's names
        (``features.0.weight`` and so on; the classifier is ignored), as `read_weights` reads it. ``"torchvision"``
        downloads torchvision's ImageNet weights into torch's cache (553 or 575 MB). None means random weights and
        downloads nothing.

    Raises
    ------
    ValueError
        If the backbone is unknown, if ``in_channels`` is neither 3 nor 4, if there are no weights for the backbone, or
        if the file holds other tensors than its convolutions.
    OSError
        If the file of weights is missing or cannot be downloaded.

    Notes
    -----
    The input is colour, normalized by ImageNet's mean (.485, .456, .406) and standard deviation (.229, .224, .225) as
    the published weights expect, and depth, normalized by mean .5 and deviation .25, which gives about the same range.
    The depth filters start from the mean of the colour filters. Weights from elsewhere must expect the same input.

    The pyramid normalizes VGG's feature maps in groups of 8 channels, and the weights of the last convolution start
    small, so that logits start near 0 whatever the scale of the trunk's weights. There is no batch normalization: the
    result for an image does not depend on its batch.

    References
    ----------
    Lin et al.: Feature Pyramid Networks for Object Detection, CVPR 2017.

    Examples
    --------
    >>> import torch
    >>> student = FPNStudent("tiny")
    >>> student(torch.zeros(2, 4, 96, 80)).shape
    torch.Size([2, 1, 96, 80])
    """

    def __init__(self, backbone: str = "vgg16", in_channels: int = 4, weights: Weights = None) -> None:
        super().__init__(backbone, in_channels, weights, trunk(backbone).student, receptive_fields=0)


class RFBTeacher(_Pyramid):
    """The teacher: the student's trunk, with receptive field blocks in the four coarsest levels of the pyramid.

    Parameters
    ----------
    backbone : {"vgg16", "vgg19", "tiny"}
        The trunk. With ``"tiny"`` the pyramid is three times as wide as the student's.
    in_channels : int
        4 for colour and depth, 3 for colour alone.
    weights : path, "torchvision" or None
        Initial weights of the trunk, as for `FPNStudent`.

    Raises
    ------
    ValueError, OSError
        As `FPNStudent`.

    Examples
    --------
    >>> import torch
    >>> RFBTeacher("tiny")(torch.zeros(1, 4, 33, 47)).shape
    torch.Size([1, 1, 33, 47])
    """

    def __init__(self, backbone: str = "vgg16", in_channels: int = 4, weights: Weights = None) -> None:
        super().__init__(backbone, in_channels, weights, trunk(backbone).teacher, receptive_fields=4)


def _lateral(channels: int, width: int, normalized: bool) -> nn.Module:
    """Bring a stage's map to the pyramid's width and scale.

    With published weights, some of VGG's stages give small values and others values in the hundreds. Without
    normalization one stage would dominate the sum, and the first steps of training would diverge.
    """
    convolution = nn.Conv2d(channels, width, 1)
    return convolution if normalized else nn.Sequential(convolution, GroupNorm(width // 8, width))


def _refinement(width: int, normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers.append(nn.Conv2d(width, width, 3, padding=1))
        if normalized:
            layers.append(GroupNorm(width // 8, width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module.bias, torch.Tensor):
            nn.init.zeros_(module.bias)
