# SPDX-License-Identifier: GPL-3.0-or-later
"""The room that all robots of a scene take up, as one box for every link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import rigid_bodies
from .kinematics import Kinematics
from .robot_in_scene import RobotInScene

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Boxes:
    """Boxes of links in the world: frames ``(B, 4, 4)`` and lowest and highest corner in them, ``(B, 2, 3)``.

    They come robot by robot, parents first.

    Attributes:
        tips: the numbers of the robots' outermost boxes, and in which direction of each box's frame it points
            ``(3,)``.
    """

    frames: Floats
    bounds: Floats
    tips: tuple[tuple[int, Floats], ...] = ()

    @cached_property
    def corners(self) -> Floats:
        """``(8 · B, 3)`` in the world."""
        low, high = self.bounds[:, None, 0], self.bounds[:, None, 1]
        return self._world(low + rigid_bodies.UNIT * (high - low)).reshape(-1, 3)

    @cached_property
    def centres(self) -> Floats:
        """``(B, 3)`` in the world."""
        return self._world(self.bounds.mean(axis=1, keepdims=True))[:, 0]

    @cached_property
    def thickness(self) -> Floats:
        """Half of each box's middle edge in the world, ``(B,)``."""
        scale = np.linalg.norm(self.frames[:, :3, :3], axis=1)
        return np.asarray(np.sort((self.bounds[:, 1] - self.bounds[:, 0]) * scale, axis=1)[:, 1] / 2)

    def distance(self, points: Floats) -> Floats:
        """The distance of points ``(N, 3)`` from the nearest box, ``(N,)``; zero inside one."""
        apart = points[:, None] - self.frames[None, :, :3, 3]
        scale = np.linalg.norm(self.frames[:, :3, :3], axis=1)
        local = np.einsum("nbj,bjk->nbk", apart, self.frames[:, :3, :3] / scale[:, None])
        bounds = self.bounds * scale[:, None]
        beyond = np.maximum(bounds[:, 0] - local, local - bounds[:, 1]).clip(min=0.0)
        return np.asarray(np.linalg.norm(beyond, axis=2).min(axis=1))

    def _world(self, points: Floats) -> Floats:
        return np.asarray(np.einsum("bij,bnj->bni", self.frames[:, :3, :3], points) + self.frames[:, None, :3, 3])


class Outline:
    """Finds the boxes for a draw of the joints."""

    def __init__(self, robots: Sequence[RobotInScene]) -> None:
        self._parts: list[tuple[Kinematics, list[int], Floats]] = []
        tips: list[tuple[int, Floats]] = []
        for robot in robots:
            kinematics = robot.kinematics
            found = rigid_bodies.find(robot.scene, kinematics)
            rows, bounds = [kinematics.rows[b.frame] for b in found], rigid_bodies.boxes(found)
            if not found:  # an armature without a mesh still has bones
                rows = list(range(len(kinematics.names)))
                bounds = np.zeros((len(rows), 2, 3))
            first = sum(len(r) for _, r, _ in self._parts)
            tips += [(first + tip, direction) for tip, direction in _tips(kinematics, rows, bounds)]
            self._parts.append((kinematics, rows, bounds))
        self._tips = tuple(tips)
        self._bounds = np.concatenate([bounds for _, _, bounds in self._parts])

    def boxes(self, values: Mapping[str, float]) -> Boxes:
        """The boxes for the values of variables."""
        frames = np.concatenate([k.frames(values)[rows] for k, rows, _ in self._parts])
        return Boxes(frames, self._bounds, self._tips)


def _tips(kinematics: Kinematics, rows: Sequence[int], bounds: Floats) -> list[tuple[int, Floats]]:
    """The boxes that most joints move, and the direction to each from the last box that fewer joints move, with the
    robot at rest; none where nothing moves."""
    joints = [kinematics.joints_before(kinematics.names[row]) for row in rows]
    most = max(joints)
    fewer = [i for i, n in enumerate(joints) if n < most]
    if not fewer:
        return []
    before = max(fewer, key=lambda i: joints[i])
    rest = Boxes(kinematics.rest()[list(rows)], bounds)
    found = []
    for tip in (i for i, n in enumerate(joints) if n == most):
        turn = rest.frames[tip, :3, :3] / np.linalg.norm(rest.frames[tip, :3, :3], axis=0)
        direction = (rest.centres[tip] - rest.centres[before]) @ turn
        length = float(np.linalg.norm(direction))
        if length > 0.0:
            found.append((tip, direction / length))
    return found
