# SPDX-License-Identifier: GPL-3.0-or-later
"""URDF in, a robot out; everything that is not a robot is refused in one sentence."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from descriptions import EVERY_JOINT, robot_of
from reference import REFUSED, ROBOTS, Kinematics, label, largest_difference, random_poses, robots
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import LONGEST_NAME, load_urdf


@pytest.mark.parametrize("path", robots(), ids=label)
def test_kinematics_of_every_robot_agree_with_pinocchio(path: Path) -> None:
    robot, truth = load_urdf(path), Kinematics(path)
    rng = np.random.default_rng(3)
    for pose in random_poses(robot, rng, 10):
        expected = truth.frames(pose)
        frames = robot.link_frames(pose)
        assert frames.keys() == expected.keys() == set(robot.links)
        for link, frame in frames.items():
            assert max(largest_difference(frame, expected[link])) < 1e-9, link


@pytest.mark.parametrize("path", sorted(REFUSED))
def test_what_is_no_robot_is_refused_with_the_reason(path: str) -> None:
    with pytest.raises(UserError, match=REFUSED[path]):
        load_urdf(ROBOTS / path)


def test_every_kind_of_joint_agrees_with_pinocchio(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    truth = Kinematics(tmp_path / "robot.urdf")
    assert [j.name for j in robot.moving_joints if not j.fixed] == ["turn_joint", "slide_joint", "spin_joint"]
    rng = np.random.default_rng(4)
    for pose in random_poses(robot, rng, 20):
        expected, frames = truth.frames(pose), robot.link_frames(pose)
        assert frames.keys() >= expected.keys()
        for link, frame in expected.items():
            assert max(largest_difference(frames[link], frame)) < 1e-9, link


def test_floating_and_planar_joints_are_chains_that_stay_at_zero(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    fixed = [j for j in robot.joints if j.fixed]
    assert [j.name for j in fixed] == [
        "drift/x", "drift/y", "drift/z", "drift/rz", "drift/ry", "drift/rx", "glide/x", "glide/y", "glide/rz",
    ]  # fmt: skip
    assert {j.kind for j in fixed if "r" not in j.name.partition("/")[2]} == {"prismatic"}
    truth = Kinematics(tmp_path / "robot.urdf").frames({})
    frames = robot.link_frames({})
    for link in ("cloud", "cart", "flag"):
        np.testing.assert_allclose(frames[link], truth[link], atol=1e-12)


def test_a_planar_joint_moves_in_the_plane_across_its_axis(tmp_path: Path) -> None:
    for axis in ((1, 0, 0), (0, 1, 0), (0, 0, -1), (1, 2, -2)):
        body = f'<axis xyz="{axis[0]} {axis[1]} {axis[2]}"/>'
        robot = robot_of(tmp_path, two_links(joint(body, kind="planar")))
        normal = np.array(axis) / np.linalg.norm(axis)
        frame = robot.link_frames({"j/x": 0.3, "j/y": -0.4, "j/rz": 0.7})["b"]
        assert abs(frame[:3, 3] @ normal) < 1e-12 and np.linalg.norm(frame[:3, 3]) == pytest.approx(0.5)
        np.testing.assert_allclose(frame[:3, :3] @ normal, normal, atol=1e-12)


def test_shapes_colours_and_warnings(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, EVERY_JOINT)
    shapes = {v.link: v for v in robot.visuals}
    assert [v.shape for v in robot.visuals if v.link == "tray"] == ["sphere", "capsule"]
    assert shapes["base"].shape == "box" and shapes["base"].size == (1.0, 2.0, 3.0)
    assert shapes["base"].colour == (0.1, 0.2, 0.3, 1.0)
    assert shapes["arm"].size == (0.1, 2.0, 0.0) and shapes["arm"].origin[2][3] == 1.0
    assert shapes["tray"].size == (0.2, 0.5, 0.0)
    assert shapes["disc"].shape == "placeholder" and 0 < shapes["disc"].size[0] < 0.1 * robot.reach()
    assert [w for w in robot.warnings if "absent.stl" in w and "not found" in w]
    for j in robot.moving_joints:
        assert np.linalg.norm(j.axis) == pytest.approx(1.0)
    spin = next(j for j in robot.joints if j.name == "spin_joint")
    assert spin.circular and (spin.lower, spin.upper) == (-math.pi, math.pi)


def test_materials_are_found_by_name_wherever_they_are_defined(tmp_path: Path) -> None:
    (tmp_path / "wood.png").write_bytes(b"x")
    box = "<geometry><box size='1 1 1'/></geometry>"
    robot = robot_of(
        tmp_path,
        f"""<robot name="r">
        <link name="a"><visual>{box}<material name="later"/></visual>
        <visual>{box}<material name="none"/></visual></link>
        <link name="b"><visual>{box}<material name="later"><color rgba="1 0 0 0.5"/></material></visual>
        <visual>{box}<material name="later"/></visual>
        <visual>{box}<material name="w"><texture filename="wood.png"/></material></visual>
        <visual>{box}<material name="x"><texture filename="lost.png"/></material></visual></link>
        <joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint></robot>""",
    )
    colours = [v.colour for v in robot.visuals]
    assert colours == [(1.0, 0.0, 0.0, 0.5), None, (1.0, 0.0, 0.0, 0.5), (1.0, 0.0, 0.0, 0.5), None, None]
    assert robot.visuals[4].texture == str(tmp_path / "wood.png") and robot.visuals[5].texture == ""
    assert len(robot.warnings) == 1 and "lost.png" in robot.warnings[0]


def test_ur10_meshes_are_found(ur10_urdf: Path) -> None:
    robot = load_urdf(ur10_urdf)
    assert len(robot.visuals) == 7 and not robot.warnings
    assert all(Path(v.path).is_file() and v.shape == "mesh" for v in robot.visuals)


def test_a_robot_without_any_of_its_meshes_is_refused(tmp_path: Path) -> None:
    text = """<robot name="r"><link name="l"><visual><geometry><mesh filename="package://pack/m.stl"/></geometry>
    </visual></link></robot>"""
    with pytest.raises(UserError, match=r"None of the 1 meshes .*pack/m\.stl.*robot\.packages"):
        robot_of(tmp_path, text)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "m.stl").write_bytes(b"x")
    assert [v.path for v in robot_of(tmp_path, text).visuals] == [str(tmp_path / "pack" / "m.stl")]


def test_limits_default_where_there_are_none(tmp_path: Path) -> None:
    robot = robot_of(
        tmp_path,
        """<robot name="r"><link name="a"/><link name="b"/><link name="c"/><link name="d"/><link name="e"/>
        <joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint>
        <joint name="k" type="prismatic"><parent link="b"/><child link="c"/><axis xyz="0 0 1"/></joint>
        <joint name="l" type="revolute"><parent link="c"/><child link="d"/><limit lower="-1e16" upper="1e16"/></joint>
        <joint name="m" type="prismatic"><parent link="d"/><child link="e"/><limit upper="0.5"/></joint></robot>""",
    )
    found = [(j.lower, j.upper) for j in robot.moving_joints]
    assert found == [(-math.pi, math.pi), (-1.0, 1.0), (-math.pi, math.pi), (0.0, 0.5)]
    assert robot.moving_joints[2].circular and robot.moving_joints[2].axis == (1.0, 0.0, 0.0)
    assert len(robot.warnings) == 2


def test_followers_follow_a_joint_that_moves_by_itself(tmp_path: Path) -> None:
    links = "".join(f'<link name="{n}"/>' for n in "abcde")
    follow = '<axis xyz="0 0 1"/><mimic joint="{}" multiplier="{}" offset="{}"/>'
    robot = robot_of(
        tmp_path,
        two_links(
            joint()
            + joint(follow.format("j", 2, 0.1), "k", ends="bc")
            + joint(follow.format("k", -3, 0.5), "l", ends="cd")
            + joint(follow.format("ghost", 1, 0), "m", ends="de"),
            links,
        ),
    )  # fmt: skip
    mimic = {j.name: j.mimic for j in robot.joints}
    assert mimic["l"] is not None and mimic["l"].joint == "j"
    assert (mimic["l"].multiplier, mimic["l"].offset) == (pytest.approx(-6.0), pytest.approx(0.2))
    assert mimic["m"] is None and [w for w in robot.warnings if "m mimics ghost" in w]
    truth = Kinematics(tmp_path / "robot.urdf").frames({"j": 0.3, "m": 0.2})
    assert max(largest_difference(robot.link_frames({"j": 0.3, "m": 0.2})["e"], truth["e"])) < 1e-9


def test_names_that_no_bone_can_have_are_shortened_and_stay_apart(tmp_path: Path) -> None:
    first, second = "ä" * 40 + "1", "ä" * 40 + "2"
    links = f'<link name="a"/><link name="{first}"/><link name="{second}"/>'
    ends = '<joint name="{}" type="fixed"><parent link="{}"/><child link="{}"/></joint>'
    robot = robot_of(tmp_path, two_links(ends.format("j", "a", first) + ends.format("k", first, second), links))
    assert len(set(robot.links)) == 3 and all(len(n.encode()) <= LONGEST_NAME for n in robot.links)
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
        (two_links(joint('<axis xyz="0 0 1"/><mimic/>')), "the mimic of joint j has no joint"),
        (two_links(joint('<axis xyz="0 0 1"/><mimic joint="k" offset="inf"/>')), "finite"),
        (
            two_links(
                joint('<axis xyz="0 0 1"/><mimic joint="k" multiplier="1e6"/>')
                + joint('<axis xyz="0 0 1"/><mimic joint="m" multiplier="1e6"/>', "k", ends="bc")
                + joint('<axis xyz="0 0 1"/>', "m", ends="cd"),
                THREE + '<link name="d"/>',
            ),
            "mimics m with the multiplier 1e+12",
        ),
        (two_links('<joint name="j" type="fixed"><child link="b"/></joint>'), "the parent of joint j has no link"),
        (two_links('<joint type="fixed"/>'), "a joint has no name"),
        (two_links(joint('<axis xyz="0 0"/>')), "'0 0' where 3 numbers"),
        (two_links("", '<link name="a"><visual><geometry><box size="1 1"/></geometry></visual></link>'), "3 numbers"),
        (two_links("", '<link name="a"><visual><geometry><sphere radius="-1"/></geometry></visual></link>'), "size"),
        (two_links("", '<link name="a"><visual><geometry><sphere/></geometry></visual></link>'), "radius"),
        (two_links("", '<link name="a"><visual><geometry><mesh/></geometry></visual></link>'), "filename"),
        (
            two_links(
                "", '<link name="a"><visual><geometry><mesh filename="m" scale="1 0 1"/></geometry></visual></link>'
            ),
            "scale",
        ),
        (two_links(joint('<axis xyz="0 0 1"/><origin xyz="nan 0 0"/>')), "finite"),
        (two_links(joint('<axis xyz="0 0 x"/>')), "check the file"),
        ("<robot name='r'><link name='a'>", "check the file"),
        ("this is no XML at all", "check the file"),
        ("", "check the file"),
        ("<sdf><model/></sdf>", "not <robot>"),
        ("<robot name='r'></robot>", "no links"),
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


BOMB = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))


@pytest.mark.parametrize("text", [f'<!DOCTYPE robot [<!ENTITY a "boom">{BOMB}]><robot name="&j;"/>'], ids=["bomb"])
def test_entities_are_refused_before_they_grow(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"robot\.urdf declares XML entities"):
        robot_of(tmp_path, text)


def test_entities_are_not_expanded_from_other_files(tmp_path: Path) -> None:
    """A URDF from a stranger can't read files of the machine into itself."""
    (tmp_path / "secret").write_text("hidden-treasure", encoding="utf-8")
    text = f"""<!DOCTYPE robot [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>
    <robot name="r"><link name="&x;a"/></robot>"""
    with pytest.raises(UserError) as refusal:
        robot_of(tmp_path, text)
    assert "hidden-treasure" not in str(refusal.value)


# ------------------------------------------------------------------------------------- what strangers' files have

BOX = "<visual><geometry><box size='1 1 1'/></geometry></visual>"


def test_a_quaternion_turns_as_roll_pitch_and_yaw_do(tmp_path: Path) -> None:
    """URDF 1.1 has it in place of rpy."""
    half = math.radians(45) / 2
    for turned, quaternion in (
        ("0 0 0", "0 0 0 1"), (f"0 0 {math.pi / 2}", "0 0 1 1"), (f"{math.pi} 0 0", "-2 0 0 0"),
        (f"0 {math.radians(45)} 0", f"0 {math.sin(half)} 0 {math.cos(half)}"),
    ):  # fmt: skip
        frames = [
            robot_of(tmp_path, two_links(joint(f'<axis xyz="0 0 1"/><origin xyz="1 2 3" {given}/>'))).rest_frames()["b"]
            for given in (f'rpy="{turned}"', f'quat_xyzw="{quaternion}"', f'rpy="1 2 3" quat_xyzw="{quaternion}"')
        ]
        np.testing.assert_allclose(frames[1], frames[0], atol=1e-12)
        np.testing.assert_allclose(frames[2], frames[0], atol=1e-12)
    for wrong in ("0 0 0 0", "0 0 0", "nan 0 0 1", "x 0 0 1"):
        with pytest.raises(UserError, match="quat_xyzw of joint j"):
            robot_of(tmp_path, two_links(joint(f'<axis xyz="0 0 1"/><origin quat_xyzw="{wrong}"/>')))


def test_collision_shapes_stand_in_where_nothing_is_visible(tmp_path: Path) -> None:
    bounds = "<collision><origin xyz='0 0 1'/><geometry><sphere radius='2'/></geometry></collision>"
    robot = robot_of(tmp_path, two_links("", f'<link name="a">{bounds}</link>'))
    assert [(v.shape, v.size[0], v.origin[2][3]) for v in robot.visuals] == [("sphere", 2.0, 1.0)]
    assert [w for w in robot.warnings if "collision shapes" in w]
    robot = robot_of(tmp_path, two_links("", f'<link name="a">{BOX}{bounds}</link>'))
    assert [v.shape for v in robot.visuals] == ["box"] and not robot.warnings


def test_one_bad_colour_is_named_and_left_out(tmp_path: Path) -> None:
    for rgba, colour in {
        "1 0 0": (1.0, 0.0, 0.0, 1.0), "red": None, "1 0": None, "nan 0 0 1": None, "1,0,0,1": None, "": None,
    }.items():  # fmt: skip
        visual = BOX.replace("</visual>", f"<material name='paint'><color rgba='{rgba}'/></material></visual>")
        robot = robot_of(tmp_path, two_links("", f'<link name="a">{visual}</link>'))
        assert robot.visuals[0].colour == colour
        assert [w for w in robot.warnings if "'paint'" in w and "left out" in w] if colour is None else True


@pytest.mark.parametrize(
    "data, words",
    [
        (b"<sdf version='1.7'/>", "an SDF model of Gazebo"),
        (b"<mujoco model='x'/>", "an MJCF model of MuJoCo"),
        (b"<COLLADA/>", "a Collada mesh"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer.*git lfs pull"),
        (b"<robot name='r'><gazebo/></robot>", "no links"),
        (b"<robot name='r'>" + b"<a>" * 300 + b"</a>" * 300 + b"</robot>", "inside one another"),
        (b"<robot name='r'>" + b"<a/>" * 300_000 + b"</robot>", "200,000 elements"),
        (b"<robot name='r'>" + b"".join(b"<link name='%d'/>" % n for n in range(3000)) + b"</robot>", "3,000 links"),
        (b"<robot name='r'><link name='a'>" + BOX.encode() * 10_001 + b"</link></robot>", "10,001 visual shapes"),
        (b"<robot name='r'>" + b" " * 17_000_000 + b"</robot>", "MB"),
        (b"<?xml version='1.0' encoding='gb2312'?><robot name='r'/>", "check the file"),
        (two_links(joint('<axis xyz="0 0 1"/><origin xyz="1e300 0 0"/>')).encode(), "1e.300 m away"),
        (two_links(joint('<axis xyz="0,5 0 1"/>')).encode(), "'0,5 0 1' where 3 numbers"),
        (two_links(joint('<axis xyz="0 0 1"/><origin xyz="1_0 0 0"/>')).encode(), "'1_0 0 0' where 3 numbers"),
        (two_links(joint('<axis xyz="0 0 ${one}"/>')).encode(), "a xacro file: call it .xacro"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "file",
)
def test_what_is_no_urdf_or_too_much_is_told(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "robot.urdf").write_bytes(data)
    with pytest.raises(UserError, match=words) as refusal:
        load_urdf(tmp_path / "robot.urdf")
    assert "robot.urdf" in str(refusal.value)


def test_a_pipe_is_no_urdf(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "robot.urdf")
    with pytest.raises(UserError, match=r"robot\.urdf"):
        load_urdf(tmp_path / "robot.urdf")


TEXT = "<robot name='r'><!-- 45° --><link name='grün'/></robot>"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        f"\n\n <?xml version='1.0'?>{TEXT}".encode(),
        f"<?xml version='1.0' encoding='iso-8859-1'?>{TEXT}".encode("latin-1"),
        TEXT.encode("latin-1"),
        f"<!DOCTYPE robot>{TEXT}".encode(),
    ],
    ids=["byte order mark", "UTF-16", "empty lines first", "latin-1", "latin-1 undeclared", "doctype"],
)
def test_encodings(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "robot.urdf").write_bytes(data)
    assert load_urdf(tmp_path / "robot.urdf").links == ("grün",)


def test_names_with_spaces_and_a_follower_before_its_leader(tmp_path: Path) -> None:
    first = joint('<axis xyz="0 0 1"/><mimic joint="my joint" multiplier="2"/>', "k", ends="bc")
    robot = robot_of(tmp_path, two_links(first + joint(name="my joint"), THREE))
    mimic = {j.name: j.mimic for j in robot.joints}["k"]
    assert mimic is not None and mimic.joint == "my joint"


def test_a_long_chain_of_followers_takes_no_time(tmp_path: Path) -> None:
    links = "".join(f"<link name='l{n}'/>" for n in range(2000))
    joints = "".join(
        f"<joint name='j{n}' type='continuous'><parent link='l{n}'/><child link='l{n + 1}'/><mimic joint='j{n + 1}'/>"
        "</joint>"
        for n in range(1999)
    )
    robot = robot_of(tmp_path, two_links(joints, links))
    assert len(robot.links) == 2000 and [w for w in robot.warnings if "j1999" in w]


def test_warnings_are_one_line_each(tmp_path: Path) -> None:
    visual = "<visual><geometry><box size='1 1 1'/></geometry><material name='a&#10;b&#9;&#x9b;31m'><color rgba='red'/>"
    robot = robot_of(tmp_path, two_links("", f"<link name='a'>{visual}</material></visual></link>"))
    assert len(robot.warnings) == 1 and robot.warnings[0].isprintable()
