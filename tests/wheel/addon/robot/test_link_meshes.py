# SPDX-License-Identifier: GPL-3.0-or-later
"""Robots come into a scene with their looks, or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
import robot_keypoints
import trimesh
from reference import ROBOTS
from refusals import refusal
from robot_keypoints.addon.robot import bones, import_decimation, rig
from robot_keypoints.addon.services import run_preparation
from robot_keypoints.addon.ui.operators import robot as robot_operators
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import load_urdf
from shapes import MTL, OBJ, PIXEL, collada, gltf


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def props() -> Any:
    return bpy.context.scene.robot_keypoints


def inventory() -> dict[str, list[str]]:
    """Everything in the file, by kind."""
    kinds = [k for k in dir(bpy.data) if isinstance(getattr(bpy.data, k), bpy.types.bpy_prop_collection)]
    return {k: sorted(b.name for b in getattr(bpy.data, k)) for k in kinds if len(getattr(bpy.data, k))}


def urdf(folder: Path, *visuals: str, joint: str = "") -> Path:
    """A base and an arm on a hinge that carries the given visuals."""
    path = folder / "robot.urdf"
    path.write_text(
        f"""<robot name="small"><link name="base"/><link name="arm">{"".join(visuals)}</link>
        <joint name="hinge" type="revolute"><parent link="base"/><child link="arm"/><axis xyz="0 1 0"/>
        <limit lower="-1" upper="2"/></joint>{joint}</robot>"""
    )
    return path


def mesh(name: str, rest: str = "", origin: str = "", scale: str = "1 1 1") -> str:
    return f'<visual>{origin}<geometry><mesh filename="{name}" scale="{scale}"/></geometry>{rest}</visual>'


def load(path: Path, **options: Any) -> bpy.types.Object:
    assert bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=str(path), **options) == {"FINISHED"}
    armature: bpy.types.Object = props().armature
    return armature


def shader(material: bpy.types.Material) -> bpy.types.ShaderNode:
    return material.node_tree.nodes["Principled BSDF"]


def texture(material: bpy.types.Material) -> bpy.types.Image | None:
    links = shader(material).inputs["Base Color"].links
    return links[0].from_node.image if links else None


RED = '<material name="red"><color rgba="1 0 0 1"/></material>'


def test_colours_by_face_group_and_whose_word_counts(tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(PIXEL)
    (tmp_path / "look.mtl").write_text(MTL.format(image="skin.png"))
    (tmp_path / "part.obj").write_text(OBJ)
    trimesh.creation.box().export(tmp_path / "box.stl")
    load(
        urdf(tmp_path, mesh("part.obj", RED), mesh(collada(tmp_path).name, RED), mesh("box.stl", RED), mesh("box.stl"),
             mesh(gltf(tmp_path, True).name)),
    )  # fmt: skip
    obj, dae, coloured, plain, glb = (o.data for o in sorted(props().armature.children, key=lambda o: o.session_uid))
    green, skin = sorted(obj.materials, key=lambda m: texture(m) is not None)
    np.testing.assert_allclose(shader(green).inputs["Base Color"].default_value[:3], (0.01, 0.448, 0.033), atol=1e-3)
    image = texture(skin)
    assert image is not None and Path(image.filepath) == tmp_path / "skin.png" and tuple(image.size) == (1, 1)
    assert sorted(p.material_index for p in obj.polygons) == [0, 1]
    textured = next(p for p in obj.polygons if obj.materials[p.material_index] == skin)
    corners = {
        tuple(np.round(obj.vertices[obj.loops[i].vertex_index].co, 6)): tuple(obj.uv_layers[0].uv[i].vector)
        for i in textured.loop_indices
    }
    assert corners == {(0, 0, 0): (0, 0), (1, 0, 0): (1, 0), (0, 0, 1): (0, 0.5)}
    assert {texture(m) for m in dae.materials} == {None, image}, "an image that two files name is taken in once"
    (red,) = coloured.materials
    np.testing.assert_allclose(shader(red).inputs["Base Color"].default_value[:3], (1, 0, 0), atol=1e-6)
    assert not coloured.uv_layers
    assert plain.materials[0] != red
    blend, embedded = sorted(glb.materials, key=lambda m: texture(m) is not None)
    assert (
        shader(blend).inputs["Alpha"].default_value == 0.5 and shader(blend).inputs["Roughness"].default_value == 0.25
    )
    packed = texture(embedded)
    assert packed is not None and packed.packed_file is not None and tuple(packed.size) == (1, 1)
    assert not props().notes


def test_what_is_missing_is_named_and_the_rest_loads(tmp_path: Path) -> None:
    (tmp_path / "look.mtl").write_text(MTL.format(image="lost.png"))
    (tmp_path / "part.obj").write_text(OBJ)
    trimesh.creation.box().export(tmp_path / "box.stl")
    wood = '<material name="w"><texture filename="box.png"/></material>'
    (tmp_path / "box.png").write_bytes(PIXEL)
    (tmp_path / "bad.png").write_bytes(b"no image")
    bad = collada(tmp_path, image="bad.png")
    load(urdf(tmp_path, mesh("part.obj"), mesh("gone.stl"), mesh("box.stl", wood), mesh(bad.name)))
    notes = props().notes.splitlines()
    for words in ("gone.stl", "lost.png", "no coordinates", "bad.png can't be read"):
        assert [n for n in notes if words in n], (words, notes)
    assert len(notes) == 4
    box = next(o for o in props().armature.children if len(o.data.vertices) == 8 and max(o.dimensions) < 0.5)
    assert box.parent_bone == "arm", "a small box stands for the mesh that is missing"


def test_a_robot_that_no_picture_would_show_is_told_and_not_trained(tmp_path: Path) -> None:
    load(urdf(tmp_path))
    assert "robot.urdf gives small no shapes" in props().notes
    with pytest.raises(UserError, match="small has no shapes, so no picture would show it"):
        run_preparation.ready_settings(bpy.context.scene)
    load(urdf(tmp_path, "<collision><geometry><box size='.2 .2 .2'/></geometry></collision>"))
    assert "shown with its collision shapes" in props().notes and len(rig.robot_meshes(props().armature)) == 1
    run_preparation.ready_settings(bpy.context.scene)


@pytest.mark.parametrize(
    "size, scale, words",
    [
        (300.0, "1 1 1", "reach 450 m from its base and its joints 1 m.*millimetres"),
        (0.3, "1 1 1", ""),
        (300.0, "0.001 0.001 0.001", ""),
        (0.01, "1 1 1", "another unit"),
    ],
)
def test_shapes_that_are_far_larger_or_smaller_than_the_joints_tell(
    tmp_path: Path, size: float, scale: str, words: str
) -> None:
    trimesh.creation.box(extents=[2 * size, 2 * size, size]).export(tmp_path / "box.stl")
    load(urdf(tmp_path, mesh("box.stl", scale=scale)))
    assert bool(props().notes) is bool(words) and re.search(words, props().notes)


def test_planar_and_floating_joints_can_be_moved_by_hand_but_do_not_vary(tmp_path: Path) -> None:
    more = """<link name="ship"/><joint name="sea" type="floating"><parent link="base"/><child link="ship"/></joint>
    <link name="cart"/><joint name="floor" type="planar"><parent link="base"/><child link="cart"/>
    <axis xyz="0 0 1"/></joint>"""
    armature = load(urdf(tmp_path, joint=more))
    held = {v.name: v for v in props().variables if v.name.startswith(("joint/sea", "joint/floor"))}
    assert len(held) == 9 and not any(v.use or v.value for v in held.values())
    assert (held["joint/sea/x"].low, held["joint/sea/x"].high) == (-1, 1), "what it ranges over once it varies"
    assert not {k.frame for k in props().keypoints} & {"ship", "cart"}
    rig.pose(armature, {"sea/x": 3.0, "sea/rz": math.pi / 2, "sea/ry": 0.3, "floor/y": -2.0})
    bpy.context.view_layer.update()
    robot = rig.robot_of(armature)
    assert robot is not None
    truth = robot.link_frames({"sea/x": 3.0, "sea/rz": math.pi / 2, "sea/ry": 0.3, "floor/y": -2.0})
    for link in ("ship", "cart"):
        np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, link), truth[link], atol=1e-5)


BOX = '<visual><geometry><box size="1 1 1"/></geometry></visual>'


@pytest.mark.parametrize(
    "broken",
    [
        "mesh", "xml", "circle", "two roots", "limits", "unknown link", "empty mesh", "large mesh", "bomb", "no joint",
        "fault",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["nothing", "a robot"])
def test_a_robot_that_can_not_be_loaded_leaves_the_file_as_it_was(
    tmp_path: Path, broken: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "skin.png").write_bytes(PIXEL)
    good = mesh(collada(tmp_path).name)
    if before == "a robot":
        load(urdf(tmp_path, good, RED))
    path = urdf(tmp_path, good, BOX)
    text = path.read_text()
    joint = '<joint name="j{}" type="fixed"><parent link="{}"/><child link="{}"/></joint>'
    if broken in ("mesh", "empty mesh", "large mesh"):
        with open(tmp_path / "part.stl", "wb") as stream:
            stream.write(b"solid nothing\nendsolid nothing\n" if broken == "empty mesh" else b"nothing")
            if broken == "large mesh":
                stream.truncate(600_000_000)
        text = text.replace(good, good + mesh("part.stl"))
    text = {
        "xml": text[:-20], "circle": text.replace("</robot>", joint.format(1, "arm", "base") + "</robot>"),
        "two roots": text.replace("</robot>", '<link name="stray"/></robot>'),
        "limits": text.replace('upper="2"', 'upper="nan"'),
        "unknown link": text.replace("</robot>", joint.format(1, "arm", "ghost") + "</robot>"),
        "bomb": '<!DOCTYPE robot [<!ENTITY a "boom">]>' + text,
        "no joint": text.replace('"revolute"', '"fixed"'),
    }.get(broken, text)  # fmt: skip
    path.write_text(text)
    there = inventory()
    if broken == "fault":
        monkeypatch.setattr(bones, "keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            robot_operators.load(bpy.context, path)
    else:
        sentence = refusal(bpy.ops.robot_keypoints.load_urdf, filepath=str(path))
        assert ": " in sentence, "what to do is said, too"
    assert inventory() == there
    assert bpy.context.mode == "OBJECT"


def test_a_robot_in_place_of_another_takes_everything_of_that_away(tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(PIXEL)
    load(urdf(tmp_path, mesh(collada(tmp_path).name), BOX))
    first = {k: len(v) for k, v in inventory().items()}
    users = bpy.data.objects.new("hat", None)
    bpy.context.scene.collection.objects.link(users)
    users.parent = props().armature
    load(urdf(tmp_path, mesh(collada(tmp_path).name), BOX))
    after = {k: len(v) for k, v in inventory().items()}
    assert after == {**first, "objects": first["objects"] + 1}
    assert props().armature.name == "small"


def test_xacro_with_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "arm.xacro").write_text(
        """<robot name="$(arg who)" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:arg name="length" default="1"/>
        <link name="base"/><link name="arm"/><joint name="j" type="continuous"><parent link="base"/><child link="arm"/>
        <origin xyz="0 0 $(arg length)"/><axis xyz="0 0 1"/></joint></robot>"""
    )
    path = str(tmp_path / "arm.xacro")
    assert "NAME:=VALUE" in refusal(bpy.ops.robot_keypoints.load_urdf, filepath=path)
    assert "name:=value" in refusal(bpy.ops.robot_keypoints.load_urdf, filepath=path, arguments="who=me")
    armature = load(Path(path), arguments='who:="my arm" length:=2.5')
    assert armature.name == "my arm"
    assert armature.data.bones["arm"].head_local.z == pytest.approx(2.5)


# ---------------------------------------------------------------------------------------------------- many triangles


def sheet(path: Path, side: int) -> int:
    """A wavy sheet of 2 · side² triangles, one metre wide; its number of triangles."""
    x = np.linspace(0, 1, side + 1)
    points = np.stack([*np.meshgrid(x, x, indexing="ij"), np.zeros((side + 1, side + 1))], axis=-1)
    points[..., 2] = 0.02 * np.sin(9 * points[..., 0]) * np.cos(7 * points[..., 1])
    corners = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2).reshape(-1, 4, 3)
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    data = np.zeros(len(triangles), dtype=kind)
    data["corners"] = triangles
    path.write_bytes(b"\0" * 80 + np.uint32(len(data)).tobytes() + data.tobytes())
    return len(data)


def test_a_million_triangles_are_reduced_and_the_error_is_shown(tmp_path: Path) -> None:
    count = sheet(tmp_path / "sheet.stl", 720)
    assert count > 1_000_000
    armature = load(urdf(tmp_path, mesh("sheet.stl"), BOX), triangles=700_000)
    left = import_decimation.count([o for o in armature.children if o.type == "MESH"])
    assert left < 710_000
    (note,) = props().notes.splitlines()
    assert f"{count + 12:,} triangles were reduced to {left:,}" in note and "mm at most" in note
    largest = float(note.split(" and ")[1].split(" mm")[0])
    assert 0 < largest < 0.1, "a smooth sheet loses next to nothing"
    assert len([m for m in bpy.data.meshes if not m.users]) == 0, "the million triangles are gone from memory"


def test_the_error_shown_is_the_distance_of_the_surfaces(tmp_path: Path) -> None:
    sheet(tmp_path / "sheet.stl", 60)
    armature = load(urdf(tmp_path, mesh("sheet.stl")), triangles=0)
    (obj,) = armature.children
    before = trimesh.Trimesh([v.co[:] for v in obj.data.vertices], [p.vertices[:] for p in obj.data.polygons])
    found = import_decimation.reduce([obj], 300)
    assert found is not None and found.before == 7200 and found.after <= 330
    after = trimesh.Trimesh([v.co[:] for v in obj.data.vertices], [p.vertices[:] for p in obj.data.polygons])
    _, distances, _ = trimesh.proximity.closest_point(after, before.sample(4000, seed=1))
    assert found.mean == pytest.approx(distances.mean(), rel=0.1)
    assert found.largest >= 0.8 * distances.max()
    assert import_decimation.reduce([obj], 300_000) is None


def test_small_robots_stay_whole(tmp_path: Path, ur10_urdf: Path) -> None:
    armature = load(ur10_urdf)
    assert import_decimation.count(rig.robot_meshes(armature)) > 115_000 and not props().notes


# ------------------------------------------------------------------------------------------------- an armature to use


def test_inverse_kinematics_reaches_moves_nothing_but_joints_and_keeps_to_their_limits() -> None:
    robot = load_urdf(ROBOTS / "panda_description/urdf/panda.urdf")
    armature = rig.build(bpy.context.scene, robot)
    target = bpy.data.objects.new("target", None)
    bpy.context.scene.collection.objects.link(target)
    target.location = (0.4, 0.3, 0.5)
    rig.pose(armature, {"panda_joint2": 0.2, "panda_joint4": -1.5, "panda_joint6": 1.5})
    tip = armature.pose.bones["panda_link8"]
    constraint = tip.constraints.new("IK")
    constraint.target, constraint.iterations = target, 2000
    bpy.context.view_layer.update()
    np.testing.assert_allclose(tip.tail, target.location, atol=2e-3)
    # What Blender found is a pose of the robot: each bone turned about its own joint's axis alone.
    values = {}
    for joint in rig.joints(armature):
        bone = armature.pose.bones[joint.bone]
        local = armature.convert_space(pose_bone=bone, matrix=bone.matrix, from_space="POSE", to_space="LOCAL")
        values[joint.name] = local.translation[joint.axis] if joint.linear else local.to_euler()[joint.axis]
        assert joint.lower - 1e-3 <= values[joint.name] <= joint.upper + 1e-3, joint.name
    frame = rig.frame(bpy.context.scene, armature, "panda_link8")
    np.testing.assert_allclose(robot.link_frames(values)["panda_link8"], frame, atol=1e-3)


def test_animated_joints_move_the_links(tmp_path: Path) -> None:
    armature = load(urdf(tmp_path, BOX))
    bone = armature.pose.bones["arm"]
    for frame, angle in ((1, 0.0), (11, 1.0)):
        rig.pose(armature, {"hinge": angle})
        bone.keyframe_insert("rotation_euler", index=rig.joints(armature)[0].axis, frame=frame)
    bpy.context.scene.frame_set(11)
    truth = load_urdf(tmp_path / "robot.urdf").link_frames({"hinge": 1.0})
    np.testing.assert_allclose(rig.frame(bpy.context.scene, armature, "arm"), truth["arm"], atol=1e-5)
    bpy.context.scene.frame_set(6)
    assert 0.3 < bone.rotation_euler[rig.joints(armature)[0].axis] < 0.7
