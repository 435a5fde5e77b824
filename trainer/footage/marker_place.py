# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a marker is at one moment, from one camera or several together, and from depth images (US 12387346,
paragraph 43)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics, invert
from ...core.robot.robot import Robot
from ..pose.rigid_motion import adjoint, as_pose, cross_matrix, move
from .joint_problem import Block, Placement, Setup, solve, to_double
from .marker_quality import CORNER_NOISE
from .recording import ROOM, Floats, MarkerObservation

DEPTH_NOISE = 0.004
"""Standard deviation of a depth camera's reading at a corner, metres, beyond what all corners have in common."""
DEPTH_BIAS = 0.003
"""What they have in common, metres."""
GROSS = 0.05
"""Metres by which a reading may differ from the marker's plane."""


@dataclass(frozen=True)
class Place:
    """A marker's pose.

    Attributes:
        pose: ``T_ref_marker`` ``(4, 4)``.
        covariance: ``(6, 6)`` of the small motion (ω, v) of the frame ``ref``, radians and metres.
    """

    pose: Floats
    covariance: Floats

    def seen_from(self, motion: Floats) -> Place:
        """The same in the frame a of a motion ``T_a_ref`` ``(4, 4)``, which is taken as true."""
        turn = adjoint(to_double(motion)).numpy()
        return Place(motion @ self.pose, turn @ self.covariance @ turn.T)


def place_from_cameras(
    robot: Robot,
    seen: Sequence[tuple[str, MarkerObservation]],
    cameras: Mapping[str, Floats],
    intrinsics: Mapping[str, Intrinsics],
) -> Place:
    """``T_base_marker`` under which all cameras of one moment see the marker's corners where they do.

    One camera tells the direction to a marker well and its distance less well; two tell both.

    Args:
        seen: cameras, and what they see of the same marker, counted from the same corner.
        cameras: ``T_cam_base`` at that moment.

    Raises:
        ValueError: if nothing is seen.
    """
    if not seen:
        raise ValueError("no camera sees the marker")
    first, observation = seen[0]
    start = invert(cameras[first]) @ observation.pose
    blocks = [
        Block(
            camera, ROOM, "marker", {}, o.points, o.corners,
            np.broadcast_to(_variance(o) * np.eye(2), (len(o.corners), 2, 2)), camera,
        )
        for camera, o in seen
    ]  # fmt: skip
    setup = Setup(robot, intrinsics, dict.fromkeys(cameras, ROOM), [], ["marker"])
    fit = solve(setup, blocks, Placement(cameras, {"marker": start}))
    return Place(fit.placement.mounts["marker"], fit.by_noise)


def _variance(seen: MarkerObservation) -> float:
    return max(CORNER_NOISE**2, seen.quality.reprojection**2 / 2)


def with_depth(place: Place, seen: MarkerObservation, depth: NDArray[np.float64]) -> Place | None:
    """``T_cam_marker`` of an observation, corrected by what a depth camera measures at the marker; None where it
    measures nothing there.

    Args:
        place: ``T_cam_marker`` as it is known without, such as by ``seen`` alone.
        depth: z in metres at every pixel ``(h, w)``, in the image's own camera, NaN where nothing was measured.
    """
    u, v = seen.corners.astype(np.float32).T
    readings = cv2.remap(depth.astype(np.float32), u[None], v[None], cv2.INTER_LINEAR)[0].astype(np.float64)
    placed = seen.points @ place.pose[:3, :3].T + place.pose[:3, 3]
    off = readings - placed[:, 2]
    middle = np.nanmedian(off) if np.isfinite(off).any() else np.nan
    good = np.isfinite(off) & (np.abs(off - middle) < GROSS)
    if not good.any():
        return None
    # z of exp(ω) p + v changes by (ω × p) z + v z.
    turn = -cross_matrix(to_double(placed[good])).numpy()[:, 2]
    slope = np.concatenate([turn, np.tile([0.0, 0.0, 1.0], (len(turn), 1))], 1)
    noise = DEPTH_NOISE**2 * np.eye(len(turn)) + DEPTH_BIAS**2
    gain = np.linalg.solve(slope @ place.covariance @ slope.T + noise, slope @ place.covariance).T
    motion = to_double(gain @ off[good])
    before = to_double(place.pose)
    pose = as_pose(*move(before[:3, :3], before[:3, 3], motion)).numpy()
    left = np.eye(6) - gain @ slope
    covariance = left @ place.covariance @ left.T + gain @ noise @ gain.T
    return Place(pose, covariance)
