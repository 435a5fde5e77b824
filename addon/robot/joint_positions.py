# SPDX-License-Identifier: GPL-3.0-or-later
"""At which positions a rig's joints stand as it is seen, whatever moves them: channels, keys, drivers, constraints."""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ...core.robot.robot import Joint
from . import rig

Floats = NDArray[np.float64]


def positions(scene: bpy.types.Scene, armature: bpy.types.Object) -> dict[str, float]:
    """Radians or metres by the joint's name; followers of other joints are left out. Updates the view layer."""
    scene.view_layers[0].update()
    robot = rig.robot_of(armature)
    if robot is None:
        return {j.name: _own(armature.pose.bones[j.bone], j) for j in rig.joints(armature)}
    bones = {j.name: j for j in rig.joints(armature)}
    frames = rig.Frames(scene, armature, [link for link in robot.links if link in armature.pose.bones]).world()
    result = {}
    for joint in robot.moving_joints:
        if joint.parent not in frames or joint.child not in frames:
            continue
        motion = np.linalg.inv(frames[joint.parent] @ np.array(joint.origin)) @ frames[joint.child]
        value = _along(motion, np.array(joint.axis), joint.kind == "prismatic")
        result[joint.name] = _unwrapped(value, _channel(armature, bones[joint.name]), joint)
    return result


def _own(bone: bpy.types.PoseBone, joint: rig.RigJoint) -> float:
    """The position of a joint that is a bone of a user's own armature, whose rest pose is zero."""
    rest, posed = bone.bone.matrix_local, bone.matrix
    if bone.parent is not None:
        rest = bone.parent.bone.matrix_local.inverted() @ rest
        posed = bone.parent.matrix.inverted() @ posed
    value = _along(np.array(rest.inverted() @ posed), np.eye(3)[joint.axis], joint.linear)
    return value if joint.linear else _nearest(value, _read(bone, joint))


def _along(motion: Floats, axis: Floats, linear: bool) -> float:
    """How far a motion ``(4, 4)`` goes along or about an axis."""
    if linear:
        return float(axis @ motion[:3, 3])
    r = motion[:3, :3]
    sine = 0.5 * float(axis @ (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]))
    return math.atan2(sine, 0.5 * (float(np.trace(r)) - 1.0))


def _unwrapped(value: float, channel: float, joint: Joint) -> float:
    """The turn that a pose can't tell from others, as the bone's own channel has it, or else within the limits."""
    if joint.kind == "prismatic":
        return value
    near = _nearest(value, channel)
    if joint.kind == "continuous" or joint.lower <= near <= joint.upper:
        return near
    turns = [value + math.tau * k for k in range(-2, 3)]
    return next((t for t in turns if joint.lower <= t <= joint.upper), value)


def _nearest(value: float, wanted: float) -> float:
    return value + math.tau * round((wanted - value) / math.tau)


def _channel(armature: bpy.types.Object, joint: rig.RigJoint) -> float:
    return _read(armature.pose.bones[joint.bone], joint)


def _read(bone: Any, joint: rig.RigJoint) -> float:
    if joint.linear:
        return float(bone.location[joint.axis])
    if bone.rotation_mode == "QUATERNION":
        q = bone.rotation_quaternion
        return 2.0 * math.atan2(q[1 + joint.axis], q[0])
    if bone.rotation_mode == "AXIS_ANGLE":
        angle, *axis = bone.rotation_axis_angle
        return float(angle) * float(Matrix.Identity(3)[joint.axis].dot(axis))
    return float(bone.rotation_euler[joint.axis])
