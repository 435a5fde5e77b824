# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinematics as data, and the keypoints that a robot gets by itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from descriptions import EVERY_JOINT, robot_of
from robot_keypoints.core.robot.keypoints import Keypoint, joint_keypoints, positions, skeleton
from robot_keypoints.core.robot.robot import Robot, rotation_about
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from scipy.spatial.transform import Rotation


def test_robot_survives_json(ur10_urdf: Path, tmp_path: Path) -> None:
    for robot in (load_urdf(ur10_urdf), robot_of(tmp_path, EVERY_JOINT)):
        again = Robot.from_dict(json.loads(json.dumps(robot.to_dict())))
        pose = {j.name: 0.1 for j in robot.moving_joints}
        assert again.joints == robot.joints
        for link, frame in robot.link_frames(pose).items():
            np.testing.assert_array_equal(frame, again.link_frames(pose)[link])


@pytest.mark.parametrize("document", [{}, {"name": "r", "root": "a", "joints": [{}]}, {"name": "r", "joints": []}])
def test_from_dict_refuses(document: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Robot.from_dict(document)


def test_builtin_robot_has_the_ur10s_kinematics(ur10_urdf: Path) -> None:
    real, own = load_urdf(ur10_urdf), load_urdf(builtin_urdf())
    assert not own.warnings and own.visuals
    assert [j.name for j in own.moving_joints] == [j.name for j in real.moving_joints]
    rng = np.random.default_rng(5)
    for _ in range(20):
        pose = {j.name: float(rng.uniform(-math.pi, math.pi)) for j in real.moving_joints}
        frames, truth = own.link_frames(pose), real.link_frames(pose)
        root = np.linalg.inv(truth["base_link"])
        for j in own.moving_joints:
            np.testing.assert_allclose(
                np.linalg.inv(frames["base_link"]) @ frames[j.child], root @ truth[j.child], atol=1e-3
            )


def test_reach_holds_the_robot(ur10_urdf: Path) -> None:
    robot = load_urdf(ur10_urdf)
    rng = np.random.default_rng(6)
    far = 0.0
    for _ in range(500):
        frames = robot.link_frames({j.name: rng.uniform(-3.14, 3.14) for j in robot.moving_joints})
        far = max(far, *(float(np.linalg.norm(f[:3, 3])) for f in frames.values()))
    assert far <= robot.reach() < 2 * far


# ------------------------------------------------------------------------------------------------------- keypoints


def test_keypoints_of_the_ur10(ur10_urdf: Path) -> None:
    robot = load_urdf(ur10_urdf)
    keypoints = joint_keypoints(robot)
    assert [k.name for k in keypoints][:6] == [
        "shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3",
    ]  # fmt: skip
    pairs = skeleton(robot, keypoints)
    assert ("shoulder_pan", "shoulder_lift") in pairs and ("wrist_2", "wrist_3") in pairs
    names = [k.name for k in keypoints]
    assert len(set(names)) == len(names)
    assert len(pairs) == len(keypoints) - 1, "the skeleton of a chain is a chain"
    rng = np.random.default_rng(7)
    for _ in range(3):
        pose = {j.name: rng.uniform(-3, 3) for j in robot.moving_joints}
        points = positions(keypoints, {"": robot.link_frames(pose)})
        apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(len(points))
        assert apart.min() > 1e-3, "two keypoints stand in one place"


def test_offsets_move_with_their_frame(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    keypoints = (Keypoint("nose", "disc", (0.1, 0.2, 0.3)), Keypoint("foot", "base"))
    frames = robot.link_frames({"turn_joint": 0.7, "slide_joint": 0.1, "spin_joint": 2.0})
    points = positions(keypoints, {"": frames})
    expected = frames["disc"][:3, :3] @ [0.1, 0.2, 0.3] + frames["disc"][:3, 3]
    np.testing.assert_allclose(points, [expected, [0, 0, 0]], atol=1e-12)
    assert positions((), {"": frames}).shape == (0, 3)


def test_a_tip_gets_a_keypoint_but_a_fixed_mount_none(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    names = {k.frame for k in joint_keypoints(robot)}
    assert "tip" in names and not names & {"cloud", "cart", "flag"}, "what merely floats is held where it is"
    assert skeleton(robot, joint_keypoints(robot)) == (("turn", "slide"), ("slide", "spin"), ("spin", "tip"))


def test_default_names_of_keypoints_are_unique(tmp_path: Path) -> None:
    """A joint and a tip whose short names are the same, and joints whose whole names are."""
    text = """<robot name="r"><link name="a"/><link name="b"/><link name="gripper_link"/>
    <link name="c"/><link name="d"/>
    <joint name="gripper" type="continuous"><parent link="a"/><child link="b"/></joint>
    <joint name="mount" type="fixed"><parent link="b"/><child link="gripper_link"/><origin xyz="0 0 1"/></joint>
    <joint name="gripper_joint" type="continuous"><parent link="b"/><child link="c"/><origin xyz="0 1 0"/></joint>
    <joint name="gripper_joint_joint" type="continuous"><parent link="c"/><child link="d"/><origin xyz="1 0 0"/></joint>
    </robot>"""
    robot = robot_of(tmp_path, text)
    found = {k.frame: k.name for k in joint_keypoints(robot)}
    assert found == {"b": "gripper", "c": "gripper_joint", "d": "gripper_joint_joint", "gripper_link": "gripper_link"}
    edges = skeleton(robot, joint_keypoints(robot))
    assert ("gripper", "gripper_link") in edges and len(edges) == 3


def test_rotation_about_is_a_rotation() -> None:
    for angle in (0.0, 0.3, -2.0, math.pi):
        matrix = rotation_about((2 / 3, -1 / 3, 2 / 3), angle)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        np.testing.assert_allclose(
            matrix, Rotation.from_rotvec(np.array((2 / 3, -1 / 3, 2 / 3)) * angle).as_matrix(), atol=1e-12
        )
