# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses as lines of text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pose_lines(pose: Mapping[str, Any]) -> list[str]:
    """Lines that tell people a pose of one image, or of several together."""
    if "T_cam_base" not in pose:
        return [f"  no pose: {pose['sentence']}"]
    matrix = np.array(pose["T_cam_base"])
    x, y, z = matrix[:3, 3]
    metres, degrees = _deviations(matrix, np.array(pose["covariance"]))
    fitting = pose["inliers"] if isinstance(pose["inliers"], int) else len(pose["inliers"])
    across = "; ".join(" ".join(f"{v:7.4f}" for v in row) for row in matrix[:3, :3])
    lines = [
        f"  {'T_cam_base':<24} ({x:.4f}, {y:.4f}, {z:.4f}) m ± {1000 * metres:.1f} mm, ± {degrees:.2f}°; "
        f"{fitting} keypoints fit, {pose['reprojection_px']:.2f} px",
        f"  {'':<24} [{across}]",
    ]
    if "outline" in pose:
        o = pose["outline"]
        by_outline = "by the outline, {support:.0%} of which lies on edges ({before:.0%} by keypoints)"
        by_keypoints = "by keypoints alone: too little of the outline lies on edges"
        lines.append(f"  {'':<24} {by_outline.format(**o) if o['used'] else by_keypoints}")
    if "alternatives" in pose:
        n = len(pose["alternatives"])
        lines.append(
            f"  {'':<24} not for certain: {'another pose fits' if n == 1 else f'{n} other poses fit'} about as well"
        )
    if pose.get("joints"):
        spread = pose.get("joints_deviation", {})
        values = [f"{n} {v:.4f}" + (f" ± {spread[n]:.4f}" if n in spread else "") for n, v in pose["joints"].items()]
        lines.append(f"  {'joints':<24} " + ", ".join(values))
    return lines


def _deviations(pose: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviations, all directions together, of the base's place in metres and of its turn in degrees."""
    x, y, z = pose[:3, 3]
    # A turn about the camera's centre moves the base as well.
    moves = np.hstack([np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]]), np.eye(3)])
    place = float(np.trace(moves @ covariance @ moves.T))
    return math.sqrt(max(0.0, place)), math.degrees(math.sqrt(max(0.0, float(np.trace(covariance[:3, :3])))))
