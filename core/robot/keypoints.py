# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints of a robot: points fixed to its frames, and the skeleton that links them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..names import free_name
from .robot import Robot


@dataclass(frozen=True)
class Keypoint:
    """A named point.

    Attributes:
        frame: the link, bone or object that it moves with.
        offset: its place in that frame, metres.
        robot: name of the robot that has the frame, where a scene has several; empty for the first.
    """

    name: str
    frame: str
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    robot: str = ""


def joint_keypoints(robot: Robot) -> tuple[Keypoint, ...]:
    """One keypoint per moving joint's origin, and one at the tip of every chain whose last frame is fixed.

    A frame that always coincides with one already taken is left out; so are the parts of planar and floating joints.
    Names are those of joints and links without their endings, or with them where two would be the same.
    """
    keypoints: list[Keypoint] = []
    poses = _poses(robot)

    def add(name: str, frame: str) -> None:
        if not _coincides(poses, frame, [k.frame for k in keypoints]):
            keypoints.append(Keypoint(_unique(name, {k.name for k in keypoints}), frame))

    for joint in robot.moving_joints:
        if not joint.fixed:
            add(joint.name, joint.child)
    parents = {j.parent for j in robot.joints}
    for joint in robot.joints:
        tip = joint.kind == "fixed" and joint.child not in parents and _hangs_on_moving(robot, joint.child)
        if tip:
            add(joint.child, joint.child)
    return tuple(keypoints)


def skeleton(robot: Robot, keypoints: Sequence[Keypoint]) -> tuple[tuple[str, str], ...]:
    """Links between keypoints that follow one another along the kinematic tree, parent first."""
    by_frame: dict[str, str] = {}
    for k in keypoints:
        by_frame.setdefault(k.frame, k.name)
    joint_above = {j.child: j for j in robot.joints}
    edges = []
    for keypoint in keypoints:
        link = keypoint.frame
        while link in joint_above:
            link = joint_above[link].parent
            if link in by_frame:
                edges.append((by_frame[link], keypoint.name))
                break
    return tuple(edges)


def positions(
    keypoints: Sequence[Keypoint], frames: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Keypoints ``(J, 3)`` in the frame x in which ``frames`` (``T_x_frame``, by robot and frame) are given."""
    return np.array([(frames[k.robot][k.frame] @ np.array([*k.offset, 1.0]))[:3] for k in keypoints]).reshape(-1, 3)


def _short(name: str) -> str:
    for ending in ("_joint", "_link"):
        if name.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _unique(name: str, taken: Collection[str]) -> str:
    """The short name, or else the whole one, or else a numbered one."""
    short = _short(name)
    return short if short not in taken else free_name(name, taken.__contains__, separator=".")


def _poses(robot: Robot) -> list[dict[str, NDArray[np.float64]]]:
    """Frames of all links in a few poses."""
    rng = np.random.default_rng(0)
    moving = [j for j in robot.moving_joints if not j.fixed]
    return [robot.link_frames({j.name: rng.uniform(j.lower, j.upper) for j in moving}) for _ in range(3)]


def _coincides(poses: Sequence[Mapping[str, NDArray[np.float64]]], link: str, others: Sequence[str]) -> bool:
    """Whether a link's origin lies where one of the others' does, in every pose."""
    for frames in poses:
        others = [o for o in others if np.linalg.norm(frames[o][:3, 3] - frames[link][:3, 3]) < 1e-4]
    return bool(others)


def _hangs_on_moving(robot: Robot, link: str) -> bool:
    joint_above = {j.child: j for j in robot.joints}
    while link in joint_above:
        if joint_above[link].moving and not joint_above[link].fixed:
            return True
        link = joint_above[link].parent
    return False
