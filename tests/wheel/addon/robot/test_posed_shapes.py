# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's shapes as they are sent to a model's server: where the robot's links are, and not too many triangles."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
import pytest
import robot_keypoints
from mathutils import Matrix
from robot_keypoints.addon.robot import posed_shapes, rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.core.camera.intrinsics import transform
from robot_keypoints.core.messages.robot_shapes import RobotShapes
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.pose.silhouette import Shapes

ANGLES = {"shoulder_pan_joint": 0.4, "shoulder_lift_joint": -1.1, "elbow_joint": 1.3, "wrist_2_joint": 0.8}
OFFSET = np.array([[0.0, -1, 0, 0.1], [1, 0, 0, 0.2], [0, 0, 1, 0.3], [0, 0, 0, 1]])


@pytest.fixture
def armature() -> Iterator[bpy.types.Object]:
    """The UR10, turned, moved and twice as large."""
    robot_keypoints.register()
    bpy.ops.robot_keypoints.builtin_robot()
    made = bpy.context.scene.robot_keypoints.armature
    made.matrix_world = Matrix.Translation((3.0, 1.0, 0.5)) @ Matrix.Rotation(0.7, 4, "Z") @ Matrix.Scale(2.0, 4)
    rig.pose(made, ANGLES)
    yield made
    robot_keypoints.unregister()


def read(armature: bpy.types.Object) -> RobotShapes | None:
    return posed_shapes.of(RobotInScene.of(bpy.context.scene, armature), OFFSET)


def box(points: np.ndarray) -> np.ndarray:
    return np.stack([points.min(axis=0), points.max(axis=0)])


def test_links_lie_where_the_joints_have_them(armature: bpy.types.Object) -> None:
    robot = load_urdf(builtin_urdf())
    solids, found = Shapes.of(robot), read(armature)
    assert found is not None and len(found.parts) == len(solids.links)
    frames = robot.link_frames({**dict.fromkeys((j.name for j in robot.moving_joints), 0.0), **ANGLES})
    expected = [
        box(transform(np.linalg.inv(OFFSET) @ frames[n], v)) for n, v in zip(solids.links, solids.vertices, strict=True)
    ]
    boxes = [box(part.vertices) for part in found.parts]
    for there in expected:
        assert min(np.abs(there - here).max() for here in boxes) < 2e-3
    assert all(part.triangles.max() == len(part.vertices) - 1 for part in found.parts)
    RobotShapes.decode(found.counts, found.data)


def test_too_many_triangles_become_fewer_and_stay_in_place(
    armature: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(armature)
    assert whole is not None
    count = sum(len(p.triangles) for p in whole.parts)
    monkeypatch.setattr(posed_shapes, "MOST_TRIANGLES", count // 4)
    lighter = read(armature)
    assert lighter is not None and 0 < sum(len(p.triangles) for p in lighter.parts) <= count // 4
    a, b = (box(np.concatenate([p.vertices for p in shapes.parts])) for shapes in (whole, lighter))
    assert np.abs(a - b).max() < 0.03


def test_what_a_message_does_not_take_stays_here(armature: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dome that somebody has hung on a link, and more links than there may be."""
    whole = read(armature)
    mesh = bpy.data.meshes.new("dome")
    mesh.from_pydata([(0, 0, 0), (9e4, 0, 0), (0, 9e4, 0)], [], [(0, 1, 2)])
    dome = bpy.data.objects.new("dome", mesh)
    bpy.context.scene.collection.objects.link(dome)
    dome.parent, dome.parent_type = armature, "BONE"
    dome.parent_bone = armature.data.bones[-1].name
    few = read(armature)
    assert whole is not None and few is not None and len(whole.parts) - 1 <= len(few.parts) <= len(whole.parts)
    RobotShapes.decode(few.counts, few.data)
    monkeypatch.setattr(posed_shapes, "MOST_PARTS", len(few.parts) - 1)
    assert read(armature) is None


def test_what_is_not_rendered_is_left_out(armature: bpy.types.Object) -> None:
    whole = read(armature)
    meshes = [o for o in bpy.context.scene.objects if o.type == "MESH" and o.parent == armature]
    for obj in meshes[1:]:
        obj.hide_render = True
    few = read(armature)
    assert whole is not None and few is not None and len(few.parts) < len(whole.parts)
    meshes[0].hide_render = True
    assert read(armature) is None
