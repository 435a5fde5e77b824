# SPDX-License-Identifier: GPL-3.0-or-later
"""A point in space from its images in several cameras whose places are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.camera.intrinsics import Intrinsics, invert
from .recording import Floats

STEPS = 10
SETTLED = 1e-7
"""Metres."""
STEP = 1e-5
"""Metres for derivatives."""
PARALLEL = 1e-4
"""Smallest eigenvalue of the rays' common matrix: about the squared angle in radians between two of them."""


def triangulate(
    poses: Sequence[Floats], intrinsics: Sequence[Intrinsics], pixels: Floats, covariances: Floats
) -> tuple[Floats, Floats] | None:
    """The point ``(3,)`` under which its images are most likely, with its covariance ``(3, 3)``; None where the rays
    are nearly parallel, or the point is not in front of all cameras.

    Args:
        poses: ``T_cam_base`` of C cameras.
        pixels: ``(C, 2)``, with covariances ``(C, 2, 2)``, pixels².
    """
    matrix, right = np.zeros((3, 3)), np.zeros(3)
    for pose, lens, pixel in zip(poses, intrinsics, pixels, strict=True):
        straight = (lens.undistort(pixel[None])[0] - (lens.cx, lens.cy)) / (lens.fx, lens.fy)
        ray = pose[:3, :3].T @ np.array([*straight, 1.0])
        across = np.eye(3) - np.outer(ray, ray) / (ray @ ray)
        matrix += across
        right += across @ invert(pose)[:3, 3]
    if not np.isfinite(matrix).all() or np.linalg.eigvalsh(matrix)[0] < PARALLEL:
        return None
    point = np.linalg.solve(matrix, right)
    for _ in range(STEPS):
        hessian, slope = np.zeros((3, 3)), np.zeros(3)
        for pose, lens, pixel, covariance in zip(poses, intrinsics, pixels, covariances, strict=True):
            around = point + STEP * np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
            seen = around @ pose[:3, :3].T + pose[:3, 3]
            shown = lens.project(seen)[0]
            if (seen[:, 2] <= 0).any() or not np.isfinite(shown).all():
                return None
            derivative = (shown[1:4] - shown[4:7]).T / (2 * STEP)
            weighted = np.linalg.solve(covariance, derivative)
            hessian += derivative.T @ weighted
            slope += weighted.T @ (pixel - shown[0])
        move = np.linalg.solve(hessian, slope)
        point = point + move
        if np.linalg.norm(move) < SETTLED:
            break
    return point, np.linalg.inv(hessian)
