# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera: intrinsics with the lens's distortion, orbiting poses and projection.

Camera frame as in OpenCV: x right, y down, z forward. The centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distortion import Lens

Floats = NDArray[np.float64]

BLENDER_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""``T_blendercam_cam``: Blender's cameras look along -z with y up. The matrix is its own inverse."""


@dataclass(frozen=True)
class Intrinsics:
    """Image size, focal lengths and principal point, all in pixels, and OpenCV's k1, k2, p1, p2, k3."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    @classmethod
    def from_lens(
        cls,
        width: int,
        height: int,
        focal_mm: float,
        sensor_mm: float = 36.0,
        *,
        principal: tuple[float, float] = (0.0, 0.0),
        distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0),
    ) -> Intrinsics:
        """Square pixels, the sensor's width across the longer side of the image.

        Args:
            principal: the principal point right of and below the image's middle, in widths and heights.
        """
        f = focal_mm / sensor_mm * max(width, height)
        cx, cy = (width - 1) / 2 + principal[0] * width, (height - 1) / 2 + principal[1] * height
        return cls(width, height, f, f, cx, cy, distortion)

    @cached_property
    def lens(self) -> Lens:
        """What the distortion does to normalised coordinates."""
        return Lens.of(self.distortion)

    @property
    def matrix(self) -> Floats:
        """Camera matrix K, ``(3, 3)``."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def project(self, points_cam: ArrayLike) -> tuple[Floats, Floats]:
        """Pixels ``(N, 2)`` and depths ``(N,)`` of points ``(N, 3)`` in the camera frame.

        Pixels are NaN for a point at or behind the camera plane, whose depth is at most zero, and for one that the
        lens does not show.
        """
        p = np.asarray(points_cam, dtype=np.float64).reshape(-1, 3)
        depth = p[:, 2]
        normalised = p[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
        return self.lens.distort(normalised) * (self.fx, self.fy) + (self.cx, self.cy), depth

    def undistort(self, uv: ArrayLike) -> Floats:
        """Where a pinhole camera with the same matrix sees what the lens shows at pixels ``(N, 2)``; NaN where the lens
        shows nothing."""
        p = np.asarray(uv, dtype=np.float64).reshape(-1, 2)
        centre, f = np.array([self.cx, self.cy]), np.array([self.fx, self.fy])
        return np.asarray(self.lens.undistort((p - centre) / f) * f + centre)

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
