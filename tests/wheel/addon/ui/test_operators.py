# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators do what they say, and refuse with one sentence."""

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
from robot_keypoints.addon.base import saving
from robot_keypoints.addon.properties import preferences, scene_robots, to_settings
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.services import run_preparation, training_run
from robot_keypoints.addon.ui.operators import robot as robot_operators
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import builtin_urdf
from robot_keypoints.core.settings import toml_file


@pytest.fixture(autouse=True)
def registered(tmp_path: Path) -> Iterator[None]:
    robot_keypoints.register()
    preferences._plain.runs = str(tmp_path / "runs")
    preferences._plain.python = ""
    yield
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


def props() -> Any:
    return bpy.context.scene.robot_keypoints


def test_builtin_robot() -> None:
    assert bpy.ops.robot_keypoints.builtin_robot() == {"FINISHED"}
    assert props().armature.type == "ARMATURE"
    assert len([v for v in props().variables if v.name.startswith("joint/")]) == 6
    assert scene_robots.problem(bpy.context.scene) == ""


def test_load_the_real_urdf(ur10_urdf: Path) -> None:
    assert bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=str(ur10_urdf)) == {"FINISHED"}
    assert props().robot_file == str(ur10_urdf)
    assert len(props().keypoints) >= 6


@pytest.mark.parametrize("text", ["", "<robot", "<robot name='a'><link name='b'/></robot>"])
def test_a_bad_urdf_changes_nothing(tmp_path: Path, text: str) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    before = {o.name for o in bpy.data.objects}, to_settings.read(bpy.context.scene)
    file = tmp_path / "bad.urdf"
    file.write_text(text)
    sentence = refusal(bpy.ops.robot_keypoints.load_urdf, filepath=str(file))
    assert "bad.urdf" in sentence
    assert ({o.name for o in bpy.data.objects}, to_settings.read(bpy.context.scene)) == before


def test_a_missing_mesh_leaves_no_half_robot(tmp_path: Path) -> None:
    (tmp_path / "broken.stl").write_bytes(b"solid nothing")
    file = tmp_path / "robot.urdf"
    mesh = "<visual><geometry><mesh filename='broken.stl'/></geometry></visual>"
    file.write_text(
        f"<robot name='r'><link name='a'>{mesh}</link><link name='b'/><joint name='j' type='continuous'>"
        "<parent link='a'/><child link='b'/><axis xyz='0 0 1'/></joint></robot>"
    )
    assert "broken.stl" in refusal(bpy.ops.robot_keypoints.load_urdf, filepath=str(file))
    assert not bpy.data.objects
    assert not bpy.data.armatures
    assert props().armature is None


def test_warnings_of_a_urdf_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "robot.urdf"
    file.write_text(
        "<robot name='r'><link name='a'/><link name='b'/><joint name='j' type='revolute'>"
        "<parent link='a'/><child link='b'/><axis xyz='0 0 1'/></joint></robot>"
    )
    bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=str(file))
    assert "joint j has no limits" in props().notes
    assert props().armature is not None


def test_meshes_are_found_in_a_folder_of_packages(tmp_path: Path) -> None:
    shapes = tmp_path / "elsewhere" / "shapes"
    shapes.mkdir(parents=True)
    (shapes / "part.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    file = tmp_path / "robots" / "robot.urdf"
    file.parent.mkdir()
    mesh = "<visual><geometry><mesh filename='package://shapes/part.obj'/></geometry></visual>"
    file.write_text(
        f"<robot name='r'><link name='a'>{mesh}</link><link name='b'/><joint name='j' type='continuous'>"
        "<parent link='a'/><child link='b'/><axis xyz='0 0 1'/></joint></robot>"
    )
    assert "part.obj" in refusal(bpy.ops.robot_keypoints.load_urdf, filepath=str(file))
    missing = refusal(bpy.ops.robot_keypoints.load_urdf, filepath=str(file), packages=str(tmp_path / "nowhere"))
    assert "nowhere" in missing
    for folder in (shapes.parent, shapes):
        bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=str(file), packages=str(folder))
        assert [o.type for o in props().armature.children] == ["MESH"]


def test_loading_again_replaces_the_robot_but_nothing_else() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    cube = bpy.data.objects.new("cube", bpy.data.meshes.new("cube"))
    bpy.context.scene.collection.objects.link(cube)
    cube.parent = props().armature
    before = len(bpy.data.objects), len(bpy.data.meshes), {c.name for c in bpy.data.collections}
    props().keypoints[0].name = "renamed"
    bpy.ops.robot_keypoints.builtin_robot()
    assert (len(bpy.data.objects), len(bpy.data.meshes), {c.name for c in bpy.data.collections}) == before
    assert len(bpy.data.armatures) == 1
    assert "cube" in bpy.context.scene.objects
    assert props().armature.name == "ur10_simple"
    assert props().keypoints[0].name != "renamed"
    bpy.ops.robot_keypoints.draw_sample(seed=1)


def test_from_armature_says_what_is_missing() -> None:
    assert "no armature" in refusal(bpy.ops.robot_keypoints.from_armature)
    armature = robot_operators.load(bpy.context, builtin_urdf())
    props().armature = None
    bpy.context.view_layer.objects.active = armature.children[0]
    assert bpy.ops.robot_keypoints.from_armature() == {"FINISHED"}
    assert props().armature == armature


def test_removing_the_robot_is_noticed() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    bpy.data.objects.remove(props().armature)
    assert "no robot" in scene_robots.problem(bpy.context.scene)
    bpy.ops.robot_keypoints.builtin_robot()
    bpy.context.scene.collection.children[-1].objects.unlink(props().armature)
    assert "no longer in this scene" in scene_robots.problem(bpy.context.scene)
    assert not bpy.ops.robot_keypoints.draw_sample.poll()


def test_keypoints_are_added_moved_and_removed() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    names = [k.name for k in props().keypoints]
    armature = props().armature
    tool = bpy.data.objects.new("tool", None)
    bpy.context.scene.collection.objects.link(tool)
    tool.parent, tool.parent_type, tool.parent_bone = armature, "BONE", "wrist_3_link"
    bpy.context.view_layer.objects.active = tool
    bpy.ops.robot_keypoints.keypoint_add()
    assert [k.name for k in props().keypoints] == [*names, "tool"]
    assert ("wrist_3", "tool") in to_settings.read(bpy.context.scene).skeleton
    bpy.ops.robot_keypoints.keypoint_add()
    assert props().keypoints[-1].name == "tool.2"
    bpy.ops.robot_keypoints.keypoint_move(direction="UP")
    assert [k.name for k in props().keypoints][-2:] == ["tool.2", "tool"]
    bpy.context.view_layer.objects.active = armature
    armature.data.bones.active = armature.data.bones["base_link"]
    bpy.ops.robot_keypoints.keypoint_add()
    assert props().keypoints[-1].frame == "base_link"
    run_preparation.ready_settings(bpy.context.scene)


def test_removing_a_keypoint_closes_the_skeleton() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    before = to_settings.read(bpy.context.scene).skeleton
    props().keypoint_index = [k.name for k in props().keypoints].index("elbow")
    bpy.ops.robot_keypoints.keypoint_remove()
    after = to_settings.read(bpy.context.scene).skeleton
    assert len(after) == len(before) - 1
    assert not any("elbow" in edge for edge in after)
    above = next(a for a, b in before if b == "elbow")
    below = next(b for a, b in before if a == "elbow")
    assert (above, below) in after
    while props().keypoints:
        bpy.ops.robot_keypoints.keypoint_remove()
    with pytest.raises(UserError, match="no keypoints"):
        run_preparation.ready_settings(bpy.context.scene)


def test_a_sample_follows_its_seed_and_its_ranges() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    elbow = props().variables["joint/elbow_joint"]
    elbow.circular = False
    elbow.low, elbow.high = 0.5, 0.6
    held = props().variables["joint/shoulder_lift_joint"]
    held.use, held.value = False, -1.0
    armature = props().armature

    def pose() -> dict[str, float]:
        return {j.name: armature.pose.bones[j.bone].rotation_euler[1] for j in rig.joints(armature)}

    bpy.ops.robot_keypoints.draw_sample(seed=5)
    first = pose()
    assert 0.5 <= first["elbow_joint"] <= 0.6
    assert first["shoulder_lift_joint"] == pytest.approx(-1.0)
    bpy.ops.robot_keypoints.draw_sample(seed=6)
    assert pose()["wrist_1_joint"] != pytest.approx(first["wrist_1_joint"])
    bpy.ops.robot_keypoints.draw_sample(seed=5)
    assert pose() == pytest.approx(first)
    camera = bpy.context.scene.camera
    distance = np.linalg.norm(np.array(camera.matrix_world.translation))
    assert distance > 1.0
    seen = set()
    for _ in range(3):
        bpy.ops.robot_keypoints.draw_sample()
        seen.add(round(pose()["wrist_1_joint"], 6))
    assert len(seen) == 3
    assert all(math.isfinite(x) for x in seen)


def test_starting_says_what_is_missing(tmp_path: Path) -> None:
    start = bpy.ops.robot_keypoints.start_training
    assert "no robot" in refusal(start)
    bpy.ops.robot_keypoints.builtin_robot()
    assert "No Python with torch is chosen" in refusal(start)
    preferences._plain.python = str(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in refusal(start)
    assert training_run.RUNNER.session is None
    props().workers.adaptive = 9
    assert "workers are to adapt" in refusal(start)
    props().workers.adaptive = 1
    props().keypoints[0].frame = "nowhere"
    assert "'nowhere'" in refusal(start)
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").rglob("scene.blend"))


def test_a_folder_that_can_t_be_written(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    preferences._plain.python = str(Path(preferences.sys.executable))
    (tmp_path / "file").write_text("")
    props().run_folder = str(tmp_path / "file")
    assert "can't be written" in refusal(bpy.ops.robot_keypoints.start_training)
    assert not training_run.RUNNER.active


def test_starting_leaves_the_open_file_alone(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    own = tmp_path / "own.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(own))
    bpy.ops.robot_keypoints.draw_sample(seed=1)
    before = own.read_bytes()
    copy = tmp_path / "copy.blend"
    saving.save_copy(copy)
    assert copy.is_file()
    assert bpy.data.filepath == str(own)
    assert own.read_bytes() == before


def test_a_blend_or_a_run_starts_no_program_that_the_preferences_do_not_name(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    preferences._plain.python = str(Path(preferences.sys.executable))
    trap, trace = tmp_path / "trap", tmp_path / "trace"
    trap.write_text(f"#!/bin/sh\ntouch {trace}\nexit 1\n", encoding="utf-8")
    trap.chmod(0o755)
    props().workers.blender = str(trap)
    run = tmp_path / "run"
    run.mkdir()
    toml_file.save(to_settings.read(bpy.context.scene), run / "settings.toml")
    for operator, words in (
        (bpy.ops.robot_keypoints.start_training, {}),
        (bpy.ops.robot_keypoints.contact_sheet, {}),
        (bpy.ops.robot_keypoints.check_scene, {}),
        (bpy.ops.robot_keypoints.continue_training, {"directory": str(run)}),
    ):
        sentence = refusal(operator, **words)
        assert f"ask to start {str(trap)!r}" in sentence and "preferences" in sentence, operator
    assert not trace.exists() and not (tmp_path / "runs").exists()
    preferences._plain.blender = str(trap)
    assert preferences.blender_command(str(trap))[0] == str(trap)
    preferences._plain.blender = ""
    assert preferences.blender_command(str(trap))[0] == str(trap), "what was named once may be named by a run"


def test_continuing_needs_a_run(tmp_path: Path) -> None:
    preferences._plain.python = preferences.sys.executable
    sentence = refusal(bpy.ops.robot_keypoints.continue_training, directory=str(tmp_path))
    assert "settings.toml" in sentence


def test_model_operators_refuse(tmp_path: Path) -> None:
    assert "no model" in refusal(bpy.ops.robot_keypoints.load_model, filepath=str(tmp_path / "a.safetensors"))
    assert not bpy.ops.robot_keypoints.predict.poll()
    assert not bpy.ops.robot_keypoints.load_trained_model.poll()
    assert "no camera" in refusal(bpy.ops.robot_keypoints.look_through_camera)
    assert "no image" in refusal(bpy.ops.robot_keypoints.open_image, filepath=str(tmp_path / "a.png"))


def test_an_image_becomes_the_camera_s_background(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), (255, 0, 0)).save(path)
    assert bpy.context.scene.camera is None
    for _ in range(2):
        assert bpy.ops.robot_keypoints.open_image("EXEC_DEFAULT", filepath=str(path)) == {"FINISHED"}
    backgrounds = bpy.context.scene.camera.data.background_images
    assert len(backgrounds) == 1
    assert backgrounds[0].image.size[0] == 64
    assert bpy.context.scene.camera.data.show_background_images
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    assert "bad.png" in refusal(bpy.ops.robot_keypoints.open_image, filepath=str(bad))
