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
from .robot_in_scene import RobotInScene

Floats = NDArray[np.float64]


def positions(robot: RobotInScene) -> dict[str, float]:
    """Radians or metres by the joint's name; followers of other joints are left out. Updates the view layer."""
    frames = dict(zip(robot.kinematics.names, robot.kinematics.present(), strict=True))
    bones = robot.armature.pose.bones
    if robot.robot is None:
        return {j.name: _own(bones[j.bone], j) for j in robot.joints}
    joints = {j.name: j for j in robot.joints}
    result = {}
    for joint in robot.robot.moving_joints:
        if joint.parent not in frames or joint.child not in frames:
            continue
        motion = np.linalg.inv(frames[joint.parent] @ np.array(joint.origin)) @ frames[joint.child]
        value = _along(motion, np.array(joint.axis), joint.kind == "prismatic")
        result[joint.name] = _unwrapped(value, channel(bones[joint.child], joints[joint.name]), joint)
    return result


def _own(bone: bpy.types.PoseBone, joint: rig.RigJoint) -> float:
    """The position of a joint that is a bone of a user's own armature, whose rest pose is zero."""
    rest, posed = bone.bone.matrix_local, bone.matrix
    if bone.parent is not None:
        rest = bone.parent.bone.matrix_local.inverted() @ rest
        posed = bone.parent.matrix.inverted() @ posed
    value = _along(np.array(rest.inverted() @ posed), np.eye(3)[joint.axis], joint.linear)
    return value if joint.linear else _nearest(value, channel(bone, joint))


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


def channel(bone: Any, joint: rig.RigJoint) -> float:
    """Radians or metres of the channel of a joint's bone: what :class:`.Poser` has set, or the user."""
    if joint.linear:
        return float(bone.location[joint.axis])
    if bone.rotation_mode == "QUATERNION":
        q = bone.rotation_quaternion
        return 2.0 * math.atan2(q[1 + joint.axis], q[0])
    if bone.rotation_mode == "AXIS_ANGLE":
        angle, *axis = bone.rotation_axis_angle
        return float(angle) * float(Matrix.Identity(3)[joint.axis].dot(axis))
    return float(bone.rotation_euler[joint.axis])
