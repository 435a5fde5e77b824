# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes an armature as the scene's robot: its joints, keypoints and variables fill the settings."""

from __future__ import annotations

import bpy
import numpy as np

from ..core.errors import UserError
from ..core.keypoints import Keypoint
from ..core.randomization import joint_variable
from ..core.settings import Settings, complete, complete_scene
from . import rig


def defaults(armature: bpy.types.Object) -> Settings:
    """Keypoints, skeleton and variables that suit an armature, the rest as it comes.

    Raises:
        UserError: if the armature has no joint.
    """
    joints = rig.joints(armature)
    if not joints:
        raise UserError(f"{armature.name} has no bone that can turn or slide: choose another armature")
    robot = rig.robot_of(armature)
    if robot is not None:
        return complete(Settings(), robot)
    variables = [
        joint_variable(
            j.name, -np.pi if j.circular else j.lower, np.pi if j.circular else j.upper,
            circular=j.circular, linear=j.linear,
        )
        for j in joints
    ]  # fmt: skip
    names = {j.bone for j in joints}
    keypoints = tuple(Keypoint(bone.name, bone.name) for bone in armature.data.bones if bone.name in names)
    edges = []
    for bone in armature.data.bones:
        parent = bone.parent
        while parent is not None and parent.name not in names:
            parent = parent.parent
        if bone.name in names and parent is not None:
            edges.append((parent.name, bone.name))
    return complete_scene(Settings(keypoints=keypoints, skeleton=tuple(edges)), variables, 0.7 * reach(armature))


def reach(armature: bpy.types.Object) -> float:
    """How far a robot reaches from its origin, metres; a user's own armature as it stands at rest."""
    robot = rig.robot_of(armature)
    if robot is not None:
        return robot.reach()
    scale = np.array(armature.matrix_world.to_scale())
    ends = [np.array(p) * scale for bone in armature.data.bones for p in (bone.head_local, bone.tail_local)]
    return max((float(np.linalg.norm(p)) for p in ends), default=0.0) or 1.0


def adopt(scene: bpy.types.Scene, armature: bpy.types.Object | None) -> None:
    """Fill keypoints, skeleton and variables of the scene's settings from ``armature``, or empty them."""
    from . import conversion

    group = scene.robot_keypoints
    group.notes = ""
    settings = Settings()
    if armature is not None:
        try:
            settings = defaults(armature)
        except UserError as problem:
            group.notes = str(problem)
    conversion.write_robot_parts(group, settings)


def problem(scene: bpy.types.Scene) -> str:
    """Why the scene's robot can't be used, in one sentence; empty if it can."""
    armature = scene.robot_keypoints.armature
    if armature is None:
        return "There is no robot yet: load one"
    if armature.name not in scene.objects:
        return f"The robot {armature.name} is no longer in this scene: load one again"
    if not scene.robot_keypoints.variables:
        return str(scene.robot_keypoints.notes) or f"{armature.name} has no joints: choose another armature"
    return ""
