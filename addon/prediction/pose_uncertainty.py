# SPDX-License-Identifier: GPL-3.0-or-later
"""What people want to know of a pose: how sure it is, where that is in the picture, and how the camera stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, invert, transform
from ...core.messages.pose import PredictedPose

Floats = NDArray[np.float64]

STEP = 1e-6
"""Radians and metres by which a pose is moved to see where points go."""


@dataclass(frozen=True)
class Blur:
    """A point of the robot in the picture, pixels, and how uncertain the pose leaves it: covariance ``(2, 2)``."""

    name: str
    u: float
    v: float
    covariance: Floats


def deviations(pose: PredictedPose) -> tuple[float, float]:
    """Standard deviations, all directions together, of the base's place in metres and of its turn in radians."""
    assert pose.base_in_camera is not None and pose.covariance is not None
    moves = np.hstack([-_cross(pose.base_in_camera[:3, 3]), np.eye(3)])
    place = float(np.trace(moves @ pose.covariance @ moves.T))
    turn = float(np.trace(pose.covariance[:3, :3]))
    return math.sqrt(max(0.0, place)), math.sqrt(max(0.0, turn))


def camera_in_base(pose: PredictedPose) -> Floats:
    """``T_base_cam`` ``(4, 4)``."""
    assert pose.base_in_camera is not None
    return invert(pose.base_in_camera)


def blurs(pose: PredictedPose, camera: Intrinsics, frames: Mapping[str, Floats]) -> tuple[Blur, ...]:
    """Where the origins of links are in the picture, by the uncertainty of the pose alone; those out of sight are
    left out.

    Args:
        frames: ``T_base_link`` ``(4, 4)`` by name.
    """
    assert pose.base_in_camera is not None and pose.covariance is not None
    names = list(frames)
    points = transform(pose.base_in_camera, [frames[n][:3, 3] for n in names])
    centres, _ = camera.project(points)
    slopes = np.empty((len(names), 2, 6))
    for axis in range(6):
        moved = [camera.project(_nudged(points, axis, sign * STEP))[0] for sign in (1.0, -1.0)]
        slopes[:, :, axis] = (moved[0] - moved[1]) / (2 * STEP)
    result = []
    for name, (u, v), slope in zip(names, centres.tolist(), slopes, strict=True):
        if np.isfinite([u, v]).all() and np.isfinite(slope).all():
            result.append(Blur(name, u, v, slope @ pose.covariance @ slope.T))
    return tuple(result)


def axes(pose: PredictedPose, camera: Intrinsics, length: float, steps: int = 12) -> tuple[Floats, ...]:
    """The base's x, y and z axes in the picture, ``length`` metres long: pixels ``(steps + 1, 2)`` each, as the lens
    bends them; NaN where they are out of sight."""
    assert pose.base_in_camera is not None
    tips = [np.linspace(np.zeros(3), axis * length, steps + 1) for axis in np.eye(3)]
    return tuple(camera.project(transform(pose.base_in_camera, tip))[0] for tip in tips)


def _nudged(points: Floats, axis: int, step: float) -> Floats:
    """Points ``(N, 3)`` after a small motion (ω, v) of the camera frame along one of its six directions."""
    direction = np.eye(3)[axis % 3] * step
    return points + (np.cross(direction, points) if axis < 3 else direction)


def _cross(v: Floats) -> Floats:
    """The matrix whose product with w is v × w."""
    x, y, z = v
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
