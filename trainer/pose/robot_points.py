# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a model's keypoints sit on its robot, and the robot with joints that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.robot.keypoints import Keypoint, joint_keypoints
from ...core.robot.robot import Robot, as_matrix
from ...core.robot.urdf_reader import load_urdf
from ..networks.model_file import ModelInfo
from .kinematics import Chain

LEAST = 3
"""Fewer points have no pose."""

STILL = 1e-6
"""Metres per radian, or per metre, under which a point doesn't move with a joint."""

RIGID = 1e-5
"""Share of a joint's motion that no rigid motion explains, under which the image can't tell the two apart."""


def robot_of(info: ModelInfo, urdf: Path | None = None) -> Robot:
    """The robot in the file ``urdf``, or else the one that comes with the model.

    Raises:
        UserError: if there is neither, or it can't be read.
    """
    if urdf is not None:
        return load_urdf(urdf)
    if info.robot is None:
        raise UserError("The model doesn't know its robot's kinematics: give its URDF with --robot FILE")
    try:
        robot = Robot.from_dict(info.robot)
        robot.link_frames({})  # which fails where a joint hangs on no link
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise UserError("The model's robot can't be read: give its URDF with --robot FILE") from problem
    return robot


def place_keypoints(info: ModelInfo, robot: Robot) -> tuple[dict[int, Keypoint], list[str]]:
    """Which point of ``robot`` each keypoint is, by its place in the model's order, and the names of those that it
    doesn't have. A scene's other robots have theirs left out of both.

    What the model says about their frames counts; where it says nothing, they are named after the robot's joints or
    links, as :func:`.joint_keypoints` does.

    Raises:
        UserError: if too few can be placed.
    """
    by_name = {link: Keypoint(link, link) for link in robot.links}
    by_name |= {j.name: Keypoint(j.name, j.child) for j in robot.joints}
    by_name |= {k.name: k for k in joint_keypoints(robot)}
    links = set(robot.links)
    placed: dict[int, Keypoint] = {}
    missing = []
    for j, name in enumerate(info.keypoints):
        place = info.places[j] if info.places else None
        if place is not None and place.robot:
            continue
        # Bones have axes of their own, so that what is measured in them means nothing in a URDF's links.
        if place is not None and info.robot is not None and place.frame in links:
            placed[j] = place
        elif name in by_name and (place is None or not any(place.offset)):
            placed[j] = by_name[name]
        else:
            missing.append(name)
    if len(placed) < LEAST:
        raise UserError(
            f"Only {len(placed)} of the model's keypoints can be placed on the robot {robot.name}, and not "
            f"{', '.join(missing) or 'any other'}: give the URDF that it was trained with by --robot FILE"
        )
    return placed, missing


def with_fixed(robot: Robot, positions: Mapping[str, float]) -> Robot:
    """The robot whose joints named in ``positions``, radians or metres, and those that follow them, are fixed there."""
    values = dict(positions)
    for joint in robot.joints:
        if joint.mimic is not None and joint.name not in values and joint.mimic.joint in positions:
            values[joint.name] = joint.mimic.multiplier * positions[joint.mimic.joint] + joint.mimic.offset
    joints = tuple(
        replace(j, kind="fixed", mimic=None, origin=as_matrix(np.asarray(j.origin) @ j.motion(values[j.name])))
        if j.moving and j.name in values else j
        for j in robot.joints
    )  # fmt: skip
    return replace(robot, joints=joints)


def roles(chain: Chain, used: Sequence[bool] | NDArray[np.bool_]) -> tuple[list[str], list[str]]:
    """Which of the chain's joints move keypoints in use at all, and which of these move all of them together, as a
    motion of the camera does too."""
    low, high = chain.limits().clamp(-3.0, 3.0)
    share = torch.rand(len(chain.names), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place, slope = chain.with_derivatives(low + (0.2 + 0.6 * share) * (high - low))
    chosen = np.asarray(used)
    points = place.numpy()[chosen]
    turns = [np.cross(axis, points) for axis in np.eye(3)]
    shifts = [np.broadcast_to(axis, points.shape) for axis in np.eye(3)]
    rigid = np.stack([*turns, *shifts]).reshape(6, -1).T
    moving, alike = [], []
    for name, motion in zip(chain.names, slope.numpy()[:, chosen].reshape(len(chain.names), -1), strict=True):
        size = float(np.linalg.norm(motion))
        # Axes are given with so many digits only: a point on one hardly moves.
        if size < STILL:
            continue
        moving.append(name)
        left = motion - rigid @ np.linalg.lstsq(rigid, motion, rcond=None)[0]
        if float(np.linalg.norm(left)) < RIGID * size:
            alike.append(name)
    return moving, alike


@dataclass(frozen=True)
class PlacedRobot:
    """A robot, and which of its points a model's keypoints are.

    Attributes:
        points: by the keypoint's place in the model's order.
        names: the model's keypoints.
        missing: names of keypoints that the robot doesn't have.
    """

    robot: Robot
    points: Mapping[int, Keypoint]
    names: Sequence[str]
    missing: Sequence[str]

    @classmethod
    def of(cls, info: ModelInfo, urdf: Path | None = None) -> PlacedRobot:
        """The robot in the file ``urdf``, or else the one that comes with the model.

        Raises:
            UserError: if there is neither, or it can't be used.
        """
        robot = robot_of(info, urdf)
        points, missing = place_keypoints(info, robot)
        return cls(robot, points, info.keypoints, missing)
