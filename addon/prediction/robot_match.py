# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the scene's rig is the robot that a model knows, and how the two count the base's frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert
from ...core.errors import UserError
from ...core.messages.model_document import ModelDescription
from ...core.robot.robot import Robot
from ..base.formatting import plural
from ..robot import joint_positions
from ..robot.robot_in_scene import RobotInScene

Floats = NDArray[np.float64]

ALIKE = 0.02
"""Share of the robot's reach by which the rig's links may lie off the model's: tolerances, not a sister model."""


@dataclass(frozen=True)
class Match:
    """A rig and the robot of the model.

    Attributes:
        robot: as the model has it; None where the model knows an armature's keypoints only.
        joints: present positions of the joints that the model knows, radians or metres.
        offset: ``T_rigbase_modelbase`` ``(4, 4)``.
    """

    robot: Robot | None
    joints: Mapping[str, float]
    offset: Floats

    def frames(self, found: Mapping[str, float]) -> dict[str, Floats]:
        """``T_base_link`` ``(4, 4)`` of links in the model's base, where the joints ``found`` stand as said and the
        others as now."""
        return {} if self.robot is None else self.robot.link_frames({**self.joints, **found})


def robot_in(scene: bpy.types.Scene) -> RobotInScene:
    """The scene's first robot.

    Raises:
        UserError: if there is none that can be placed.
    """
    armature = scene.robot_keypoints.armature
    if armature is None:
        raise UserError("There is no robot in the scene: load one in the Robot panel first")
    if armature.name not in scene.objects:
        raise UserError(f"The robot {armature.name} is no longer in this scene: load one again")
    x, y, z = armature.matrix_world.to_scale()
    if min(x, y, z) <= 0 or max(x, y, z) > 1.0001 * min(x, y, z):
        raise UserError(
            f"The robot {armature.name} is scaled unevenly ({x:.3g}, {y:.3g}, {z:.3g}): apply its scale first"
        )
    return RobotInScene.of(scene, armature)


def match(robot: RobotInScene, model: ModelDescription) -> Match:
    """Set the scene's robot beside the one that a model tells of.

    Raises:
        UserError: if there is no robot, or the model is of another one.
    """
    if model.robot is None:
        return Match(None, joint_positions.positions(robot), np.eye(4))
    try:
        known = Robot.from_dict(model.robot)
        known.link_frames({})
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise UserError("The model's robot can't be read: train the model again") from problem
    return match_robot(robot, known, "model")


def match_robot(robot: RobotInScene, known: Robot, whose: str) -> Match:
    """Set the scene's robot beside the same one as something else has it.

    Args:
        whose: what that is, a ``model`` or a ``recording``.

    Raises:
        UserError: if it is another robot.
    """
    present, rig = joint_positions.positions(robot), robot.armature.name
    names = [j.name for j in known.moving_joints]
    missing = [n for n in names if n not in present]
    if robot.robot is None or missing:
        lacking = f" ({plural(len(missing), 'joint')} differ, such as {missing[0]})" if missing else ""
        raise UserError(
            f"The {whose} is of the robot {known.name}, the rig is {rig}{lacking}: load the {whose}'s robot, or "
            f"a {whose} of this rig"
        )
    joints = {n: present[n] for n in names}
    here, there = robot.robot.link_frames(joints), known.link_frames(joints)
    common = [link for link in known.links if link in here]
    offsets = [here[link] @ invert(there[link]) for link in common]
    if not offsets:
        raise UserError(f"The {whose}'s robot {known.name} and the rig {rig} share no link: load a {whose} of this rig")
    moved = max(float(np.linalg.norm((offsets[0] @ there[n] - here[n])[:3, 3])) for n in common)
    if moved > ALIKE * known.reach():
        raise UserError(
            f"The {whose}'s robot {known.name} has other measures than the rig {rig} ({moved:.2f} m apart): "
            f"load a {whose} of this rig"
        )
    return Match(known, joints, offsets[0])
