# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's own armature: which of its bones are joints, and how the panel's settings follow what the user says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.properties import to_settings
from robot_keypoints.addon.robot import bone_joints, rig


@pytest.fixture
def registered() -> Iterator[None]:
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def arm(*names: str) -> bpy.types.Object:
    """A chain of bones, each a metre long and upright, with every channel free, that deforms a mesh of the user's."""
    data = bpy.data.armatures.new("own")
    armature = bpy.data.objects.new("own", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for height, name in enumerate(names):
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, height), (0, 0, height + 1)
        if height:
            bone.parent = data.edit_bones[names[height - 1]]
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_location = (True, True, True)
    return armature


def only(bone: bpy.types.PoseBone, axis: int | None, *, slides: bool = False) -> None:
    free = [i == axis for i in range(3)]
    bone.lock_rotation = [slides or not f for f in free]
    bone.lock_location = [not (slides and f) for f in free]


def limit(bone: bpy.types.PoseBone, kind: str, letter: str, low: float, high: float) -> bpy.types.Constraint:
    found = bone.constraints.new(kind)
    found.owner_space = "LOCAL"
    for use in ("use_limit", "use_min", "use_max"):
        if hasattr(found, f"{use}_{letter}"):
            setattr(found, f"{use}_{letter}", True)
    setattr(found, f"min_{letter}", low)
    setattr(found, f"max_{letter}", high)
    return found


def test_locks_and_limits_say_what_a_bone_does() -> None:
    armature = arm("hinge", "limited", "slide", "muted", "fixed")
    bones = armature.pose.bones
    only(bones["hinge"], 2)
    limit(bones["limited"], "LIMIT_ROTATION", "y", -1.0, 0.5)
    only(bones["slide"], 1, slides=True)
    limit(bones["slide"], "LIMIT_LOCATION", "y", -0.2, 0.3)
    only(bones["muted"], 0)
    limit(bones["muted"], "LIMIT_ROTATION", "x", -0.1, 0.1).mute = True
    only(bones["fixed"], None)
    found = {j.name: j for j in rig.joints(armature)}
    assert set(found) == {"hinge", "limited", "slide", "muted"}
    assert (found["hinge"].axis, found["hinge"].circular) == (2, True)
    assert (found["limited"].axis, found["limited"].lower, found["limited"].upper) == (1, -1.0, 0.5)
    slide = found["slide"]
    assert slide.linear and not slide.circular
    assert (slide.axis, slide.lower, slide.upper) == (1, pytest.approx(-0.2), pytest.approx(0.3))
    assert found["muted"].circular, "a constraint that is switched off limits nothing"


def test_what_the_user_says_goes_first_and_workers_hear_it(tmp_path: Path) -> None:
    armature = arm("first", "second", "third")
    first, second, third = armature.pose.bones
    bone_joints.put(first, "joint", "NO")
    only(second, None)
    for name, value in (("joint", "YES"), ("axis", "Z"), ("own_range", True), ("lower", -0.5), ("upper", 0.75)):
        bone_joints.put(second, name, value)
    slide = (("joint", "YES"), ("kind", "SLIDE"), ("axis", "X"), ("own_range", True), ("near", 0.0), ("far", 0.4))
    for name, value in slide:
        bone_joints.put(third, name, value)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "own.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # As a worker opens it: with none of the extension's properties registered.
    assert not hasattr(bpy.types.PoseBone, "robot_keypoints_joint")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "own.blend"))
    armature = bpy.data.objects["own"]
    turning, sliding = rig.joints(armature)
    assert (turning.name, turning.axis, turning.lower, turning.upper) == ("second", 2, -0.5, 0.75)
    assert (sliding.name, sliding.axis, sliding.linear, sliding.upper) == ("third", 0, True, 0.4)
    rig.pose(armature, {"second": 0.6, "third": 0.25})
    bpy.context.view_layer.update()
    base = rig.frame(bpy.context.scene, armature, "second")
    rest = np.array(armature.data.bones["second"].matrix_local)
    turn = np.array([[math.cos(0.6), -math.sin(0.6), 0], [math.sin(0.6), math.cos(0.6), 0], [0, 0, 1]])
    np.testing.assert_allclose(base[:3, :3], rest[:3, :3] @ turn, atol=1e-6)
    moved = np.linalg.inv(base) @ rig.frame(bpy.context.scene, armature, "third")
    np.testing.assert_allclose(moved[:3, 3], (0.25, 1, 0), atol=1e-6)


def shown() -> tuple[set[str], set[str], set[tuple[str, str]]]:
    settings = to_settings.read(bpy.context.scene)
    joints = {v.name for v in settings.variables if v.name.startswith("joint/")}
    return joints, {k.name for k in settings.keypoints}, set(settings.skeleton)


@pytest.mark.usefixtures("registered")
def test_the_scene_follows_what_is_said_about_bones() -> None:
    armature = arm("a", "b", "c", "d")
    mesh = bpy.data.objects.new("skin", bpy.data.meshes.new("skin"))
    mesh.data.materials.append(bpy.data.materials.new("paint"))
    mesh.parent = armature
    bpy.context.scene.collection.objects.link(mesh)
    assert bpy.ops.robot_keypoints.from_armature() == {"FINISHED"}
    assert shown() == (
        {f"joint/{n}" for n in "abcd"}, set("abcd"), {("a", "b"), ("b", "c"), ("c", "d")}
    )  # fmt: skip
    props = bpy.context.scene.robot_keypoints
    kept = next(v for v in props.variables if v.name == "joint/c")
    kept.low = -0.25
    props.keypoints[3].offset = (0.1, 0, 0)
    select(armature, "b", "d")
    assert bpy.ops.robot_keypoints.bones_joint(joint="NO") == {"FINISHED"}
    joints, keypoints, skeleton = shown()
    assert joints == {"joint/a", "joint/c"}
    assert keypoints == {"a", "c", "d"}, "the keypoint that the user had moved stays"
    assert skeleton == {("a", "c"), ("c", "d")}
    assert next(v for v in props.variables if v.name == "joint/c").low == pytest.approx(-0.25)
    assert bpy.ops.robot_keypoints.bones_joint(joint="AUTO") == {"FINISHED"}
    assert shown() == (
        {f"joint/{n}" for n in "abcd"}, set("abcd"), {("a", "b"), ("b", "c"), ("c", "d")}
    )  # fmt: skip
    assert len(props.skeleton) == 3
    bone: Any = armature.pose.bones["b"]
    bone.robot_keypoints_own_range = True
    bone.robot_keypoints_upper = 0.5
    bone.robot_keypoints_lower = -0.5
    bone.robot_keypoints_axis = "Z"
    assert (bone.robot_keypoints_joint, bone.robot_keypoints_axis) == ("AUTO", "Z")
    variable = next(v for v in props.variables if v.name == "joint/b")
    assert (variable.low, variable.high) == (pytest.approx(-0.5), pytest.approx(0.5))
    assert [m.name for m in mesh.data.materials] == ["paint"] and mesh.parent == armature


@pytest.mark.usefixtures("registered")
def test_bones_are_marked_in_pose_mode_and_only_on_armatures_of_the_users_own() -> None:
    with pytest.raises(RuntimeError, match="Pose Mode"):
        bpy.ops.robot_keypoints.bones_joint(joint="NO")
    armature = arm("a", "b")
    select(armature)
    assert "No bone is selected" in refusal(bpy.ops.robot_keypoints.bones_joint, joint="NO")
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.robot_keypoints.builtin_robot()
    ours = bpy.context.scene.robot_keypoints.armature
    select(ours, ours.data.bones[1].name)
    assert "its URDF" in refusal(bpy.ops.robot_keypoints.bones_joint, joint="NO")


def select(armature: bpy.types.Object, *names: str) -> None:
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="POSE")
    for bone in armature.data.bones:
        bone.select = bone.name in names
