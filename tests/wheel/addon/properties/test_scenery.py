# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the robot's way: recognised by looking, named, left out or kept; and Blender's start-up file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.base import saving
from robot_keypoints.addon.properties import preferences, scene_check_report, scene_robots, scenery, to_settings
from robot_keypoints.addon.worker import obstruction, process as worker_process
from robot_keypoints.core.messages.obstruction import Obstruction
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, Settings


@pytest.fixture(autouse=True)
def registered(tmp_path: Path) -> Iterator[None]:
    """With the extension, and the file that Blender starts with."""
    robot_keypoints.register()
    preferences._plain.python = sys.executable
    bpy.ops.wm.read_factory_settings()
    scene_check_report.forget()
    yield
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


def objects() -> Any:
    return bpy.context.scene.objects


def look(folder: Path, draws: int = 8) -> Obstruction:
    """Look at a copy of the scene, as a worker's Blender would see it."""
    settings = small(to_settings.read(bpy.context.scene))
    folder.mkdir()
    saving.save_copy(folder / "scene.blend")
    stage = worker_process.open_stage(folder / "scene.blend", settings)
    stage.camera.render_at(settings.render.width, settings.render.height)
    return obstruction.check_draws(stage, draws)


def small(settings: Settings) -> Settings:
    return replace(settings, render=RenderSettings(width=64, height=48, samples=1))


def box(name: str, size: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(size=size, location=at)
    made = bpy.context.object
    made.name = name
    return made


# ----------------------------------------------------------------------------------------------- the start-up file


def test_the_start_up_file_s_cube_and_light_are_left_out() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    assert [o.name for o in scenery.left_out(bpy.context.scene)] == ["Cube", "Light"]
    cube, light = objects()["Cube"], objects()["Light"]
    assert cube.hide_render and cube.hide_viewport
    assert light.hide_render and not light.hide_viewport, "it stands in nobody's way in the viewport"
    camera = objects()["Camera"]
    assert not camera.hide_render and bpy.context.scene.camera == camera, "the user's camera is as it was"


def test_they_come_back_and_stay() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    assert bpy.ops.robot_keypoints.scenery_keep(object="Cube") == {"FINISHED"}
    cube = objects()["Cube"]
    assert not cube.hide_render and not cube.hide_viewport
    bpy.ops.robot_keypoints.builtin_robot()  # another one in its place
    assert not cube.hide_render, "what the user has decided holds"
    assert [o.name for o in scenery.left_out(bpy.context.scene)] == ["Light"]


def alter(what: str) -> None:
    cube = objects()["Cube"]
    if what == "moved":
        cube.location.x = 0.5
    elif what == "scaled":
        cube.scale = (3.0, 3.0, 0.1)
    elif what == "edited":
        cube.data.vertices[0].co.x = -1.2
    elif what == "modified":
        cube.modifiers.new("bevel", "BEVEL")
    elif what == "renamed":
        cube.name = "Pedestal"
    elif what == "coloured":
        node = cube.data.materials[0].node_tree.nodes["Principled BSDF"]
        node.inputs["Base Color"].default_value = (0.8, 0.1, 0.1, 1.0)
    elif what == "another material":
        cube.data.materials.append(bpy.data.materials.new("brick"))
    elif what == "animated":
        cube.keyframe_insert("location", frame=1)
    elif what == "parented":
        cube.parent = objects()["Camera"]


@pytest.mark.parametrize(
    "what",
    ["moved", "scaled", "edited", "modified", "renamed", "coloured", "another material", "animated", "parented"],
)
def test_a_cube_that_was_touched_is_the_users_own(what: str) -> None:
    alter(what)
    assert scenery.leave_out_startup(bpy.context.scene) == ("Light",)
    assert not next(o for o in objects() if o.type == "MESH").hide_render


@pytest.mark.parametrize(("attribute", "value"), [("energy", 400.0), ("color", (1.0, 0.5, 0.2)), ("type", "AREA")])
def test_a_light_that_was_touched_is_the_users_own(attribute: str, value: Any) -> None:
    setattr(bpy.data.lights["Light"], attribute, value)
    assert scenery.leave_out_startup(bpy.context.scene) == ("Cube",)


def test_the_robot_itself_is_never_left_out(tmp_path: Path) -> None:
    crane()
    cube = objects()["Cube"]
    cube.modifiers.new("skin", "ARMATURE").object = objects()["crane"]
    assert bpy.ops.robot_keypoints.from_armature() == {"FINISHED"}
    assert not cube.hide_render and scene_robots.problem(bpy.context.scene) == ""
    assert look(tmp_path / "run").objects == {}


def test_a_variable_of_the_users_own_brings_its_object_back() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    bpy.ops.robot_keypoints.variable_add("EXEC_DEFAULT", path='lights["Light"].energy')
    assert not objects()["Light"].hide_render and objects()["Cube"].hide_render
    bpy.ops.robot_keypoints.scenery_leave_out(object="Light")
    del objects()["Light"][scenery.KEY]
    objects()["Light"].hide_render = False
    bpy.ops.robot_keypoints.builtin_robot()  # the variable stays with another robot
    assert not objects()["Light"].hide_render, "it is needed"


def crane() -> bpy.types.Object:
    """An armature as a user makes one, with a post that turns and a boom."""
    data = bpy.data.armatures.new("crane")
    made = bpy.data.objects.new("crane", data)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    for number, name in enumerate(("post", "boom")):
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, 0.5 * number), (0, 0, 0.5 * number + 0.5)
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in made.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = (False, True, True)
    for name in ("post", "boom"):
        part = box(f"{name} part", 0.2)
        part.scale = (1.0, 1.0, 2.0)
        part.parent, part.parent_type, part.parent_bone = made, "BONE", name
    bpy.context.view_layer.objects.active = made
    return made


# ----------------------------------------------------------------------------------------------------- looking


@pytest.mark.parametrize("source", ["builtin", "urdf", "armature"])
def test_nothing_of_the_start_up_file_is_in_the_way(source: str, tmp_path: Path, ur10_urdf: Path) -> None:
    if source == "builtin":
        bpy.ops.robot_keypoints.builtin_robot()
    elif source == "urdf":
        bpy.ops.robot_keypoints.load_urdf(filepath=str(ur10_urdf))
    else:
        crane()
        bpy.ops.robot_keypoints.from_armature()
    assert look(tmp_path / "run") == Obstruction(8, 0, {})


def test_a_cube_that_stays_is_named_unless_the_user_has_said_so(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    cube = objects()["Cube"]
    cube.hide_render = cube.hide_viewport = False
    del cube[scenery.KEY]
    found = look(tmp_path / "run")
    assert found.objects["Cube"] >= 7 and found.unseen >= 4, found
    assert f"Cube hides the robot in {found.objects['Cube']} of 8 draws" in found.sentences()[0]
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "run" / "scene.blend"))
    bpy.ops.robot_keypoints.scenery_keep(object="Cube")
    assert look(tmp_path / "again").objects == {}


def test_what_only_the_viewport_hides_is_rendered_and_named(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    box("crate", 1.9).hide_set(True)  # as with the key H
    assert look(tmp_path / "run").objects["crate"] >= 7


def test_a_room_is_named_only_if_the_camera_stands_outside(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    box("hall", 40.0, (0.0, 0.0, 19.9))
    assert look(tmp_path / "run").objects == {}
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "run" / "scene.blend"))
    objects()["hall"].name = "hut"
    objects()["hut"].scale = (0.06, 0.06, 0.06)
    objects()["hut"].location.z = 1.1
    assert look(tmp_path / "again").objects["hut"] >= 6


def test_an_object_that_swallows_the_camera_now_and_then_is_named(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    far = bpy.context.scene.robot_keypoints.variables["camera/distance"].high
    post = box("silo", 2.0, (0.0, -far, 0.0))
    post.scale = (far * 0.6, far * 0.6, far)
    found = look(tmp_path / "run", 16)
    assert 2 <= found.objects["silo"] < 16 and "silo" in found.often, found


def test_small_and_clear_things_and_things_behind_are_no_obstacles(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    box("bolt", 0.05, (0.3, 0.3, 0.3))
    bpy.ops.mesh.primitive_plane_add(size=30.0, location=(0, 0, -0.01))
    for name, kind, socket in (("pane", "ShaderNodeBsdfGlass", 0), ("mist", "ShaderNodeVolumePrincipled", 1)):
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        tree = material.node_tree
        tree.nodes.remove(tree.nodes["Principled BSDF"])
        shader = tree.nodes.new(kind)
        tree.links.new(shader.outputs[0], tree.nodes["Material Output"].inputs[socket])
        box(name, 1.9).data.materials.append(material)
    assert look(tmp_path / "run").objects == {}


def test_what_is_drawn_before_the_robot_is_no_obstacle(tmp_path: Path) -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    props = bpy.context.scene.robot_keypoints
    bpy.ops.robot_keypoints.preset_choose(name="photographs")
    for name in ("objects/front", "objects/count"):
        props.variables[name].use, props.variables[name].value = False, 3.5
    found = look(tmp_path / "run")
    assert found.objects == {} and found.draws == 8


# ------------------------------------------------------------------------------------------- the panel's two answers


def test_leaving_out_and_keeping() -> None:
    bpy.ops.robot_keypoints.builtin_robot()
    crate = box("crate", 2.0)
    scene_check_report.keep_obstruction(Obstruction(16, 16, {"crate": 16, "gone": 9, "seldom": 1, "Cube": 16}))
    assert [(o.name, s) for o, s in scenery.in_the_way(bpy.context.scene)] == [
        ("crate", "crate hides the robot in 16 of 16 draws")
    ]
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.robot_keypoints.scenery_leave_out(object="crate") == {"FINISHED"}
    assert crate.hide_render and not scenery.in_the_way(bpy.context.scene)
    assert bpy.ops.robot_keypoints.scenery_keep(object="crate") == {"FINISHED"}
    assert not crate.hide_render and not scenery.in_the_way(bpy.context.scene), "it stays, and nobody warns again"
    assert "any more" in refusal(bpy.ops.robot_keypoints.scenery_keep, object="gone")


# ------------------------------------------------------------------------------------------------ the command line


def own_scene(folder: Path, startup: bool) -> Path:
    """A user's .blend, made without the panel, and a settings file that names it."""
    crane()
    if not startup:
        alter("scaled")
        objects()["Cube"].scale = (0.9, 0.9, 1.2)
        objects()["Cube"].name = "Crate"
    path = folder / "cell.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    settings = Settings(RobotSettings("armature", str(path), "crane"), render=RenderSettings(width=64, height=48))
    toml_file.save(small(settings), folder / "settings.toml")
    return folder / "settings.toml"


def test_render_warns_of_what_hides_the_robot(tmp_path: Path) -> None:
    settings = own_scene(tmp_path, startup=False)
    done = render(settings, tmp_path / "sheet.png")
    assert re.search(r"warning: Crate hides the robot in 1[456] of 16 draws: disable it in renders, or", done), done


def test_render_leaves_the_start_up_cube_out_and_says_so(tmp_path: Path) -> None:
    settings = own_scene(tmp_path, startup=True)
    done = render(settings, tmp_path / "sheet.png")
    said = "warning: Cube and Light, untouched since Blender's start-up, is left out of the renderings"
    assert said.replace(" is ", " are ") in done and "hides" not in done, done


def render(settings: Path, sheet: Path) -> str:
    line = [sys.executable, str(LAUNCHER), "cli", "render", str(settings), "--count", "2", "--sheet", str(sheet)]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_look_s_result_survives_the_way_through_the_file(tmp_path: Path) -> None:
    found = Obstruction(16, 3, {"a": 2, "b": 16}, ("Cube",))
    found.write(tmp_path)
    assert Obstruction.read(tmp_path) == found and Obstruction.read(tmp_path / "absent") == Obstruction()
    assert list(found.often) == ["b", "a"] and not found.hopeless
