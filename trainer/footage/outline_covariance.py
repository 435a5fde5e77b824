# SPDX-License-Identifier: GPL-3.0-or-later
"""How a camera moves by edges along the robot's outlines, and how well that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.robot.robot import Robot
from ..pose.silhouette import Border
from .recording import Floats

OUTSIDE, OFFSET = 1.0, 0.02
"""Pixels by which all edges may be outside the silhouette, and radians or metres by which joints may be off."""
SMALL = 1e-5
"""Radians or metres, for derivatives."""
TAIL = 1.5
"""Pixels that an edge may be off before it counts for less."""


@dataclass(frozen=True)
class Edges:
    """N edges of one image, near its silhouette.

    Attributes:
        border: the silhouette's points that found them.
        off: pixels ``(N,)`` that they are outside the silhouette.
    """

    border: Border
    off: Floats


@dataclass(frozen=True)
class JointPose:
    """The joints' positions in an image, radians or metres, and ``T_base_link`` ``(L, 4, 4)`` of the links."""

    joints: Mapping[str, float]
    links: Floats


def edge_weights(off: Floats) -> Floats:
    """How much edges count that are so many pixels off, ``(N,)``."""
    return np.asarray(1 / (1 + np.square(off / TAIL)))


def joined_edges(found: Sequence[Edges]) -> tuple[Floats, Floats]:
    """Of all images' edges, derivatives across the silhouette by the camera's small motion ``(N, 6)``, and pixels that
    they are outside it ``(N,)``."""
    return np.concatenate([e.border.rows for e in found]), np.concatenate([e.off for e in found])


def camera_motion(rows: Floats, off: Floats, weights: Floats, ridge: Floats | float = 0.0) -> Floats:
    """The unknowns ``(Q,)`` under which edges are least off.

    Args:
        rows: derivatives of the silhouette's points across it ``(N, Q)``.
        off: pixels that edges are outside it, ``(N,)``.
        weights: ``(N,)``.
        ridge: one over the variance that each unknown is known by beforehand.
    """
    weighted = rows * weights[:, None]
    normal = weighted.T @ rows + np.diag(ridge + np.zeros(rows.shape[1]))
    return np.asarray(np.linalg.pinv(normal, rcond=1e-12) @ (weighted.T @ off))


def motion_covariance(
    robot: Robot, names: Sequence[str], poses: Sequence[JointPose], found: Sequence[Edges], step: Floats
) -> Floats:
    """Covariance ``(6, 6)`` of the camera's small motion (ω, v), radians and metres.

    Edges are many, but don't err independently. So it goes by the jackknife over images and over the links' sides, as a
    shape that isn't the robot's is so in all images; and by how far the camera would go if all edges might lie outside
    the silhouette by some width, as blur and shadows have them, or one joint might have an offset.

    Args:
        names: of the links, in the order of their numbers.
        poses: of each image, with the links in that order.
        found: the edges of each image.
        step: the last motion, after which edges were not looked for again.
    """
    rows, off = joined_edges(found)
    side = np.concatenate([edges.border.sides for edges in found])
    image = np.repeat(np.arange(len(found)), [len(edges.off) for edges in found])
    weights, left = edge_weights(off), off - rows @ step
    covariance = _jackknife(rows, left, weights, image) + _jackknife(rows, left, weights, side)
    others = [np.ones(len(off)), *_by_joints(robot, names, poses, found).T]
    deviations = [OUTSIDE, *[OFFSET] * (len(others) - 1)]
    for other, deviation in zip(others, deviations, strict=True):
        ridge = np.array([0.0] * 6 + [deviation**-2])
        motion = camera_motion(np.concatenate([rows, other[:, None]], 1), left, weights, ridge)[:6]
        covariance += np.outer(motion, motion)
    return covariance


def _jackknife(rows: Floats, off: Floats, weights: Floats, groups: NDArray[np.int64]) -> Floats:
    """Covariance ``(6, 6)`` of the motion, by how far it goes without each group."""
    names = np.unique(groups)
    moves = [camera_motion(rows[kept], off[kept], weights[kept]) for kept in (groups != name for name in names)]
    return np.asarray((len(names) - 1) / len(names) * np.transpose(moves) @ moves)


def _by_joints(robot: Robot, names: Sequence[str], poses: Sequence[JointPose], found: Sequence[Edges]) -> Floats:
    """How far edges ``(N, J)`` go outwards by each joint's offset, in pixels for a radian or metre."""
    columns = []
    for pose, edges in zip(poses, found, strict=True):
        before, border = np.linalg.inv(pose.links), edges.border
        turn = border.pose[:3, :3]
        points, slopes = (border.points - border.pose[:3, 3]) @ turn, border.slopes @ turn  # in the base's frame
        own = []
        for joint in robot.moving_joints:
            later = robot.link_frames({**pose.joints, joint.name: pose.joints.get(joint.name, 0.0) + SMALL})
            moved = (np.array([later[n] for n in names]) @ before - np.eye(4))[border.links - 1, :3] / SMALL
            shift = np.einsum("nij,nj->ni", moved[..., :3], points) + moved[..., 3]
            own.append((slopes * shift).sum(1))
        columns.append(np.stack(own, 1))
    return np.concatenate(columns)
