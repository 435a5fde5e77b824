# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: every part of the panel unfolded, in every state that it has something special to draw for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def unfold_everything(opened: set[str]) -> None:
    """What starts folded starts unfolded; which parts were drawn is noted."""
    panels = part("addon.ui.panels.base")
    section = panels.section

    def unfolded(layout: Any, identifier: str, title: str, summary: str = "", closed: bool = True,
                 alert: bool = False) -> Any:  # fmt: skip
        body = section(layout, identifier, title, summary, False, alert)
        if body is not None:
            opened.add(identifier)
        return body

    panels.section = unfolded


def fake_run(d: Driver) -> None:
    """As if a training had been adapting for a while."""
    run_status, inspected = part("core.processes.run_status"), part("addon.properties.scene_check_report")
    status = run_status.Status(phase=run_status.Phase.TRAINING, version=7)
    props = bpy.context.scene.robot_keypoints
    status.concentrations = {v.name: tuple(range(1, v.bins + 1)) for v in props.variables if v.use}
    status.progress = {"step": 41, "images": 656, "fraction": 0.3, "seconds_left": 90.0, "stall_fraction": 0.01}
    status.metrics = [
        {"images": n, "mean_error_percent": 9.0 / n, "median_error_percent": 5.0 / n, "loss": 1.0 / n,
         "hardest": [{"variable": "light/world", "low": 1.0, "high": 2.0},
                     {"variable": "camera/roll", "low": -0.1, "high": 0.1}]}
        for n in (1, 2, 5)
    ]  # fmt: skip
    runner = part("addon.services.training_run").Runner
    runner.status = property(lambda self: status)
    names = [k.name for k in props.keypoints]
    seen = dict.fromkeys(names, 9)
    inspected.keep(inspected.Report(64, 3000, 20, {**seen, names[0]: 0}, {**seen, names[0]: 0, names[1]: 0}, 0.2))


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    opened: set[str] = set()
    unfold_everything(opened)
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python = d.config["python"]
    photos = Path(d.config["folder"]) / "photos"
    for theme in ("kitchen", "void"):
        (photos / theme).mkdir(parents=True)
    (photos / "kitchen" / "a.jpg").write_bytes(b"")

    yield from d.open_sidebar("Keypoints")
    yield from d.station("1-empty")

    bpy.ops.robot_keypoints.builtin_robot()
    bpy.ops.robot_keypoints.preset_choose(name="photographs")
    yield from d.station("2-robot")

    urdf, rig = part("core.robot.urdf_reader"), part("addon.robot.rig")
    second = rig.build(scene, urdf.load_urdf(urdf.builtin_urdf()))
    second.location.x = 2.0
    bpy.context.view_layer.objects.active = second
    bpy.ops.robot_keypoints.robot_add()
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    rig.robot_meshes(props.armature)[2].select_set(True)
    bpy.ops.robot_keypoints.links_add()
    bpy.ops.robot_keypoints.variable_add("EXEC_DEFAULT", path='objects["Light"].location[2]')
    props.scene.worlds = props.augmentation.backgrounds = str(photos)
    props.notes = "\n".join(f"A note of some length about link {n}, whose mesh is missing" for n in range(5))
    props.variables["camera/distance"].low = 0.01
    yield from d.station("3-everything", own=[v.name for v in props.variables if v.path])

    fake_run(d)
    for name in ("light/world", "camera/azimuth", "joint/elbow_joint"):
        props.group = name.split("/")[0]
        props.variable_index = props.joint_index = [v.name for v in props.variables].index(name)
        d.region("UI").tag_redraw()
        yield from d.pause(20)
    props.search = "bright"
    d.region("UI").tag_redraw()
    yield from d.station("4-adapting")

    props.search = ""
    data = bpy.data.armatures.new("crane")
    crane = bpy.data.objects.new("crane", data)
    scene.collection.objects.link(crane)
    bpy.context.view_layer.objects.active = crane
    with d.context("WINDOW"):
        bpy.ops.object.mode_set(mode="EDIT")
        for number in range(3):
            bone = data.edit_bones.new(f"boom{number}")
            bone.head, bone.tail = (0, 0, number), (0, 0, number + 1)
        bpy.ops.object.mode_set(mode="OBJECT")
    for bone in crane.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = (False, True, True)
    crane.pose.bones["boom0"].robot_keypoints_own_range = True
    props.armature = crane
    d.region("UI").tag_redraw()
    yield from d.station("5-own-armature")

    for bone in crane.pose.bones:
        bone.robot_keypoints_joint = "NO"
    d.region("UI").tag_redraw()
    yield from d.station("6-no-joints", notes=props.notes, opened=sorted(opened))


DRIVER = Driver()
DRIVER.play(story)
