# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks learn by: a loss of each stage and each image, of maps, of coordinates, or of both.

Two families. ``l2`` and ``smooth_l1`` squash every cell by itself (a sigmoid) and want a Gaussian of height one
[Heindl2019, III-A]. ``cross_entropy``, ``coordinates`` and ``sum`` take all cells of a map and one more, "outside the
image", as one distribution (a softmax) and want a Gaussian of mass one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from . import codec, curve_fit

MAP_LOSSES = ("l2", "smooth_l1")
DISTRIBUTION_LOSSES = ("cross_entropy", "coordinates", "sum")
LOSSES = (*MAP_LOSSES, *DISTRIBUTION_LOSSES)

BEND = 0.1
"""Where smooth L1 turns from squares to lines; maps lie in 0 … 1, so that the usual 1 would leave squares alone."""

OCCLUDED = 1
"""Visibility of a keypoint inside the image that something hides (COCO)."""


def weights_of(visibility: Tensor, occluded_weight: float) -> Tensor | None:
    """What each keypoint weighs: ``occluded_weight`` where something hides it, nothing where it isn't annotated, else
    1; None where all weigh 1.

    Args:
        visibility: as COCO has it, ``(B, J)``: 0 outside, 1 occluded, 2 visible; -1 not annotated.

    Returns:
        ``(B, J)`` float32 on the same device.
    """
    unknown = visibility < 0
    if occluded_weight == 1.0 and not bool(unknown.any()):
        return None
    return torch.where(visibility == OCCLUDED, occluded_weight, 1.0).float().masked_fill(unknown, 0.0)


def squash(loss: str, logits: Tensor) -> Tensor:
    """Belief maps of a network that learns by ``loss``: one sigmoid per cell, or a softmax over each map's cells."""
    if loss in MAP_LOSSES:
        return torch.sigmoid(logits)
    return torch.softmax(logits.flatten(2), -1).view_as(logits)


def confidence(loss: str, logits: Tensor, outside: Tensor | None) -> Tensor:
    """Belief that each keypoint lies inside the image, ``(B, J)``.

    By a distribution, it is 1 - P(outside), which is learned. By maps it is a map's highest value: the targets of
    keypoints outside are empty [Heindl2019, III-A].
    """
    cells = logits.flatten(2)
    if outside is None:
        return torch.sigmoid(cells.amax(-1))
    return torch.sigmoid(torch.logsumexp(cells, -1) - outside)


def stage_losses(
    loss: str, logits: Sequence[Tensor], outside: Tensor | None, keypoints: Tensor, width: int, height: int,
    stride: int, sigma: float, weights: Tensor | None = None, *, fitted: bool = False,
) -> Tensor:  # fmt: skip
    """Loss of each stage and image ``(S, B)``, a mean over keypoints.

    Args:
        loss: one of :data:`LOSSES`.
        logits: a map ``(B, J, H, W)`` of each stage.
        outside: logits ``(B, J)``; of distributions only.
        keypoints: pixels of the input ``(B, J, 2)``; NaN is outside.
        width, height: of the input.
        weights: of the keypoints ``(B, J)``; they don't change what the others add.
        fitted: whether keypoints are decoded by :mod:`.curve_fit`, so that those a little outside the image have a
            target as well, and coordinates are those of the fit.
    """
    margin = curve_fit.margin(sigma) if fitted else 0.0
    target = codec.encode(keypoints, width, height, stride, sigma, peak=loss in MAP_LOSSES, margin=margin)
    if loss in MAP_LOSSES:
        each = [_map_loss(loss, m, target) for m in logits]
    else:
        assert outside is not None
        beyond = ~codec.inside(keypoints, width, height, margin)
        # Means are of cells on both sides, so that a keypoint beyond the outermost cell's centre asks for nothing
        # impossible; a curve's centre may be where the keypoint itself is.
        wanted = torch.where(beyond[..., None], 0.0, keypoints) if fitted else _mean(target, stride)
        each = [
            _distribution_loss(loss, m, outside, target, beyond, stride, sigma, wanted, fitted=fitted) for m in logits
        ]
    stacked = torch.stack(each)
    return (stacked if weights is None else stacked * weights).mean(-1)


def _map_loss(loss: str, logits: Tensor, target: Tensor) -> Tensor:
    """``(B, J)``: summed over cells, nearly all of which are empty, so that a mean's gradients would be tiny."""
    maps = torch.sigmoid(logits)
    if loss == "l2":
        return ((maps - target) ** 2).sum((-2, -1))
    return F.smooth_l1_loss(maps, target, reduction="none", beta=BEND).sum((-2, -1))


def _distribution_loss(
    loss: str, logits: Tensor, outside: Tensor, target: Tensor, beyond: Tensor, stride: int, sigma: float,
    wanted: Tensor, *, fitted: bool,
) -> Tensor:  # fmt: skip
    """``(B, J)``.

    ``cross_entropy`` is less the target's own entropy, so that zero means that all is learned. ``coordinates`` is how
    far the mean of the map, or with ``fitted`` its curve's centre, lies from ``wanted`` ``(B, J, 2)``, in targets'
    widths, squared below one width; whether a keypoint is outside, which no coordinate tells, adds its own
    cross-entropy.
    """
    cells = logits.flatten(2)
    result = torch.zeros_like(outside)
    if loss in ("cross_entropy", "sum"):
        log_p = torch.log_softmax(torch.cat([cells, outside[..., None]], -1), -1)
        shares = target.flatten(2)
        entropy: Tensor = torch.special.entr(shares).sum(-1)
        result = -(shares * log_p[..., :-1]).sum(-1) - beyond * log_p[..., -1] - entropy
    if loss in ("coordinates", "sum"):
        maps = torch.softmax(cells, -1).view_as(logits)
        found = curve_fit.locate(maps, stride, sigma).positions if fitted else _mean(maps, stride)
        distance = (found - wanted).square().sum(-1) / sigma**2
        huber = torch.where(distance < 1, 0.5 * distance, distance.clamp_min(1.0).sqrt() - 0.5)
        result = result + huber * ~beyond
    if loss == "coordinates":
        odds = torch.logsumexp(cells, -1) - outside
        result = result + F.binary_cross_entropy_with_logits(odds, (~beyond).float(), reduction="none")
    return result


def _mean(maps: Tensor, stride: int) -> Tensor:
    """``(B, J, 2)`` pixels; zero of empty maps."""
    height, width = maps.shape[-2:]
    x = codec.cell_centres(width, stride, maps.device).to(maps.dtype)
    y = codec.cell_centres(height, stride, maps.device).to(maps.dtype)
    return torch.stack([(maps.sum(-2) * x).sum(-1), (maps.sum(-1) * y).sum(-1)], -1)
