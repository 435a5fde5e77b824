# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig agrees with forward kinematics, and users' own armatures can be read and posed."""

from __future__ import annotations

import math

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.robot import Joint, Mimic, Robot, Visual, as_matrix
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf


def slanted_robot() -> Robot:
    """Every kind of joint, axes that are no coordinate axes, one mimic joint."""
    tilt = np.eye(4)
    tilt[:3, :3] = [[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]
    tilt[:3, 3] = (0.1, -0.2, 0.3)
    axis = (1 / 3, -2 / 3, 2 / 3)
    return Robot(
        "slanted",
        "base",
        (
            Joint("turn", "revolute", "base", "arm", as_matrix(tilt), axis, -1.5, 1.5),
            Joint("slide", "prismatic", "arm", "tray", as_matrix(tilt), axis, -0.2, 0.4),
            Joint("spin", "continuous", "tray", "disc", as_matrix(tilt), (0.0, 0.0, -1.0), -math.pi, math.pi),
            Joint("echo", "revolute", "arm", "twin", as_matrix(tilt), axis, -2, 2, Mimic("turn", -0.5, 0.25)),
            Joint("weld", "fixed", "disc", "tip", as_matrix(tilt)),
        ),
        (Visual("disc", "box", as_matrix(tilt), (0.1, 0.2, 0.3)),),
    )


@pytest.mark.parametrize("robot", [slanted_robot(), load_urdf(builtin_urdf())], ids=["slanted", "builtin"])
def test_link_frames_and_meshes_follow_forward_kinematics(robot: Robot) -> None:
    scene = bpy.context.scene
    armature = rig.build(scene, robot)
    frames = RobotInScene.of(scene, armature).frames(list(robot.links))
    rng = np.random.default_rng(0)
    for _ in range(25):
        pose = {j.name: rng.uniform(j.lower, j.upper) for j in robot.moving_joints}
        rig.pose(armature, pose)
        bpy.context.view_layer.update()
        truth = robot.link_frames(pose)
        for link, matrix in frames.world().items():
            np.testing.assert_allclose(matrix, truth[link], atol=1e-5)
        for child in armature.children:
            np.testing.assert_allclose(np.array(child.matrix_world), truth[child.parent_bone], atol=1e-5)


@pytest.mark.parametrize("parent", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.0, -0.8)], ids=["y", "z", "slanted"])
@pytest.mark.parametrize("tilt", [0.0, 1e-9, 1e-7, 4e-6, 1e-4, 2e-3, 0.02])
def test_axes_that_almost_point_backwards_are_not_bent(tilt: float, parent: tuple[float, float, float]) -> None:
    """Blender turns a bone to exactly -y of its parent or of the armature if it is within 2.5e-4 of that."""
    across = np.cross(parent, (0.48, 0.6, 0.64))
    axis = -np.asarray(parent) + tilt * across / np.linalg.norm(across)
    axis = tuple((axis / np.linalg.norm(axis)).tolist())
    near = np.eye(4)
    near[:3, 3] = (0.3, 0.1, -0.2)
    origin = as_matrix(near)
    robot = Robot(
        "back",
        "base",
        (
            Joint("lead", "revolute", "base", "stem", origin, parent, -2.5, 2.9),
            Joint("turn", "revolute", "stem", "arm", origin, axis, -2.5, 2.9),
            Joint("slide", "prismatic", "arm", "tray", origin, parent, -0.2, 0.4),
            Joint("echo", "revolute", "stem", "twin", origin, axis, -3, 3, Mimic("turn", -0.5, 0.25)),
            Joint("tug", "prismatic", "stem", "sled", origin, axis, -3, 3, Mimic("slide", 2.0, 0.0)),
        ),
    )
    armature = rig.build(bpy.context.scene, robot)
    frames = RobotInScene.of(bpy.context.scene, armature).frames(list(robot.links))
    for lead, turn, slide in ((-2.5, -2.5, 0.4), (0.0, 2.9, -0.2), (2.0, 1.0, 0.1)):
        pose = {"lead": lead, "turn": turn, "slide": slide}
        rig.pose(armature, pose)
        bpy.context.view_layer.update()
        truth = robot.link_frames(pose)
        for link, matrix in frames.world().items():
            np.testing.assert_allclose(matrix, truth[link], atol=2e-6)
    rig.pose(armature, {"lead": 0.0, "turn": 3.1, "slide": 2.0})
    bpy.context.view_layer.update()
    held = robot.link_frames({"turn": 2.9, "slide": 0.4})
    np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, "tray"), held["tray"], atol=1e-5)


def test_two_robots_stand_in_one_scene() -> None:
    robot, scene = slanted_robot(), bpy.context.scene
    first, second = rig.build(scene, robot), rig.build(scene, robot)
    second.location = (2, 0, 1)
    rig.pose(first, {"turn": 0.5})
    rig.pose(second, {"turn": -1.0})
    bpy.context.view_layer.update()
    there = robot.link_frames({"turn": -1.0})["tip"]
    there[:3, 3] += (2, 0, 1)
    np.testing.assert_allclose(rig.frame(scene, first, "tip"), robot.link_frames({"turn": 0.5})["tip"], atol=1e-5)
    np.testing.assert_allclose(rig.frame(scene, second, "tip"), there, atol=1e-5)
    rig.remove(second)
    assert [o.name for o in rig.robot_meshes(first)] == ["disc"]
    assert len(bpy.data.armatures) == len(bpy.data.meshes) == len(bpy.data.materials) == 1


def test_limits_hold_on_the_bones() -> None:
    robot = slanted_robot()
    armature = rig.build(bpy.context.scene, robot)
    rig.pose(armature, {"turn": 3.0, "slide": 5.0})
    bpy.context.view_layer.update()
    held = robot.link_frames({"turn": 1.5, "slide": 0.4})
    np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, "arm"), held["arm"], atol=1e-5)
    np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, "tray"), held["tray"], atol=1e-5)


def test_kinematics_stay_on_the_armature() -> None:
    robot = load_urdf(builtin_urdf())
    armature = rig.build(bpy.context.scene, robot)
    kept = rig.robot_of(armature)
    assert kept is not None
    assert kept.joints == robot.joints
    assert rig.find(bpy.context.scene) == armature
    armature[rig.KINEMATICS] = "{broken"
    assert rig.robot_of(armature) is None


def test_a_missing_mesh_leaves_no_half_built_rig(tmp_path) -> None:
    broken = tmp_path / "broken.stl"
    broken.write_text("solid nothing\nendsolid nothing\n")
    robot = Robot("half", "base", (), (Visual("base", "mesh", as_matrix(np.eye(4)), (1, 1, 1), str(broken)),))
    before = {d: len(getattr(bpy.data, d)) for d in ("objects", "meshes", "armatures", "collections")}
    with pytest.raises(UserError, match=r"broken\.stl"):
        rig.build(bpy.context.scene, robot)
    assert {d: len(getattr(bpy.data, d)) for d in before} == before


def own_armature(mode: str) -> bpy.types.Object:
    """A user's two-bone arm: one bone locked to its z axis, one free with a rotation limit about y."""
    data = bpy.data.armatures.new("own")
    armature = bpy.data.objects.new("own", data)
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    lower = data.edit_bones.new("lower")
    lower.tail = (0, 0, 1)
    upper = data.edit_bones.new("upper")
    upper.head, upper.tail, upper.parent = (0, 0, 1), (0, 0, 2), lower
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = mode
    armature.pose.bones["lower"].lock_rotation = (True, True, False)
    limit = armature.pose.bones["upper"].constraints.new("LIMIT_ROTATION")
    limit.use_limit_y, limit.min_y, limit.max_y, limit.owner_space = True, -1.0, 0.5, "LOCAL"
    return armature


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "AXIS_ANGLE"])
def test_users_own_armature(mode: str) -> None:
    armature = own_armature(mode)
    lower, upper = rig.joints(armature)
    assert (lower.name, lower.circular) == ("lower", True)
    assert (upper.lower, upper.upper) == (-1.0, 0.5)
    rig.pose(armature, {"lower": math.pi / 2})
    bpy.context.view_layer.update()
    # The bone points along z and turns about its own z axis, which lies along the world's -y.
    head = rig.frame(bpy.context.scene, armature, "upper")[:3, 3]
    np.testing.assert_allclose(np.abs(head), (1, 0, 0), atol=1e-6)


def test_a_keypoint_may_hang_on_an_object_but_must_hang_on_something() -> None:
    armature = own_armature("XYZ")
    empty = bpy.data.objects.new("marker", None)
    empty.location = (1, 2, 3)
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, "marker")[:3, 3], (1, 2, 3))
    with pytest.raises(UserError, match="nowhere"):
        rig.frame(bpy.context.scene, armature, "nowhere")


def test_find_says_what_is_missing() -> None:
    with pytest.raises(UserError, match="no robot in the scene"):
        rig.find(bpy.context.scene)
    with pytest.raises(UserError, match="ghost"):
        rig.find(bpy.context.scene, "ghost")
