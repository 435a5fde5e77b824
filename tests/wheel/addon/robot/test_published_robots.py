# SPDX-License-Identifier: GPL-3.0-or-later
"""Every robot of ``example-robot-data`` stands in Blender as other libraries say it must.

Frames are compared with pinocchio, vertices of meshes with trimesh. Blender computes poses in single precision; what
it shows must still be right to a hundredth of a millimetre.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from reference import Kinematics, label, largest_difference, random_poses, robots, visual_meshes
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.robot.urdf_reader import load_urdf
from scipy.spatial import KDTree

METRES, RADIANS = 1e-5, 1e-5
POSES = 50
SHOWN = 2
"""In how many of them the vertices are compared, too."""
SAMPLE = 3000
"""Vertices of one robot that are compared."""


def world_vertices(obj: bpy.types.Object) -> np.ndarray:
    """Vertices ``(N, 3)`` as they are rendered."""
    points = np.empty(3 * len(obj.data.vertices), dtype=np.float32)
    obj.data.vertices.foreach_get("co", points)
    matrix = np.array(obj.matrix_world)
    return points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def farthest(points: np.ndarray, others: np.ndarray, rng: np.random.Generator, count: int) -> float:
    """How far the farthest of some of ``points`` lies from the nearest of ``others``."""
    chosen = points[rng.choice(len(points), min(count, len(points)), replace=False)]
    return float(KDTree(others, balanced_tree=False, compact_nodes=False).query(chosen)[0].max())


@pytest.mark.parametrize("path", robots(), ids=label)
def test_it_stands_as_other_libraries_say(path: Path) -> None:
    robot, truth, meshes = load_urdf(path), Kinematics(path), visual_meshes(path)
    notes: list[str] = []
    armature = rig.build(bpy.context.scene, robot, notes)
    assert not notes
    objects = [o for o in armature.children if o.type == "MESH"]
    assert len(objects) == len(robot.visuals)
    shown = [o for o, v in zip(objects_in_order(armature, robot), robot.visuals, strict=True) if v.shape == "mesh"]
    assert [o.parent_bone for o in shown] == [link for link, _ in meshes]
    standing = RobotInScene.of(bpy.context.scene, armature)
    frames, poser = standing.frames(list(robot.links)), rig.Poser(armature, standing.joints)
    rng = np.random.default_rng(5)
    share = -(-SAMPLE // max(len(meshes), 1))
    for number, pose in enumerate(random_poses(robot, rng, POSES)):
        poser(pose)
        bpy.context.view_layer.update()
        expected = truth.frames(pose)
        for link, frame in frames.world().items():
            metres, radians = largest_difference(frame, expected[link])
            assert metres < METRES and radians < RADIANS, f"{link} is off by {metres} m and {radians} rad"
        for obj, (link, vertices) in zip(shown, meshes, strict=True) if number < SHOWN else ():
            world = vertices @ expected[link][:3, :3].T + expected[link][:3, 3]
            found = world_vertices(obj)
            assert farthest(found, world, rng, share) < METRES, f"{link} shows vertices that are in no file"
            assert farthest(world, found, rng, share) < METRES, f"{link} lacks vertices of its file"


def objects_in_order(armature: bpy.types.Object, robot: Robot) -> list[bpy.types.Object]:
    """The mesh objects in the order of the robot's visuals: by link, and then as they were made."""
    by_link: dict[str, list[bpy.types.Object]] = {}
    for obj in sorted(armature.children, key=lambda o: o.session_uid):
        by_link.setdefault(obj.parent_bone, []).append(obj)
    return [by_link[v.link].pop(0) for v in robot.visuals]
