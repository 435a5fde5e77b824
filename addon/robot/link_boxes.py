# SPDX-License-Identifier: GPL-3.0-or-later
"""The room that all robots of a scene take up, as one box for every link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import rigid_bodies
from .robot_in_scene import RobotInScene

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Boxes:
    """Boxes of links in the world: frames ``(B, 4, 4)`` and lowest and highest corner in them, ``(B, 2, 3)``.

    They come robot by robot, parents first.
    """

    frames: Floats
    bounds: Floats

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
        self._parts = []
        for robot in robots:
            kinematics = robot.kinematics
            found = rigid_bodies.find(robot.scene, kinematics)
            rows, bounds = [kinematics.rows[b.frame] for b in found], rigid_bodies.boxes(found)
            if not found:  # an armature without a mesh still has bones
                rows = list(range(len(kinematics.names)))
                bounds = np.zeros((len(rows), 2, 3))
            self._parts.append((kinematics, rows, bounds))
        self._bounds = np.concatenate([bounds for _, _, bounds in self._parts])

    def boxes(self, values: Mapping[str, float]) -> Boxes:
        """The boxes for the values of variables."""
        return Boxes(np.concatenate([k.frames(values)[rows] for k, rows, _ in self._parts]), self._bounds)
