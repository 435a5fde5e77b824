# SPDX-License-Identifier: GPL-3.0-or-later
"""The bones of a robot's armature: where they stand, what they may do, and what they follow."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.robot.robot import Joint, Robot, rotation_about
from . import link_meshes

Floats = NDArray[np.float64]

STANDINGS = "robot_keypoints_bones"
"""Custom property of an armature made here: how each bone stands in its link's frame, as JSON."""
NEARLY_BACKWARDS = (2e-7, 1e-3)
"""No bone is this close to -y, in radians: Blender turns those within 2.5e-4 to it. Less than that harms nobody."""


def add(armature: bpy.types.Object, robot: Robot, length: float) -> None:
    """Give an armature a bone of ``length`` metres for every link, in its place with all joints at zero.

    Nothing else is selected and the armature is active afterwards.
    """
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
        meant = standings(robot)
        parents = {j.child: j.parent for j in robot.joints}
        for link in robot.links:
            bone = armature.data.edit_bones.new(link)
            bone.tail = (0, length, 0)
            bone.matrix = link_meshes.as_matrix(frames[link] @ meant[link].alignment)
            if link in parents:
                bone.parent = armature.data.edit_bones[parents[link]]
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")


@dataclass(frozen=True)
class Standing:
    """How a bone stands in its link: its axis, x (0) or y (1), that the joint has, and ``T_link_bone`` (4, 4)."""

    axis: int
    alignment: Floats


def standings(robot: Robot) -> dict[str, Standing]:
    """How each link's bone ought to stand: its y axis, for which bones are made, along the joint's.

    It is x for the few bones that would point almost, but not quite, to -y of the armature or of their parent:
    Blender turns those to exactly -y.
    """
    frames = robot.rest_frames()
    result = {robot.root: Standing(1, np.eye(4))}
    for joint in robot.joints:
        parent = frames[joint.parent] @ result[joint.parent].alignment
        candidates = [_standing(joint, 1, 0.0)]
        if joint.moving:
            candidates += [_standing(joint, 0, twist) for twist in (0.0, 1.0, 2.0)]
        for standing in candidates:
            direction = frames[joint.child][:3, :3] @ standing.alignment[:3, 1]
            if not (_nearly_backwards(direction) or _nearly_backwards(parent[:3, :3].T @ direction)):
                break
        result[joint.child] = standing
    return result


def _standing(joint: Joint, axis: int, twist: float) -> Standing:
    """The bone's ``axis`` along the joint's, by the shortest turn and a ``twist`` about it."""
    alignment = np.eye(4)
    if joint.moving:
        own = np.eye(3)[axis]
        alignment[:3, :3] = _shortest_turn(own, np.asarray(joint.axis)) @ rotation_about(own, twist)
    return Standing(axis, alignment)


def _nearly_backwards(direction: Floats) -> bool:
    x, y, z = direction
    low, high = NEARLY_BACKWARDS
    return bool(y < 0 and low < math.hypot(x, z) < high)


def _shortest_turn(a: Floats, b: Floats) -> Floats:
    """The rotation ``(3, 3)`` between two unit vectors by the least angle."""
    middle = a + b
    if np.linalg.norm(middle) < 1e-8:
        # Half a turn, about anything across.
        across = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        across /= np.linalg.norm(across)
        return np.asarray(2 * np.outer(across, across) - np.eye(3))
    return np.asarray(np.eye(3) + 2 * np.outer(b, a) - 2 * np.outer(middle, middle) / (middle @ middle))


def keep(armature: bpy.types.Object, robot: Robot) -> dict[str, Standing]:
    """Note on the armature how its bones really came out, and return it.

    Blender keeps a bone's roll as one angle, which may be off by 1e-5.
    """
    frames, meant = robot.rest_frames(), standings(robot)
    built = {
        bone.name: Standing(meant[bone.name].axis, np.linalg.inv(frames[bone.name]) @ np.array(bone.matrix_local))
        for bone in armature.data.bones
    }
    armature[STANDINGS] = json.dumps({n: [b.axis, *b.alignment[:3].ravel().tolist()] for n, b in built.items()})
    return built


def kept(armature: bpy.types.Object, robot: Robot) -> dict[str, Standing]:
    """What :func:`keep` has noted."""
    result = standings(robot)
    for link, (axis, *values) in json.loads(armature.get(STANDINGS, "{}")).items():
        if link in result:
            result[link] = Standing(int(axis), np.vstack([np.reshape(values, (3, 4)), (0.0, 0.0, 0.0, 1.0)]))
    return result


def set_channels(armature: bpy.types.Object, robot: Robot) -> None:
    """Locks, limits and followers of every bone."""
    bones = {j.child: j for j in robot.joints}
    by_name = {j.name: j for j in robot.joints}
    axes = {link: standing.axis for link, standing in standings(robot).items()}
    for bone in armature.pose.bones:
        joint = bones.get(bone.name)
        turns = joint is not None and joint.moving and joint.kind != "prismatic"
        slides = joint is not None and joint.kind == "prismatic"
        along = [index == axes[bone.name] for index in range(3)]
        # The order in which a turn about the joint's axis alone is never near a singularity: it isn't the middle one.
        bone.rotation_mode = "YXZ" if axes[bone.name] == 1 else "XYZ"
        bone.lock_location = [not (slides and own) for own in along]
        bone.lock_rotation = [not (turns and own) for own in along]
        bone.lock_scale = (True, True, True)
        for letter, own in zip("xyz", along, strict=True):
            setattr(bone, f"lock_ik_{letter}", not (turns and own))
        if joint is None or not joint.moving:
            continue
        if joint.mimic is not None:
            leader = by_name[joint.mimic.joint]
            _follow(armature, bone, axes[bone.name], joint, leader, axes[leader.child])
        elif not joint.circular and not joint.fixed:
            _limit(bone, "xyz"[axes[bone.name]], joint)


def _limit(bone: bpy.types.PoseBone, letter: str, joint: Joint) -> None:
    if joint.kind == "prismatic":
        limit = bone.constraints.new("LIMIT_LOCATION")
        used = [f"use_min_{letter}", f"use_max_{letter}"]
    else:
        limit = bone.constraints.new("LIMIT_ROTATION")
        used = [f"use_limit_{letter}"]
        setattr(bone, f"use_ik_limit_{letter}", True)
        setattr(bone, f"ik_min_{letter}", max(joint.lower, -math.pi))
        setattr(bone, f"ik_max_{letter}", min(joint.upper, math.pi))
    for name in used:
        setattr(limit, name, True)
    limit.owner_space = "LOCAL"
    setattr(limit, f"min_{letter}", joint.lower)
    setattr(limit, f"max_{letter}", joint.upper)


def _follow(
    armature: bpy.types.Object, bone: bpy.types.PoseBone, axis: int, joint: Joint, leader: Joint, leader_axis: int
) -> None:
    assert joint.mimic is not None
    channel = "location" if joint.kind == "prismatic" else "rotation_euler"
    source = "location" if leader.kind == "prismatic" else "rotation_euler"
    curve = bone.driver_add(channel, axis)
    curve.driver.type = "SUM"
    variable = curve.driver.variables.new()
    variable.name = "q"
    variable.targets[0].id = armature
    name = bpy.utils.escape_identifier(leader.child)
    variable.targets[0].data_path = f'pose.bones["{name}"].{source}[{leader_axis}]'
    # A polynomial on the driver's curve: since 5.x the curve has keys by default, to which values near them snap.
    for modifier in list(curve.modifiers):
        curve.modifiers.remove(modifier)
    line = curve.modifiers.new("GENERATOR")
    line.mode, line.poly_order = "POLYNOMIAL", 1
    line.coefficients = (joint.mimic.offset, joint.mimic.multiplier)
