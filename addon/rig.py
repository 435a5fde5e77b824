# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot as an armature: one bone per link, named after it; each joint turns or slides along its bone's y axis.

Bones made here stand at the link's origin with their y axis along the joint's axis, so that a joint has one
unlocked channel, limits are ordinary constraints, and inverse kinematics works. Users' own armatures are read by
the same functions: each bone with exactly one free rotation (or a rotation limit) is a joint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.robot import Joint, Robot
from . import meshes

Floats = NDArray[np.float64]

KINEMATICS = "robot_keypoints"
"""Custom property of an armature made here: its kinematics as JSON."""


@dataclass(frozen=True)
class RigJoint:
    """One joint of an armature; limits in radians, or metres where ``linear``."""

    name: str
    bone: str
    linear: bool
    lower: float
    upper: float
    circular: bool
    held: bool = False


def build(scene: bpy.types.Scene, robot: Robot) -> bpy.types.Object:
    """Add armature and meshes of ``robot`` to the scene, in a collection of its name; the base stands at the origin.

    Raises:
        UserError: if a mesh can't be read; the scene is then as it was.
    """
    made: list[bpy.types.Object] = []
    try:
        shapes = []
        for visual in robot.visuals:
            for obj in meshes.build(visual):
                made.append(obj)
                shapes.append((visual.link, obj))
    except UserError:
        for obj in made:
            bpy.data.meshes.remove(obj.data)
        raise
    collection = bpy.data.collections.new(robot.name)
    scene.collection.children.link(collection)
    data = bpy.data.armatures.new(robot.name)
    armature = bpy.data.objects.new(robot.name, data)
    collection.objects.link(armature)
    armature[KINEMATICS] = json.dumps(robot.to_dict())
    armature.show_in_front = True
    data.display_type = "STICK"
    length = 0.08 * robot.reach()
    _add_bones(armature, robot, length)
    _set_channels(armature, robot)
    for link, obj in shapes:
        collection.objects.link(obj)
        obj.parent = armature
        obj.parent_type = "BONE"
        obj.parent_bone = link
        # Blender hangs children on a bone's tail, turned as the bone is.
        obj.matrix_parent_inverse = Matrix.Translation((0, -length, 0)) @ _alignment_of(robot, link).inverted()
    bpy.context.view_layer.update()
    return armature


def _add_bones(armature: bpy.types.Object, robot: Robot, length: float) -> None:
    view_layer = bpy.context.view_layer
    if view_layer.objects.active is not None and view_layer.objects.active.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for other in view_layer.objects.selected:
        other.select_set(False)
    view_layer.objects.active = armature
    armature.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        frames = robot.rest_frames()
        parents = {j.child: j.parent for j in robot.joints}
        for link in robot.links:
            bone = armature.data.edit_bones.new(link)
            bone.tail = (0, length, 0)
            bone.matrix = meshes.as_matrix(frames[link]) @ _alignment_of(robot, link)
            if link in parents:
                bone.parent = armature.data.edit_bones[parents[link]]
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")


def _set_channels(armature: bpy.types.Object, robot: Robot) -> None:
    """Locks, limits and followers of every bone."""
    bones = {j.child: j for j in robot.joints}
    by_name = {j.name: j for j in robot.joints}
    for bone in armature.pose.bones:
        joint = bones.get(bone.name)
        turns = joint is not None and joint.moving and joint.kind != "prismatic"
        slides = joint is not None and joint.kind == "prismatic"
        bone.rotation_mode = "XYZ"
        bone.lock_location = (True, not slides, True)
        bone.lock_rotation = (True, not turns, True)
        bone.lock_scale = (True, True, True)
        bone.lock_ik_x = bone.lock_ik_z = True
        bone.lock_ik_y = not turns
        if joint is None or not joint.moving:
            continue
        if joint.mimic is not None:
            _follow(armature, bone, joint, by_name[joint.mimic.joint])
        elif not joint.circular:
            _limit(bone, joint)


def _limit(bone: bpy.types.PoseBone, joint: Joint) -> None:
    if joint.kind == "prismatic":
        limit = bone.constraints.new("LIMIT_LOCATION")
        limit.use_min_y = limit.use_max_y = True
    else:
        limit = bone.constraints.new("LIMIT_ROTATION")
        limit.use_limit_y = True
        bone.use_ik_limit_y = True
        bone.ik_min_y, bone.ik_max_y = max(joint.lower, -np.pi), min(joint.upper, np.pi)
    limit.owner_space = "LOCAL"
    limit.min_y, limit.max_y = joint.lower, joint.upper


def _follow(armature: bpy.types.Object, bone: bpy.types.PoseBone, joint: Joint, leader: Joint) -> None:
    assert joint.mimic is not None
    channel = "location" if joint.kind == "prismatic" else "rotation_euler"
    source = "location" if leader.kind == "prismatic" else "rotation_euler"
    driver = bone.driver_add(channel, 1).driver
    driver.type = "SCRIPTED"
    variable = driver.variables.new()
    variable.name = "q"
    variable.targets[0].id = armature
    variable.targets[0].data_path = f'pose.bones["{bpy.utils.escape_identifier(leader.child)}"].{source}[1]'
    driver.expression = f"{joint.mimic.multiplier!r} * q + {joint.mimic.offset!r}"


def _alignment(joint: Joint) -> Matrix:
    """``T_link_bone``: the bone's y axis along the joint's axis."""
    axis = np.asarray(joint.axis)
    turn = Quaternion((1, 0, 0, 0))
    if joint.moving:
        turn = Vector((0, 1, 0)).rotation_difference(Vector(axis))
    return turn.to_matrix().to_4x4()


def _alignment_of(robot: Robot, link: str) -> Matrix:
    for joint in robot.joints:
        if joint.child == link:
            return _alignment(joint)
    return Matrix.Identity(4)


def robot_of(armature: bpy.types.Object) -> Robot | None:
    """The kinematics of an armature made by :func:`build`; None for any other."""
    document = armature.get(KINEMATICS)
    if not isinstance(document, str):
        return None
    try:
        return Robot.from_dict(json.loads(document))
    except (KeyError, TypeError, ValueError):
        return None


def find(scene: bpy.types.Scene, name: str = "") -> bpy.types.Object:
    """The armature called ``name``, or the first one made by us, or the only armature there is.

    Raises:
        UserError: if there is none.
    """
    if name:
        obj = scene.objects.get(name)
        if obj is None or obj.type != "ARMATURE":
            raise UserError(f"There is no armature {name!r} in the scene: load the robot again")
        return obj
    armatures = [o for o in scene.objects if o.type == "ARMATURE"]
    ours = [o for o in armatures if KINEMATICS in o]
    if not armatures:
        raise UserError("There is no robot in the scene: load one first")
    return (ours or armatures)[0]


def joints(armature: bpy.types.Object) -> tuple[RigJoint, ...]:
    """The joints that can be posed, parents first."""
    robot = robot_of(armature)
    if robot is not None:
        return tuple(
            RigJoint(j.name, j.child, j.kind == "prismatic", j.lower, j.upper, j.circular, j.held)
            for j in robot.moving_joints
        )
    found = []
    for bone in armature.pose.bones:
        axis = _free_axis(bone)
        if axis is None:
            continue
        lower, upper = _rotation_limits(bone, axis)
        found.append(RigJoint(bone.name, bone.name, False, lower, upper, upper - lower >= 2 * np.pi - 1e-6))
    return tuple(found)


def _free_axis(bone: bpy.types.PoseBone) -> int | None:
    """The axis a user's bone turns about: its only unlocked one, else its limited one, else x as for any hinge."""
    free = [i for i in range(3) if not bone.lock_rotation[i]]
    if len(free) <= 1:
        return free[0] if free else None
    for constraint in bone.constraints:
        if constraint.type == "LIMIT_ROTATION":
            ranges = [
                (max_angle - min_angle, i)
                for i, (used, min_angle, max_angle) in enumerate(
                    (
                        (constraint.use_limit_x, constraint.min_x, constraint.max_x),
                        (constraint.use_limit_y, constraint.min_y, constraint.max_y),
                        (constraint.use_limit_z, constraint.min_z, constraint.max_z),
                    )
                )
                if used and i in free and max_angle > min_angle
            ]
            if ranges:
                return max(ranges)[1]
    return 0


def _rotation_limits(bone: bpy.types.PoseBone, axis: int) -> tuple[float, float]:
    letter = "xyz"[axis]
    for constraint in bone.constraints:
        if constraint.type == "LIMIT_ROTATION" and getattr(constraint, f"use_limit_{letter}"):
            return getattr(constraint, f"min_{letter}"), getattr(constraint, f"max_{letter}")
    if getattr(bone, f"use_ik_limit_{letter}"):
        return getattr(bone, f"ik_min_{letter}"), getattr(bone, f"ik_max_{letter}")
    return -np.pi, np.pi


class Poser:
    """Sets joints quickly: bones and axes are looked up once."""

    def __init__(self, armature: bpy.types.Object) -> None:
        own = robot_of(armature) is not None
        self._channels: dict[str, tuple[bpy.types.PoseBone, int, bool]] = {}
        for joint in joints(armature):
            bone = armature.pose.bones[joint.bone]
            axis = 1 if own else _free_axis(bone)
            assert axis is not None
            self._channels[joint.name] = (bone, axis, joint.linear)

    def __call__(self, positions: Mapping[str, float]) -> None:
        """Pose the named joints (radians or metres); unknown names raise KeyError."""
        for name, value in positions.items():
            bone, axis, linear = self._channels[name]
            if linear:
                bone.location[axis] = value
            elif bone.rotation_mode == "QUATERNION":
                bone.rotation_quaternion = Quaternion(Matrix.Identity(3)[axis], value)
            elif bone.rotation_mode == "AXIS_ANGLE":
                bone.rotation_axis_angle = (value, *Matrix.Identity(3)[axis])
            else:
                bone.rotation_euler[axis] = value


def pose(armature: bpy.types.Object, positions: Mapping[str, float]) -> None:
    """Pose the named joints (radians or metres).

    Raises:
        KeyError: if the armature has no such joint.
    """
    Poser(armature)(positions)


def frame(scene: bpy.types.Scene, armature: bpy.types.Object, name: str) -> Floats:
    """``T_world_frame`` ``(4, 4)`` of a link or bone, or else of an object; as last evaluated.

    Raises:
        UserError: if there is neither.
    """
    return Frames(scene, armature, [name]).world()[name]


class Frames:
    """World matrices of the named frames; what they hang on is looked up once."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, names: list[str]) -> None:
        robot = robot_of(armature)
        self.armature = armature
        self._bones: dict[str, tuple[bpy.types.PoseBone, Floats]] = {}
        self._objects: dict[str, bpy.types.Object] = {}
        for name in names:
            bone = armature.pose.bones.get(name)
            obj = scene.objects.get(name)
            if bone is not None:
                back = np.eye(4) if robot is None else np.array(_alignment_of(robot, name).inverted())
                self._bones[name] = (bone, back)
            elif obj is not None:
                self._objects[name] = obj
            else:
                raise UserError(f"{name!r} is neither a bone of {armature.name} nor an object: change that keypoint")

    def world(self) -> dict[str, Floats]:
        """``T_world_frame`` ``(4, 4)`` of each, after the view layer was updated."""
        base = np.array(self.armature.matrix_world)
        result = {name: base @ np.array(bone.matrix) @ back for name, (bone, back) in self._bones.items()}
        result.update((name, np.array(obj.matrix_world)) for name, obj in self._objects.items())
        return result


def robot_meshes(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """Mesh objects that hang on the armature or are deformed by it."""
    own = [o for o in armature.children_recursive if o.type == "MESH"]
    deformed = [
        o
        for o in bpy.data.objects
        if o.type == "MESH" and o not in own and any(m.type == "ARMATURE" and m.object == armature for m in o.modifiers)
    ]
    return own + deformed
