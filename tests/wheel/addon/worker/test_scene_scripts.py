# SPDX-License-Identifier: GPL-3.0-or-later
"""A stranger's scene runs nothing in the Blender that renders it."""

from __future__ import annotations

from pathlib import Path

import bpy
from robot_keypoints.addon.base.saving import save_copy
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.worker import scene_builder
from robot_keypoints.core.settings.completion import load_robot
from robot_keypoints.core.settings.schema import RobotSettings, Settings


def test_scripts_and_drivers_in_a_scene_do_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    bpy.ops.wm.read_homefile(use_empty=True)
    armature = rig.build(bpy.context.scene, load_robot(RobotSettings("builtin")), [])
    name = armature.name
    script = bpy.data.texts.new("script.py")
    script.write(f"open({str(trace)!r}, 'w').close()")
    script.use_module = True
    driver = armature.driver_add("location", 0).driver
    driver.type, driver.expression = "SCRIPTED", f"len([open({str(trace)!r}, 'w').close()])"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "arm.blend"), copy=True)
    save_copy(tmp_path / "scene.blend")
    trace.unlink(missing_ok=True)
    for file in ("arm.blend", "scene.blend"):
        scene_builder.open_scene(tmp_path / file)
        found = bpy.context.scene.objects[name]
        assert found.evaluated_get(bpy.context.evaluated_depsgraph_get()).location[0] == 0.0
    scene_builder.build_scene(Settings(robot=RobotSettings("armature", str(tmp_path / "arm.blend"), name)), tmp_path)
    assert not trace.exists()
