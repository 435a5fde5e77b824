# SPDX-License-Identifier: GPL-3.0-or-later
"""``light``: learns from scratch in minutes on a CPU, and answers in milliseconds."""

from __future__ import annotations

import itertools

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .base import KeypointNetwork, Output, block
from .config import NetworkConfig


class LightNetwork(KeypointNetwork):
    """A U-Net [Ronneberger2015] of 2.4 million parameters (at width 32) with output at stride 4.

    Most of its channels are where cells are few. On the way up coarse features are narrowed before they are added to
    the finer ones: wide ones beside them cost a third of all operations and found keypoints no better. At stride 2 the
    last level alone would take a third of the time; what it adds, decoding between cells gives as well.
    The beliefs of a keypoint are one softmax over all cells and one more for "outside the image", whose logit comes
    from the pooled deepest features: so the confidence, 1 - P(outside), is learned together with the place.
    """

    multiple = 32

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        w = self.config.width
        # Channels at strides 2, 4, 8, 16 and 32.
        c = (w, 2 * w, w * 7 // 2, 6 * w, 8 * w)
        deeper = [nn.Sequential(block(a, b, stride=2), block(b, b)) for a, b in itertools.pairwise(c)]
        self.down = nn.ModuleList([block(3, c[0], stride=2), *deeper])
        upwards = range(3, self.finest - 1, -1)
        self.narrow = nn.ModuleList(nn.Conv2d(c[i + 1], c[i], 1, bias=False) for i in upwards)
        self.up = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c[i]), nn.ReLU(inplace=True), block(c[i], c[i])) for i in upwards
        )
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
        skips = reversed(features[self.finest : -1])
        for narrow, level, skip in zip(self.narrow, self.up, skips, strict=True):
            x = level(F.interpolate(narrow(x), scale_factor=2.0, mode="nearest") + skip)
        maps = self.head(self.dropout(x))
        return Output((maps,), self.outside_logits(deepest, maps))
