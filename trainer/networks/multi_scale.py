# SPDX-License-Identifier: GPL-3.0-or-later
"""Belief maps of several sizes of an image, averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..maps import codec
from .base import Beliefs, KeypointNetwork


def beliefs_over_scales(network: KeypointNetwork, images: Tensor, scales: Sequence[float]) -> Beliefs:
    """The mean over ``scales`` of what the network believes of the images, on the grid of scale 1.

    :meth:`.KeypointNetwork.locate` takes the keypoints from it.

    Args:
        images: normalised ``(B, 3, H, W)``.
        scales: factors of the images' size, above 0; at least one.
    """
    height, width = images.shape[-2:]
    cells = (codec.grid_size(height, network.stride), codec.grid_size(width, network.stride))
    found = [_beliefs(network, images, scale, cells) for scale in scales]
    maps = torch.stack([f.maps for f in found]).mean(0)
    return Beliefs(maps, torch.stack([f.confidence for f in found]).mean(0))


def _beliefs(network: KeypointNetwork, images: Tensor, scale: float, cells: tuple[int, int]) -> Beliefs:
    height, width = images.shape[-2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if size == (height, width):
        return network.beliefs(network(images))
    resized = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    resized = resized.contiguous(memory_format=torch.channels_last)
    beliefs = network.beliefs(network(resized))
    maps = codec.resample(beliefs.maps, cells, (size[0] / height, size[1] / width))
    if network.is_distribution:
        maps = maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-30)
    return Beliefs(maps, beliefs.confidence)
