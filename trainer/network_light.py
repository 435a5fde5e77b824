# SPDX-License-Identifier: GPL-3.0-or-later
"""``light``: learns from scratch in minutes on a CPU, and answers in milliseconds."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .network_base import KeypointNetwork, Output, block
from .network_config import NetworkConfig


class LightNetwork(KeypointNetwork):
    """A U-Net of 1.3 million parameters (at width 32) with output at stride 4.

    At stride 2 the last level alone took a third of the time; what it adds, decoding between cells gives as well.
    The beliefs of a keypoint are one softmax over all cells and one more for "outside the image", whose logit comes
    from the pooled deepest features: so the confidence, 1 - P(outside), is learned together with the place.
    """

    multiple = 32

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        w = self.config.width
        # Channels at strides 2, 4, 8, 16 and 32.
        c = (w, 2 * w, 3 * w, 4 * w, 4 * w)
        self.finest = {2: 0, 4: 1, 8: 2}[self.stride]
        deeper = [nn.Sequential(block(a, b, stride=2), block(b, b)) for a, b in itertools.pairwise(c)]
        self.down = nn.ModuleList([block(3, c[0], stride=2), *deeper])
        self.up = nn.ModuleList(block(c[i] + c[i + 1], c[i]) for i in range(3, self.finest - 1, -1))
        self.dropout = nn.Dropout2d(self.config.dropout)
        self.head = self.last_layer(c[self.finest])
        self.outside = self.outside_layer(c[-1])

    def compute(self, images: Tensor) -> Output:
        features = []
        x = images
        for level in self.down:
            x = level(x)
            features.append(x)
        deepest = x
        for level, skip in zip(self.up, reversed(features[self.finest : -1]), strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        maps = self.head(self.dropout(x))
        return Output((maps,), self.outside_logits(deepest, maps))
