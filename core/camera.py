# SPDX-License-Identifier: GPL-3.0-or-later
"""Pinhole camera: intrinsics, orbiting poses and projection.

Camera frame as in OpenCV: x right, y down, z forward. The centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BLENDER_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""``T_blendercam_cam``: Blender's cameras look along -z with y up. The matrix is its own inverse."""


@dataclass(frozen=True)
class Intrinsics:
    """Image size and focal lengths and principal point, all in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_lens(cls, width: int, height: int, focal_mm: float, sensor_mm: float = 36.0) -> Intrinsics:
        """Square pixels, the sensor's width across the longer side of the image, the principal point in its middle."""
        f = focal_mm / sensor_mm * max(width, height)
        return cls(width, height, f, f, (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> Floats:
        """Camera matrix K, ``(3, 3)``."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def project(self, points_cam: ArrayLike) -> tuple[Floats, Floats]:
        """Pixels ``(N, 2)`` and depths ``(N,)`` of points ``(N, 3)`` in the camera frame.

        A point at or behind the camera plane has pixels NaN and a depth of at most zero.
        """
        p = np.asarray(points_cam, dtype=np.float64).reshape(-1, 3)
        depth = p[:, 2]
        z = np.where(depth > 0, depth, np.nan)
        uv = np.stack([self.fx * p[:, 0] / z + self.cx, self.fy * p[:, 1] / z + self.cy], axis=1)
        return uv, depth

    def contains(self, uv: ArrayLike) -> NDArray[np.bool_]:
        """Whether each pixel position ``(N, 2)`` lies inside the image area; NaN does not."""
        p = np.asarray(uv, dtype=np.float64).reshape(-1, 2)
        return (p[:, 0] >= -0.5) & (p[:, 0] < self.width - 0.5) & (p[:, 1] >= -0.5) & (p[:, 1] < self.height - 0.5)


def orbit(azimuth: float, elevation: float, distance: float, roll: float, target: ArrayLike) -> Floats:
    """``T_world_cam`` ``(4, 4)`` of a camera that orbits ``target`` and looks at it; z is up in the world.

    Args:
        azimuth: angle about z, 0 on the +x side, radians.
        elevation: angle above the horizon, radians, below ±π/2.
        distance: metres from the target.
        roll: turn about the viewing direction, radians, positive clockwise in the image's own frame.
        target: point ``(3,)`` in the world, metres.
    """
    t = np.asarray(target, dtype=np.float64)
    outward = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    forward = -outward
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    pose = np.eye(4)
    pose[:3, 0] = c * right + s * down
    pose[:3, 1] = -s * right + c * down
    pose[:3, 2] = forward
    pose[:3, 3] = t + distance * outward
    return pose


def transform(matrix: ArrayLike, points: ArrayLike) -> Floats:
    """Apply ``T_a_b`` ``(4, 4)`` to points ``(N, 3)`` in frame b."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(np.asarray(points, dtype=np.float64).reshape(-1, 3) @ m[:3, :3].T + m[:3, 3])


def invert(matrix: ArrayLike) -> Floats:
    """``T_b_a`` of a rigid ``T_a_b`` ``(4, 4)``."""
    m = np.asarray(matrix, dtype=np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = m[:3, :3].T
    inverse[:3, 3] = -m[:3, :3].T @ m[:3, 3]
    return inverse
