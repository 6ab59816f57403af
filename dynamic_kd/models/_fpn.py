"""Feature pyramid networks: the student, and the teacher that sees wider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from dynamic_kd.models._backbone import Backbone, plan
from dynamic_kd.models._rfb import ReceptiveFieldBlock

if TYPE_CHECKING:
    from torch import Tensor


class _Pyramid(nn.Module):
    """A trunk, a lateral layer for each stage, and a path from coarse to fine that adds them up."""

    def __init__(self, backbone: str, in_channels: int, width: int, receptive_fields: int) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ValueError(f"in_channels: expected 3 (colour) or 4 (colour and depth), got {in_channels!r}")
        self.settings = {"backbone": backbone, "in_channels": in_channels}
        self.backbone = Backbone(backbone, in_channels)
        channels = self.backbone.channels
        plain = len(channels) - receptive_fields
        self.laterals = nn.ModuleList(nn.Conv2d(stage, width, 1) for stage in channels[:plain])
        self.laterals.extend(ReceptiveFieldBlock(stage, width) for stage in channels[plain:])
        self.refinements = nn.ModuleList(_refinement(width, plan(backbone).normalized) for _ in channels)
        self.predict = nn.Conv2d(width, 1, 3, padding=1)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to saliency.

        Parameters
        ----------
        images : Tensor
            Shape (B, in_channels, H, W), floating, colour by ImageNet's mean and standard deviation; H and W are at
            least 16 (32 for ``"tiny"``).

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
            merged = refine(lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="bilinear"))
        return F.interpolate(self.predict(merged), size=images.shape[-2:], mode="bilinear")

    def _check(self, images: Tensor) -> None:
        channels, least = self.settings["in_channels"], self.backbone.reduction
        if images.ndim != 4 or images.shape[1] != channels or min(images.shape[-2:]) < least:
            raise ValueError(
                f"images: expected shape (B, {channels}, H, W) with H and W at least {least}, got {tuple(images.shape)}"
            )


class FPNStudent(_Pyramid):
    """The thin student: colour and depth enter as one image (early fusion), a feature pyramid finds the salient object.

    On VGG16 and VGG19 it has the paper's 57.9 and 78.2 MiB of float32 parameters.

    Parameters
    ----------
    backbone : {"vgg16", "vgg19", "tiny"}
        The trunk; ``"tiny"`` trains within minutes on a processor.
    in_channels : int
        4 for colour and depth, 3 for colour alone.

    Raises
    ------
    ValueError
        If the backbone is unknown or the number of channels is another.

    Notes
    -----
    Weights are random; nothing is downloaded. There is no batch normalisation, so an image's result does not depend
    on its batch.

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

    def __init__(self, backbone: str = "vgg16", in_channels: int = 4) -> None:
        super().__init__(backbone, in_channels, plan(backbone).student, receptive_fields=0)


class RFBTeacher(_Pyramid):
    """The teacher: the student's trunk, with receptive field blocks in the four coarsest levels of the pyramid.

    Parameters
    ----------
    backbone : {"vgg16", "vgg19", "tiny"}
        The trunk; with ``"tiny"`` the pyramid is three times as wide as the student's.
    in_channels : int
        4 for colour and depth, 3 for colour alone.

    Raises
    ------
    ValueError
        If the backbone is unknown or the number of channels is another.

    Examples
    --------
    >>> import torch
    >>> RFBTeacher("tiny")(torch.zeros(1, 4, 33, 47)).shape
    torch.Size([1, 1, 33, 47])
    """

    def __init__(self, backbone: str = "vgg16", in_channels: int = 4) -> None:
        super().__init__(backbone, in_channels, plan(backbone).teacher, receptive_fields=4)


def _refinement(width: int, normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers.append(nn.Conv2d(width, width, 3, padding=1))
        if normalized:
            layers.append(nn.GroupNorm(width // 8, width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module.bias, torch.Tensor):
            nn.init.zeros_(module.bias)
