# SPDX-License-Identifier: GPL-3.0-or-later
"""``vgg``: the network of [Heindl2019, III-A] on the features of [Simonyan2014]."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..maps import losses
from . import pretrained_weights
from .base import KeypointNetwork, Output, block
from .config import NetworkConfig

HIDDEN_CHANNELS = 512

ALIGNED = 8
"""Graphics cards multiply matrices fast where channels are a multiple of this."""


class AlignedConv(nn.Conv2d):
    """A convolution that, on a graphics card, has channels of zeros added up to a multiple of :data:`ALIGNED`."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H, W)``."""
        beyond = -self.in_channels % ALIGNED
        if not beyond or x.device.type != "cuda":
            return super().forward(x)
        zeros = (0, 0, 0, 0, 0, beyond)
        return F.conv2d(F.pad(x, zeros), F.pad(self.weight, zeros), self.bias, self.stride, self.padding)


class VggNetwork(KeypointNetwork):
    """VGG features at stride 4, a first stage, then stages that see the last beliefs [Heindl2019, III-A, Fig. 2].

    The loss after each stage, averaged, is the squared difference of sigmoid maps and Gaussians of height one, summed
    over a map's cells. At stride 2 the second pooling is left out, at stride 8 there is a third one.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.multiple = self.stride
        layers: list[nn.Module] = []
        inputs = 3
        poolings = {2: (0,), 4: (0, 1), 8: (0, 1, 2)}[self.stride]
        for level, channels in enumerate(((64, 64), (128, 128), (256,))):
            for outputs in channels:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            if level in poolings:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        first = self._stage(256, 3, 3)
        later = [self._stage(256 + self.config.keypoints, 5, 7) for _ in range(self.config.stages - 1)]
        self.stages = nn.ModuleList([first, *later])
        self.outside = self.outside_layer(256)

    def _stage(self, inputs: int, blocks: int, size: int) -> nn.Sequential:
        w = self.config.width
        convolutions = [block(inputs if i == 0 else w, w, size, convolution=AlignedConv) for i in range(blocks)]
        # Dropout has no weights: beside the rectifier it leaves the layers' numbers as they are in older files.
        rectifier = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout2d(self.config.dropout))
        return nn.Sequential(
            *convolutions, nn.Conv2d(w, HIDDEN_CHANNELS, 1), rectifier, self.last_layer(HIDDEN_CHANNELS)
        )

    def load_pretrained(self, file: str | Path = "") -> None:
        """Take the features from torchvision's VGG-19; see :func:`.pretrained_weights.fetch`.

        Raises:
            UserError: if they can't be had.
        """
        from torchvision.models import VGG19_Weights

        mine = [m for m in self.features if isinstance(m, nn.Conv2d)]
        places = (0, 2, 5, 7, 10)
        names = {f"features.{i}.{part}": getattr(m, part) for i, m in zip(places, mine, strict=True) for part in (
            "weight", "bias")}  # fmt: skip
        pretrained_weights.copy(VGG19_Weights.IMAGENET1K_V1, "VGG-19", names, file)

    def compute(self, images: Tensor) -> Output:
        features = self.features(images)
        logits: list[Tensor] = [self.stages[0](features)]
        for stage in self.stages[1:]:
            logits.append(stage(torch.cat([features, losses.squash(self.config.loss, logits[-1])], 1)))
        return Output(tuple(logits), self.outside_logits(features, logits[-1]))
