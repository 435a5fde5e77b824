# SPDX-License-Identifier: GPL-3.0-or-later
"""Covariances that tell how far off keypoints are: what a model learns about its own errors on held-out images.

A belief map is as wide as the target that it was taught, however certain a keypoint's place is. So the target's own
variance comes off first, and what is left is multiplied with a number for each keypoint. That number makes the median
of the errors what it should be, not their mean: a keypoint that is taken for another one lies so far off that a few of
these would make all the others' ellipses far too large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..maps.losses import DISTRIBUTION_LOSSES
from .config import NetworkConfig

MEDIAN = math.log(4)
"""Of chi-square with two degrees of freedom."""

LEAST_SHARE = 0.1
"""Of the target's own variance, which is left of a map that is as narrow as its target, or narrower."""

LEAST_COUNT = 16
"""Errors from which a keypoint's own scale is learned; one with fewer has the scale of all together."""

LARGEST_SCALE = 1e4
"""A scale is at most this, and at least one over it."""


@dataclass(frozen=True)
class Calibration:
    """What makes covariances of belief maps into those of the keypoints' errors.

    Attributes:
        scales: one factor for each keypoint.
        own: the target's own variance, pixels² of the network's input.
        images: from how many it was learned.
    """

    scales: tuple[float, ...]
    own: float = 0.0
    images: int = 0

    @classmethod
    def start(cls, config: NetworkConfig) -> Calibration:
        """The calibration of a network that has learned none yet: scales of one."""
        c = config.resolved()
        own = c.sigma**2
        if c.loss in DISTRIBUTION_LOSSES and not c.is_fitted:
            own += c.stride**2 / 6  # of splitting mass linearly between cells
        if c.loss == "coordinates":
            own = 0.0  # which are taught without a target
        return cls((1.0,) * c.keypoints, own)

    def __call__(self, covariances: Tensor) -> Tensor:
        """Covariances ``(…, J, 2, 2)`` in pixels² of the network's input, calibrated."""
        scales = _brought(self.scales, covariances.dtype, covariances.device)
        return _without(covariances, self.own) * scales[:, None, None]

    def learned(self, errors: Tensor) -> Calibration:
        """Scales that give the errors the median that they should have, ln 4, which a few wild errors don't move.

        Args:
            errors: normalised squared errors ``(N, J)`` of what this calibration gave; those that aren't finite don't
                count.
        """
        good = errors.isfinite() & (errors >= 0)
        known = torch.where(good, errors.double(), math.nan)
        pooled = _factor(known.reshape(-1, 1))
        factors = torch.where(good.sum(0) >= LEAST_COUNT, _factor(known), pooled)
        # Where half of the errors are exactly zero there is nothing to scale.
        factors = torch.where(factors > 0, factors, 1.0)
        scales = (factors * torch.tensor(self.scales, dtype=factors.dtype, device=factors.device)).tolist()
        bounded = tuple(min(max(s, 1 / LARGEST_SCALE), LARGEST_SCALE) for s in scales)
        return replace(self, scales=bounded, images=len(errors))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, as a model file holds them."""
        return {"scales": list(self.scales), "own": self.own, "images": self.images}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], keypoints: int) -> Calibration:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one for so many keypoints.
        """
        scales, own, images = tuple(float(s) for s in data["scales"]), float(data["own"]), int(data["images"])
        if len(scales) != keypoints or not all(math.isfinite(s) and s > 0 for s in scales):
            raise ValueError("the calibration does not have a positive scale for each keypoint")
        if not (math.isfinite(own) and own >= 0):
            raise ValueError(f"a target of variance {own}")
        return cls(scales, own, images)


def _factor(errors: Tensor) -> Tensor:
    """``(J,)`` of ``(N, J)``; NaN of no errors."""
    if not len(errors):
        return errors.new_full(errors.shape[1:], math.nan)
    return errors.nanquantile(0.5, dim=0) / MEDIAN


@lru_cache(maxsize=16)
def _brought(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, where they are needed again and again."""
    return torch.tensor(numbers, dtype=dtype, device=device)


def _without(covariances: Tensor, own: float) -> Tensor:
    """Covariances whose variances in every direction are less by ``own``, though not below a share of it."""
    if own == 0.0:
        return covariances
    a, b, c = covariances[..., 0, 0], covariances[..., 1, 1], covariances[..., 0, 1]
    middle, half = (a + b) / 2, torch.hypot((a - b) / 2, c)
    least = LEAST_SHARE * own
    high, low = (middle + half - own).clamp_min(least), (middle - half - own).clamp_min(least)
    # The directions stay as they are: only the lengths of the two axes change.
    ratio = torch.where(half > 0, (high - low) / (2 * half).clamp_min(1e-12), 1.0)
    mean = (high + low) / 2
    turned = covariances - middle[..., None, None] * torch.eye(2).to(covariances)
    return turned * ratio[..., None, None] + mean[..., None, None] * torch.eye(2).to(covariances)
