# SPDX-License-Identifier: GPL-3.0-or-later
"""Intermediate supervision of the maps' shape [US12387346, paragraph 39]: how wide they spread, and over what range
of values. Both are compared with the target's, by the logarithm of a ratio, squared where it is small.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from . import codec, losses


def width_losses(loss: str, logits: Tensor, target: Tensor, stride: int) -> Tensor:
    """``(B, J)``: of the root mean square distance of a map's mass from its mean; 0 where the target is empty.

    Args:
        loss: what the network learns by, which says what its logits mean.
        logits: ``(B, J, H, W)``.
        target: likewise, from :func:`.codec.encode`.
    """
    _, own = codec.moments(losses.squash(loss, logits.float()), stride)
    _, wanted = codec.moments(target, stride)
    # A cell has an extent of its own, without which a map with all in one cell would have no width to compare.
    cell = stride * stride / 6
    ratio = 0.5 * torch.log((_trace(own) + cell) / (_trace(wanted) + cell))
    return _small_squared(ratio, target)


def range_losses(loss: str, logits: Tensor, target: Tensor) -> Tensor:
    """``(B, J)``: of a map's highest value; 0 where the target is empty. See :func:`width_losses`."""
    cells = logits.float().flatten(2)
    highest = cells.amax(-1)
    own = F.logsigmoid(highest) if loss in losses.MAP_LOSSES else highest - cells.logsumexp(-1)
    wanted = target.flatten(2).amax(-1).clamp_min(1e-30).log()
    return _small_squared(own - wanted, target)


def _trace(covariances: Tensor) -> Tensor:
    return covariances[..., 0, 0] + covariances[..., 1, 1]


def _small_squared(ratio: Tensor, target: Tensor) -> Tensor:
    bent = F.smooth_l1_loss(ratio, torch.zeros_like(ratio), reduction="none")
    return torch.where(target.flatten(2).amax(-1) > 0, bent, 0.0)
