# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints from a Gaussian that is fitted to each belief map around its peak [US12387346, paragraphs 16 and 25].

A mean of cells lies between them, so it never leaves the image. A curve's centre does: the flank of a Gaussian whose
centre lies outside tells where that is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import codec
from .soft_argmax import gaussian_fit

MARGIN = 3.0
"""How far outside the image a centre may lie, in standard deviations of the targets: there the flank's highest value is
a hundredth of the peak's."""

LEAST_SIGMA = 1.0
"""Cells. Of a narrower Gaussian outside the image, no second cell has a share worth the name, and one has no slope."""


def margin(sigma: float) -> float:
    """How far outside the image keypoints are found and taught, pixels."""
    return MARGIN * sigma


def locate(maps: Tensor, stride: int, sigma: float) -> codec.Points:
    """One keypoint for each map, differentiable; up to :func:`margin` outside the image.

    The fit takes the cells within three standard deviations, and a cell, of the highest neighbourhood, so that another
    peak doesn't pull. Where they curve upwards, or so little that the centre would lie further from their mean than
    that, the mean stands instead. NaN in a map is NaN in its position.

    Args:
        maps: ``(B, J, H, W)``, not negative, of any height or mass.
        sigma: the targets' standard deviation, pixels.

    Returns:
        Points whose covariances are those of the Gaussians, in the maps' type, float32 at least.
    """
    values = maps if maps.dtype == torch.float64 else maps.float()
    h, w = values.shape[-2:]
    cells = codec.smooth(values).flatten(2).argmax(-1)
    means, spreads, masses = (t[:, :, 0] for t in codec.around(values, cells[..., None], stride, sigma))
    reach = codec.radius(stride, sigma)
    spots = gaussian_fit(codec.cut(values, cells[..., None], reach)[:, :, 0], stride, expected=sigma)
    corner = torch.stack([cells % w, cells // w], -1) - reach
    centres = corner * stride + spots.positions
    fits = spots.valid & ((centres - means).abs().amax(-1) <= reach * stride)
    most = margin(sigma)
    u = centres[..., 0].clamp(-0.5 - most, w * stride - 0.5 + most)
    v = centres[..., 1].clamp(-0.5 - most, h * stride - 0.5 + most)
    bounded = torch.stack([u, v], -1)
    positions = torch.where(fits[..., None], bounded, means)
    covariances = torch.where(fits[..., None, None], spots.covariances, spreads.to(spots.covariances))
    highest = values.flatten(2).amax(-1)
    return codec.Points(positions.to(values), covariances.to(values), highest, masses)
