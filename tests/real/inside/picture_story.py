# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: the picture for the README of a rig laid over a photograph by *Pose Robot from Image*.

See tools/pose_picture.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps

COLOUR = (1.0, 0.35, 0.05, 0.45)


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    bpy.context.preferences.addons[MODULE].preferences.python = d.config["python"]
    prediction, photo_pose, rig = (
        part("addon.prediction.model_server"),
        part("addon.prediction.pose_from_photo"),
        part("addon.robot.rig"),
    )
    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    rig.pose(props.armature, d.config["joints"])
    props.armature.select_set(False)
    scene.camera.data.lens = d.config["lens"]
    bpy.ops.robot_keypoints.load_model(filepath=d.config["model"])
    yield from d.open_sidebar("Keypoints")
    yield from d.wait(lambda: prediction.SERVICE.model.state is prediction.State.READY, 120, "the model to be loaded")
    bpy.ops.robot_keypoints.open_image(filepath=d.config["photo"])
    with d.context("WINDOW"):
        bpy.ops.screen.screen_full_area(use_hide_panels=False)
    yield from d.pause(30)
    d.region("UI").active_panel_category = "Keypoints"
    yield from d.pause(20)
    yield from d.click_button("robot_keypoints.pose_robot", fractions=(0.4,))

    def applied() -> Any:
        assert not photo_pose.message(), photo_pose.message()
        found = photo_pose.latest()
        return found if found is not None and found.applied else None

    found = yield from d.wait(applied, 60, "the robot to be posed")
    for obj in rig.robot_meshes(props.armature):
        obj.color = COLOUR
    space = d.view.spaces.active
    space.shading.color_type = "OBJECT"
    space.overlay.show_floor = space.overlay.show_axis_x = space.overlay.show_axis_y = False
    space.overlay.show_bones = space.overlay.show_extras = False
    space.overlay.show_text = space.show_gizmo = space.show_region_toolbar = False
    props.overlay.names = props.overlay.chain = False
    slot = scene.camera.data.background_images[0]
    slot.alpha, slot.display_depth = 1.0, "BACK"
    scene.camera.data.passepartout_alpha = 1.0
    yield from d.pause(20)
    with d.context("WINDOW"):
        bpy.ops.view3d.view_center_camera()
        sidebar = d.region("UI")
        # The frame is centred in the whole area; the sidebar covers its right.
        space.region_3d.view_camera_offset = (0.5 * sidebar.width / d.view.width, 0.0)
    yield from d.pause(20)
    while (yield from d.scroll("WHEELDOWNMOUSE")):
        pass
    yield from d.move(*d.middle())
    yield from d.station("picture", reprojection=found.pose.reprojection, inliers=found.pose.inliers)


DRIVER = Driver()
DRIVER.play(story)
