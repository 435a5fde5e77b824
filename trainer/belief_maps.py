# SPDX-License-Identifier: GPL-3.0-or-later
"""Belief-map codec: keypoints in pixels to maps at a network's stride, and back, to a fraction of a pixel.

Cell ``i`` of a map with stride ``s`` has its centre at pixel ``s·i + (s - 1)/2``: it covers pixels ``s·i`` to
``s·i + s - 1``. A keypoint outside the image area, or NaN (behind the camera), has an empty map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True)
class Points:
    """Decoded keypoints, in pixels of the network's input.

    Attributes:
        positions: (u, v), ``(B, J, 2)``.
        covariances: second moments of the belief around them, pixels², ``(B, J, 2, 2)``.
        peaks: highest value of each map, ``(B, J)``.
    """

    positions: Tensor
    covariances: Tensor
    peaks: Tensor


def grid_size(pixels: int, stride: int) -> int:
    """Cells along an edge of ``pixels`` pixels."""
    return -(-pixels // stride)


def cell_centres(count: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Pixel coordinate of each cell's centre along one axis, ``(count,)`` float64."""
    return torch.arange(count, dtype=torch.float64, device=device) * stride + (stride - 1) / 2


def inside(keypoints: Tensor, width: int, height: int) -> Tensor:
    """Whether each keypoint ``(…, 2)`` lies in the image area; NaN does not. Boolean ``(…)``."""
    u, v = keypoints[..., 0], keypoints[..., 1]
    return (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)


def encode(keypoints: Tensor, width: int, height: int, stride: int, sigma: float, *, peak: bool = False) -> Tensor:
    """Gaussian targets with sub-pixel centres.

    Args:
        keypoints: pixels ``(B, J, 2)``.
        sigma: standard deviation, pixels.
        peak: height 1 at the keypoint (paper, III-A) instead of a total mass of 1.

    Returns:
        ``(B, J, H, W)`` float32, all zero for keypoints outside the image.
    """
    within = inside(keypoints, width, height)
    points = torch.where(within[..., None], keypoints, 0.0).double()
    axis = _gaussian if peak else _spread
    across = axis(points[..., 0], grid_size(width, stride), stride, sigma)
    down = axis(points[..., 1], grid_size(height, stride), stride, sigma)
    if not peak:
        across = across / across.sum(-1, keepdim=True)
        down = down / down.sum(-1, keepdim=True)
    down = down * within[..., None]
    return (down[..., :, None] * across[..., None, :]).float()


def _gaussian(centre: Tensor, count: int, stride: int, sigma: float) -> Tensor:
    distance = cell_centres(count, stride, centre.device) - centre[..., None]
    return torch.exp(-0.5 * (distance / sigma) ** 2)


def _spread(centre: Tensor, count: int, stride: int, sigma: float) -> Tensor:
    """Share of a Gaussian's mass for each cell, every point's mass split linearly between its two nearest cells.

    Linear splitting keeps the mean exact however narrow the Gaussian is; sampling or integrating it does not. The
    share is the second difference of the Gaussian's twice integrated density.
    """

    def twice_integrated(z: Tensor) -> Tensor:
        density = torch.exp(-0.5 * (z / sigma) ** 2) / math.sqrt(2 * math.pi)
        below: Tensor = torch.special.ndtr(z / sigma)
        return z * below + sigma * density

    distance = centre[..., None] - cell_centres(count, stride, centre.device)
    difference = (
        twice_integrated(distance + stride) - 2 * twice_integrated(distance) + twice_integrated(distance - stride)
    )
    return (difference / stride).clamp_min(0.0)


def decode(maps: Tensor, stride: int, sigma: float) -> Points:
    """The highest peak of each map, refined by the mean of the belief around it (local soft-argmax).

    The peak is the cell whose neighbourhood of 3 × 3 holds most belief, which for one robot is what non-maximum
    suppression and choosing the best survivor come to (paper, III-D).

    Args:
        maps: ``(B, J, H, W)``, not negative.
        sigma: the targets' standard deviation, pixels; it sets the window, ±(3 σ + one cell).
    """
    maps = maps.float()
    b, j, h, w = maps.shape
    smooth = F.avg_pool2d(maps, 3, stride=1, padding=1)
    best = smooth.flatten(2).argmax(-1)
    row, column = best // w, best % w

    radius = math.ceil(3 * sigma / stride + 1)
    offset = torch.arange(-radius, radius + 1, device=maps.device)
    rows = row[..., None] + offset
    columns = column[..., None] + offset
    valid = ((rows >= 0) & (rows < h))[..., :, None] & ((columns >= 0) & (columns < w))[..., None, :]
    index = rows.clamp(0, h - 1)[..., :, None] * w + columns.clamp(0, w - 1)[..., None, :]
    weight = maps.flatten(2).gather(2, index.flatten(2)).view(b, j, len(offset), len(offset)) * valid
    weight = weight / weight.sum((-2, -1), keepdim=True).clamp_min(1e-30)

    d = offset.to(weight.dtype)
    across, down = weight.sum(-2), weight.sum(-1)
    du, dv = (across * d).sum(-1), (down * d).sum(-1)
    uu = (across * d**2).sum(-1) - du**2
    vv = (down * d**2).sum(-1) - dv**2
    uv = (weight * d[:, None] * d[None, :]).sum((-2, -1)) - du * dv
    covariance = torch.stack([torch.stack([uu, uv], -1), torch.stack([uv, vv], -1)], -2) * stride**2
    position = torch.stack([column + du, row + dv], -1) * stride + (stride - 1) / 2
    return Points(position, covariance, maps.flatten(2).amax(-1))
