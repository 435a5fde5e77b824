# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: the picture for the README of the panel during a training. See tools/panel_picture.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps

SENSOR = 72.0
"""Millimetres that the longer side of a viewport covers at its lens."""


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def frame_robot(d: Driver, armature: bpy.types.Object) -> None:
    """Show the robot in the part of the viewport that the sidebar leaves free."""
    space, free = d.view.spaces.active, d.region("UI").x - d.view.x
    armature.select_set(True)
    with d.context("WINDOW"):
        bpy.ops.view3d.view_selected()
    armature.select_set(False)
    view = space.region_3d
    view.view_distance *= d.view.width / free
    pixel = view.view_distance * SENSOR / space.lens / max(d.view.width, d.view.height)
    view.view_location += view.view_rotation @ Vector((0.5 * (d.view.width - free) * pixel, 0.0, 0.0))


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python, preferences.runs = d.config["python"], d.config["runs"]
    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    d.view.spaces.active.show_region_hud = False  # what the last operator could be changed to
    yield from d.open_sidebar("Keypoints")
    environment = part("addon.services.trainer_environment").SERVICE
    yield from d.click_button("robot_keypoints.check_environment")
    yield from d.wait(lambda: environment.health.state.value == "ok", 180, "the check of the environment")
    yield from d.click_button("robot_keypoints.builtin_robot")
    yield from d.wait(lambda: props.armature is not None, 30, "the robot")
    yield from d.click_button('preset_choose(name="fast")')
    group, _, _ = d.config["variable"].partition("/")
    props.group = group
    props.variable_index = [v.name for v in props.variables].index(d.config["variable"])
    yield from d.unfold("robot_keypoints.check_scene", "robot_keypoints.variable_add")
    part("addon.robot.rig").pose(props.armature, d.config["pose"])
    frame_robot(d, props.armature)

    runner = part("addon.services.training_run").RUNNER
    yield from d.click_button("robot_keypoints.start_training")
    yield from d.wait(lambda: runner.session is not None, 60, "the session")

    def adapted() -> bool:
        if runner.status.phase.over:
            raise RuntimeError(f"the training ended: {runner.status.reason}")
        return runner.status.version >= d.config["updates"] and bool(runner.status.metrics)

    yield from d.wait(adapted, d.config["patience"], "the priors to change")
    while (yield from d.scroll("WHEELUPMOUSE")):
        pass
    yield from d.move(*d.middle())
    # The window is drawn again before the screenshot, however busy the machine is.
    yield from d.pause(100)
    area = d.view
    top = d.window.height - area.y - area.height
    yield from d.station(
        "panel", viewport=[area.x, top, area.x + area.width, top + area.height], version=runner.status.version,
        step=runner.status.progress["step"],
    )  # fmt: skip
    runner.abandon()


DRIVER = Driver()
DRIVER.play(story)
