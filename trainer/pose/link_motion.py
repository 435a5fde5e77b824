# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses of a robot's links, and the twists by which they move with the joints, batched in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Robot
from .kinematics import Chain
from .rigid_motion import as_pose

ENDS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class LinkMotion:
    """Where some links of a robot are at given joints.

    Attributes:
        links: their names; the empty one is the base, the robot's root.
        chain: of the origin and the ends of the unit vectors of each.
    """

    links: tuple[str, ...]
    chain: Chain

    @classmethod
    def of(cls, robot: Robot, links: Sequence[str], joints: Sequence[str] | None = None) -> LinkMotion:
        """For some links of a robot.

        Args:
            joints: in the order in which positions are given; all that move of their own and aren't fixed where None.

        Raises:
            UserError: if it has no such link or joint.
        """
        points = [Keypoint(link or robot.root, link or robot.root, end) for link in links for end in ENDS]
        return cls(tuple(links), Chain.of(robot, points, joints))

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints whose positions it takes."""
        return self.chain.names

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Poses and twists at joint positions ``(…, D)``, radians or metres.

        Returns:
            ``T_base_link`` ``(…, L, 4, 4)``, and the twists (ω, v) ``(…, L, 6, D)`` in the base frame that moving each
            joint gives each link.
        """
        points, slopes = self.chain.with_derivatives(positions)
        count, joints = len(self.links), len(self.joints)
        points = points.reshape(*positions.shape[:-1], count, 4, 3)
        slopes = slopes.reshape(*positions.shape[:-1], joints, count, 4, 3).movedim(-4, -3)
        place, axes = points[..., 0, :], points[..., 1:, :] - points[..., :1, :]
        # An axis r turns by ω × r, and the three r × (ω × r) add up to 2 ω.
        change = slopes[..., 1:, :] - slopes[..., :1, :]
        turn = torch.linalg.cross(axes[..., None, :, :].expand_as(change), change).sum(-2) / 2
        shift = slopes[..., 0, :] - torch.linalg.cross(turn, place[..., None, :].expand_as(turn))
        return as_pose(axes.mT, place), torch.cat([turn, shift], -1).mT
