# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of one robot of a scene, looked up once and handed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy

from ...core.robot.robot import Robot
from . import bones, rig
from .kinematics import Kinematics


@dataclass(frozen=True)
class RobotInScene:
    """One robot as its scene has it.

    Whoever needs several of these makes it once and hands it down. It holds Blender's own objects, so it is of use only
    as long as the file stays open and nobody undoes anything or edits the armature.

    Attributes:
        robot: the kinematics of an armature that :func:`.rig.build` made; None of a user's own.
        joints: those that can be posed, parents first.
        reach: how far it reaches from its origin, metres.
        kinematics: where its links are for given values of variables.
        standings: how bones stand on the links that they show; empty for a user's own armature.
    """

    scene: bpy.types.Scene
    armature: bpy.types.Object
    robot: Robot | None
    joints: tuple[rig.RigJoint, ...]
    reach: float
    kinematics: Kinematics
    standings: Mapping[str, bones.Standing]

    @classmethod
    def of(cls, scene: bpy.types.Scene, armature: bpy.types.Object, name: str = "") -> RobotInScene:
        """Look a robot up.

        Args:
            name: of a further robot, as its variables' names have it; empty for the first of a scene.
        """
        robot = rig.robot_of(armature)
        standings = rig.standings_of(armature, robot)
        joints = rig.joints_of(armature, robot, standings)
        prefix = f"joint/{name}/" if name else "joint/"
        kinematics = Kinematics(
            robot, joints, {prefix + j.name: j.name for j in joints},
            rig.Frames(scene, armature, standings, [b.name for b in armature.data.bones]),
        )  # fmt: skip
        return cls(scene, armature, robot, joints, rig.reach_of(armature, robot), kinematics, standings)

    def frames(self, names: list[str]) -> rig.Frames:
        """World matrices of links, bones or objects of the scene.

        Raises:
            UserError: if one of them is not there.
        """
        return rig.Frames(self.scene, self.armature, self.standings, names)
