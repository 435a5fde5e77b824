# SPDX-License-Identifier: GPL-3.0-or-later
"""URDF in, kinematics out; everything that is not a robot is refused in one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yourdfpy
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.keypoints import Keypoint, joint_keypoints, positions, skeleton
from robot_keypoints.core.robot import Robot, builtin_urdf, load_urdf, rotation_about

EVERY_JOINT = """<robot name="odd">
  <material name="paint"><color rgba="0.1 0.2 0.3 1"/></material>
  <link name="base"><visual><geometry><box size="1 2 3"/></geometry><material name="paint"/></visual></link>
  <link name="arm"><visual><origin xyz="0 0 1" rpy="0.1 0.2 0.3"/><geometry><cylinder radius="0.1" length="2"/>
  </geometry></visual></link>
  <link name="tray"><visual><geometry><sphere radius="0.3"/></geometry></visual></link>
  <link name="disc"><visual><geometry><mesh filename="absent.stl" scale="2 2 2"/></geometry></visual></link>
  <link name="twin"/><link name="tip"/><link name="cloud"/>
  <joint name="turn_joint" type="revolute"><parent link="base"/><child link="arm"/>
    <origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 0.6"/><axis xyz="1 -2 2"/><limit lower="-1.5" upper="1.5"/>
  </joint>
  <joint name="slide_joint" type="prismatic"><parent link="arm"/><child link="tray"/>
    <origin xyz="0 0 0.2" rpy="0 1 0"/><axis xyz="0 3 4"/><limit lower="-0.2" upper="0.4"/>
  </joint>
  <joint name="spin_joint" type="continuous"><parent link="tray"/><child link="disc"/>
    <origin xyz="0.5 0 0"/><axis xyz="0 0 -1"/></joint>
  <joint name="echo_joint" type="revolute"><parent link="arm"/><child link="twin"/>
    <origin xyz="0 0.1 0"/><axis xyz="0 1 0"/><limit lower="-2" upper="2"/>
    <mimic joint="turn_joint" multiplier="-0.5" offset="0.25"/></joint>
  <joint name="weld" type="fixed"><parent link="disc"/><child link="tip"/><origin xyz="0 0 0.4" rpy="1 0 0"/></joint>
  <joint name="drift" type="floating"><parent link="base"/><child link="cloud"/></joint>
</robot>"""


def robot_of(tmp_path: Path, text: str) -> Robot:
    path = tmp_path / "robot.urdf"
    path.write_text(text, encoding="utf-8")
    return load_urdf(path)


def test_ur10_kinematics_agree_with_yourdfpy(ur10_urdf: Path) -> None:
    robot = load_urdf(ur10_urdf)
    assert [j.name for j in robot.moving_joints] == [
        "shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint",
    ]  # fmt: skip
    truth = yourdfpy.URDF.load(str(ur10_urdf), load_meshes=False, build_scene_graph=True)
    rng = np.random.default_rng(3)
    for _ in range(50):
        pose = {j.name: float(rng.uniform(j.lower, j.upper)) for j in robot.moving_joints}
        truth.update_cfg(pose)
        frames = robot.link_frames(pose)
        assert set(frames) == set(robot.links)
        for link in robot.links:
            np.testing.assert_allclose(frames[link], truth.get_transform(link, robot.root), atol=1e-9)


def test_every_kind_of_joint_agrees_with_yourdfpy(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    truth = yourdfpy.URDF.load(str(tmp_path / "robot.urdf"), load_meshes=False, build_scene_graph=True)
    assert [j.name for j in robot.moving_joints] == ["turn_joint", "slide_joint", "spin_joint"]
    rng = np.random.default_rng(4)
    # yourdfpy neither follows mimic joints nor turns about axes that are not unit vectors as URDF says.
    for _ in range(20):
        pose = {j.name: float(rng.uniform(j.lower, j.upper)) for j in robot.moving_joints}
        frames = robot.link_frames(pose)
        expected = {"base": np.eye(4)}
        echo = -0.5 * pose["turn_joint"] + 0.25
        for joint in robot.joints:
            position = {**pose, "echo_joint": echo}.get(joint.name, 0.0)
            origin = truth.joint_map[joint.name].origin
            origin = np.eye(4) if origin is None else origin
            move = np.eye(4)
            if joint.kind == "prismatic":
                move[:3, 3] = np.array(joint.axis) * position
            elif joint.moving:
                move[:3, :3] = rotation_by_exponential(joint.axis, position)
            expected[joint.child] = expected[joint.parent] @ origin @ move
        for link in robot.links:
            np.testing.assert_allclose(frames[link], expected[link], atol=1e-9)


def rotation_by_exponential(axis: tuple[float, ...], angle: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.array(axis) * angle).as_matrix()


def test_shapes_colours_warnings_and_axes(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    shapes = {v.link: v for v in robot.visuals}
    assert shapes["base"].shape == "box" and shapes["base"].size == (1.0, 2.0, 3.0)
    assert shapes["base"].colour == (0.1, 0.2, 0.3, 1.0)
    assert shapes["arm"].size == (0.1, 2.0, 0.0) and shapes["arm"].origin[2][3] == 1.0
    assert shapes["tray"].size[0] == 0.3 and "disc" not in shapes
    assert any("absent.stl" in w and "not found" in w for w in robot.warnings)
    assert any("drift is floating" in w for w in robot.warnings)
    for joint in robot.moving_joints:
        assert np.linalg.norm(joint.axis) == pytest.approx(1.0)
    spin = next(j for j in robot.joints if j.name == "spin_joint")
    assert spin.circular and (spin.lower, spin.upper) == (-math.pi, math.pi)


def test_ur10_meshes_are_found(ur10_urdf: Path) -> None:
    robot = load_urdf(ur10_urdf)
    assert len(robot.visuals) == 7 and not robot.warnings
    assert all(Path(v.path).is_file() and v.shape == "mesh" for v in robot.visuals)


def test_packages_are_found_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """<robot name="r"><link name="l"><visual><geometry><mesh filename="package://pack/m.stl"/></geometry></visual>
    </link></robot>"""
    (tmp_path / "urdf").mkdir()
    (tmp_path / "urdf" / "r.urdf").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"None of the 1 meshes .*pack/m\.stl.*robot\.packages"):
        load_urdf(tmp_path / "urdf" / "r.urdf")
    elsewhere = tmp_path / "elsewhere" / "pack"
    elsewhere.mkdir(parents=True)
    (elsewhere / "m.stl").write_bytes(b"x")
    given = load_urdf(tmp_path / "urdf" / "r.urdf", {"pack": str(elsewhere)})
    assert [v.path for v in given.visuals] == [str(elsewhere / "m.stl")]
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "elsewhere"))
    assert load_urdf(tmp_path / "urdf" / "r.urdf").visuals


def test_limits_default_where_there_are_none(tmp_path: Path) -> None:
    robot = robot_of(
        tmp_path,
        """<robot name="r"><link name="a"/><link name="b"/><link name="c"/>
        <joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint>
        <joint name="k" type="prismatic"><parent link="b"/><child link="c"/><axis xyz="0 0 1"/></joint></robot>""",
    )
    assert [(j.lower, j.upper) for j in robot.moving_joints] == [(-math.pi, math.pi), (-1.0, 1.0)]
    assert len(robot.warnings) == 2


THREE = '<link name="a"/><link name="b"/><link name="c"/>'


def two_links(joint: str, links: str = '<link name="a"/><link name="b"/>') -> str:
    return f'<robot name="r">{links}{joint}</robot>'


def joint(body: str = '<axis xyz="0 0 1"/>', name: str = "j", kind: str = "continuous", ends: str = "ab") -> str:
    parent, child = ends
    return f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{body}</joint>'


@pytest.mark.parametrize(
    "text, words",
    [
        (two_links(joint() + joint(name="k", ends="ba")), "circle"),
        (
            two_links(joint(ends="bc") + joint(name="k", ends="cb"), THREE),
            "circle",
        ),
        (two_links(""), "several roots"),
        (two_links(joint(ends="az")), "'z', which is not defined"),
        (two_links(joint() + joint(name="k")), "more than one joint"),
        (two_links(joint('<axis xyz="0 0 1"/><limit lower="nan" upper="1"/>', kind="revolute")), "finite range"),
        (two_links(joint('<axis xyz="0 0 1"/><limit lower="-inf" upper="1"/>', kind="revolute")), "finite range"),
        (two_links(joint('<axis xyz="0 0 1"/><limit lower="2" upper="1"/>', kind="revolute")), "finite range"),
        (two_links(joint('<axis xyz="0 0 0"/>')), "direction"),
        (two_links(joint('<axis xyz="0 nan 0"/>')), "direction"),
        (two_links(joint('<axis xyz="0 0 1"/>', kind="hinge")), "unknown type"),
        (two_links(joint('<axis xyz="0 0 1"/><mimic joint="ghost"/>')), "mimics 'ghost'"),
        (two_links(joint('<axis xyz="0 0 1"/><origin xyz="nan 0 0"/>')), "finite"),
        (two_links(joint('<axis xyz="0 0 x"/>')), "check the file"),
        ("<robot name='r'><link name='a'>", "check the file"),
        ("this is no XML at all", "check the file"),
        ("", "check the file"),
        ("<sdf><model/></sdf>", "not <robot>"),
        ("<robot name='r'></robot>", "root link"),
        (two_links(joint() + joint(ends="bc"), THREE), "twice"),
        (two_links(joint(), '<link name="a"/><link name="b"/><link name="b"/>'), "twice"),
        (
            two_links(
                joint('<axis xyz="0 0 1"/><mimic joint="k"/>')
                + joint('<axis xyz="0 0 1"/><mimic joint="j"/>', "k", ends="bc"),
                THREE,
            ),
            "mimic",
        ),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as refusal:
        robot_of(tmp_path, text)
    sentence = str(refusal.value)
    assert words in sentence and "robot.urdf" in sentence and "\n" not in sentence


def test_prefixes_that_xacro_left_behind_do_no_harm(tmp_path: Path) -> None:
    text = '<robot name="r"><link name="a"/><xacro:property name="x" value="1"/></robot>'
    assert robot_of(tmp_path, text).root == "a"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.urdf", tmp_path):
        with pytest.raises(UserError, match="choose another"):
            load_urdf(path)


def test_entities_are_not_expanded_from_other_files(tmp_path: Path) -> None:
    """A URDF from a stranger can't read files of the machine into itself."""
    (tmp_path / "secret").write_text("hidden-treasure", encoding="utf-8")
    text = f"""<!DOCTYPE robot [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>
    <robot name="r"><link name="&x;a"/></robot>"""
    try:
        robot = robot_of(tmp_path, text)
    except UserError as refusal:
        assert "hidden-treasure" not in str(refusal)
    else:
        assert "hidden-treasure" not in robot.root


def test_robot_survives_json(ur10_urdf: Path, tmp_path: Path) -> None:
    for robot in (load_urdf(ur10_urdf), robot_of(tmp_path, EVERY_JOINT)):
        again = Robot.from_dict(json.loads(json.dumps(robot.to_dict())))
        pose = {j.name: 0.1 for j in robot.moving_joints}
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
        points = positions(keypoints, robot.link_frames(pose))
        apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(len(points))
        assert apart.min() > 1e-3, "two keypoints stand in one place"


def test_offsets_move_with_their_frame(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    keypoints = (Keypoint("nose", "disc", (0.1, 0.2, 0.3)), Keypoint("foot", "base"))
    frames = robot.link_frames({"turn_joint": 0.7, "slide_joint": 0.1, "spin_joint": 2.0})
    points = positions(keypoints, frames)
    expected = frames["disc"][:3, :3] @ [0.1, 0.2, 0.3] + frames["disc"][:3, 3]
    np.testing.assert_allclose(points, [expected, [0, 0, 0]], atol=1e-12)
    assert positions((), frames).shape == (0, 3)


def test_a_tip_gets_a_keypoint_but_a_fixed_mount_none(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    names = {k.frame for k in joint_keypoints(robot)}
    assert "tip" in names and "cloud" not in names
    assert skeleton(robot, joint_keypoints(robot)) == (("turn", "slide"), ("slide", "spin"), ("spin", "tip"))


def test_rotation_about_is_a_rotation() -> None:
    for angle in (0.0, 0.3, -2.0, math.pi):
        matrix = rotation_about((2 / 3, -1 / 3, 2 / 3), angle)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        np.testing.assert_allclose(matrix, rotation_by_exponential((2 / 3, -1 / 3, 2 / 3), angle), atol=1e-12)
