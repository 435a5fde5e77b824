# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's kinematics in torch: keypoints and how they move with the joints, batched and differentiable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.robot.keypoints import Keypoint
from ...core.robot.robot import Joint, Robot
from .rigid_motion import cross_matrix


@dataclass(frozen=True)
class Chain:
    """Keypoints of one robot as functions of its joints.

    Joints that follow others (mimic) move with them. Held joints, and moving ones that are not in ``names``, stand at
    zero, or inside their limits where those exclude it.
    """

    robot: Robot
    keypoints: tuple[Keypoint, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, robot: Robot, keypoints: Sequence[Keypoint], names: Sequence[str] | None = None) -> Chain:
        """The chain of ``keypoints``.

        Args:
            names: the joints that its angles are given for, in this order; all that move of their own and aren't held
                where None.

        Raises:
            UserError: if a joint isn't one that can be set, or a keypoint's frame isn't one of the robot's links.
        """
        own = {j.name for j in robot.moving_joints}
        if names is None:
            names = [j.name for j in robot.moving_joints if not j.fixed]
        for name in names:
            if name not in own:
                raise UserError(
                    f"The robot {robot.name} has no joint {name!r} to set: choose from {', '.join(sorted(own))}."
                )
        for keypoint in keypoints:
            if keypoint.frame not in robot.links:
                raise UserError(
                    f"Keypoint {keypoint.name!r} sits on {keypoint.frame!r}, no link of the robot {robot.name}."
                )
        return cls(robot, tuple(keypoints), tuple(names))

    def limits(self) -> Tensor:
        """Lower and upper limits ``(2, D)``, radians or metres; infinite for joints that turn without end."""
        joints = {j.name: j for j in self.robot.moving_joints}
        rows = []
        for name in self.names:
            joint = joints[name]
            free = joint.kind == "continuous" or joint.upper <= joint.lower
            rows.append((-math.inf, math.inf) if free else (joint.lower, joint.upper))
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2).T.contiguous()

    def middle(self) -> Tensor:
        """The middle of every joint's range ``(D,)``, zero where there is none."""
        return self.limits().mean(0).nan_to_num(nan=0.0)

    def __call__(self, angles: Tensor) -> Tensor:
        """Keypoints ``(…, N, 3)`` in the base frame, metres, at joints ``(…, D)``, radians or metres."""
        return self._place(angles, derive=False)[0]

    def with_derivatives(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """The points, and their derivatives ``(…, D, N, 3)`` with respect to the joints."""
        points, derivatives = self._place(angles, derive=True)
        assert derivatives is not None
        return points, derivatives

    def _place(self, angles: Tensor, derive: bool) -> tuple[Tensor, Tensor | None]:
        batch, like = angles.shape[:-1], angles
        column = {name: k for k, name in enumerate(self.names)}
        frames: dict[str, tuple[Tensor, Tensor]] = {
            self.robot.root: (
                torch.eye(3, dtype=like.dtype, device=like.device).expand(*batch, 3, 3),
                like.new_zeros(*batch, 3),
            )
        }
        motions: dict[str, tuple[Tensor, Tensor, Joint, int, float]] = {}
        above = {j.child: j for j in self.robot.joints}
        needed = self._needed(above)
        by_name = {j.name: j for j in self.robot.joints}
        for joint in self.robot.joints:
            if joint.child not in needed:
                continue
            rotation, place = frames[joint.parent]
            origin = torch.tensor(joint.origin, dtype=like.dtype, device=like.device)
            place = place + (rotation @ origin[:3, 3:]).squeeze(-1)
            rotation = rotation @ origin[:3, :3]
            if joint.moving:
                leader, factor, offset = joint, 1.0, 0.0
                if joint.mimic is not None:
                    factor, offset = joint.mimic.multiplier, joint.mimic.offset
                    leader = by_name.get(joint.mimic.joint, joint)
                axis = torch.tensor(joint.axis, dtype=like.dtype, device=like.device)
                turned = (rotation @ axis[:, None]).squeeze(-1)
                index = column.get(leader.name, -1)
                if index >= 0:
                    position = factor * angles[..., index] + offset
                    motions[joint.child] = (turned, place, joint, index, factor)
                else:
                    stand = 0.0 if leader.mimic else min(max(0.0, leader.lower), leader.upper)
                    position = like.new_full(batch, factor * stand + offset)
                if joint.kind == "prismatic":
                    place = place + turned * position[..., None]
                else:
                    rotation = rotation @ _about(axis, position)
            frames[joint.child] = (rotation, place)
        points = []
        for keypoint in self.keypoints:
            rotation, place = frames[keypoint.frame]
            offset_ = torch.tensor(keypoint.offset, dtype=like.dtype, device=like.device)
            points.append(place + (rotation @ offset_[:, None]).squeeze(-1))
        together = torch.stack(points, -2) if points else like.new_zeros(*batch, 0, 3)
        if not derive:
            return together, None
        derivatives = like.new_zeros(*batch, len(self.names), len(points), 3)
        for k, keypoint in enumerate(self.keypoints):
            link = keypoint.frame
            while link in above:
                if link in motions:
                    turned, place, joint, index, factor = motions[link]
                    slides = joint.kind == "prismatic"
                    change = turned if slides else torch.linalg.cross(turned, points[k] - place)
                    derivatives[..., index, k, :] += factor * change
                link = above[link].parent
        return together, derivatives

    def _needed(self, above: dict[str, Joint]) -> set[str]:
        needed: set[str] = set()
        for keypoint in self.keypoints:
            link = keypoint.frame
            while link in above and link not in needed:
                needed.add(link)
                link = above[link].parent
        return needed


def _about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations ``(…, 3, 3)`` by ``angle`` ``(…)`` radians about a unit ``axis`` ``(3,)``."""
    k = cross_matrix(axis)
    s, c = angle.sin()[..., None, None], angle.cos()[..., None, None]
    return torch.eye(3, dtype=axis.dtype, device=axis.device) + s * k + (1 - c) * (k @ k)
