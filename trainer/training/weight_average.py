# SPDX-License-Identifier: GPL-3.0-or-later
"""A running average of the weights, which finds keypoints better than the last weights do."""

from __future__ import annotations

import copy

import torch

from ..networks.factory import KeypointNetwork


class Average:
    """The running average of a network's weights; :attr:`network` is validated and kept."""

    def __init__(self, source: KeypointNetwork, keep: float) -> None:
        """Begin with the weights as they are.

        Args:
            keep: share of the average that a step keeps, once there have been many; 0 takes the weights as they are.
        """
        self.keep = keep
        self.source = source
        self.network = copy.deepcopy(source).eval().requires_grad_(False) if keep > 0 else source

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``."""
        if self.keep == 0:
            return
        keep = min(self.keep, (1 + step) / (10 + step))
        average, present = list(self.network.state_dict().values()), list(self.source.state_dict().values())
        torch._foreach_lerp_(
            [a for a in average if a.is_floating_point()], [p for p in present if p.is_floating_point()], 1.0 - keep
        )
        for a, p in zip(average, present, strict=True):
            if not a.is_floating_point():
                a.copy_(p)
