# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: the picture for the README of predicted keypoints over the viewport. See tools/overlay_picture.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps
from footage_fine_tune_story import fold_others


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    bpy.context.preferences.addons[MODULE].preferences.python = d.config["python"]
    d.view.spaces.active.show_region_hud = False  # what the last operator could be changed to
    fold_others("KEYPOINTS_PT_model")
    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    part("addon.robot.rig").pose(props.armature, d.config["pose"])
    props.armature.select_set(False)
    scene.render.resolution_x, scene.render.resolution_y = d.config["size"]
    eye, target = (Vector(d.config[k]) for k in ("eye", "target"))
    scene.camera.data.lens = d.config["lens"]
    scene.camera.rotation_euler = (target - eye).to_track_quat("-Z", "Y").to_euler()
    scene.camera.location = eye

    yield from d.open_sidebar("Keypoints")
    server = part("addon.prediction.model_server")
    yield from d.click_button('load_builtin_model(name="ur10")')
    yield from d.wait(lambda: server.SERVICE.model.state is server.State.READY, 120, "the built-in model")
    yield from d.click_button("robot_keypoints.look_through_camera")
    view = d.view.spaces.active.region_3d
    yield from d.wait(lambda: view.view_perspective == "CAMERA", 30, "the view through the camera")
    with d.context("WINDOW"):
        bpy.ops.view3d.view_center_camera()
        # The frame is centred in the whole area; the sidebar covers its right.
        view.view_camera_offset = (0.5 * d.region("UI").width / d.view.width, 0.0)
    d.look_from_top()
    yield from d.click_button("robot_keypoints.predict")
    shown = yield from d.wait(lambda: server.SERVICE.prediction, 60, "a prediction")
    yield from d.move(*d.middle())
    yield from d.pause(60)
    yield from d.station("overlay", confidences=[round(k.confidence, 2) for k in shown.keypoints])


DRIVER = Driver()
DRIVER.play(story)
