# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the Model panel that matches camera and rig to a photograph, and tells the pose."""

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ....core.camera.intrinsics import BLENDER_FROM_OPENCV
from ....core.errors import UserError
from ....core.messages.pose import OutlineFit
from ...base import plots
from ...base.formatting import plural, quantity
from ...prediction import follow_video, photo_lens, photo_source, pose_from_photo, viewport_capture
from ...prediction.pose_uncertainty import camera_in_base, deviations
from . import base as panels


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The section "Photograph"."""
    found = pose_from_photo.latest()
    summary = _summary(found)
    body = panels.section(layout, "photo", "Photograph", summary, closed=False)
    if body is None:
        return
    props = context.scene.robot_keypoints
    if props.overlay.source != "IMAGE":
        row = body.row(align=True)
        row.label(text=Path(props.overlay.image).name or "no image chosen")
        row.operator("robot_keypoints.open_image", text="Open…", icon="FILE_FOLDER")
    _draw_lens(body, context)
    column = body.column(align=True)
    column.scale_y = 1.3
    for operator, kind, icon in (
        ("robot_keypoints.place_camera", pose_from_photo.CAMERA, "OUTLINER_OB_CAMERA"),
        ("robot_keypoints.pose_robot", pose_from_photo.ROBOT, "OUTLINER_OB_ARMATURE"),
    ):
        row = column.row(align=True)
        row.operator(operator, icon=icon)
        if photo_source.moving(props.overlay.image):
            _draw_follow(row, kind, False)
    column = panels.settings_column(body)
    column.prop(props.photo, "joints_deviation")
    row = column.row()
    row.active = props.photo.joints_deviation == 0.0
    row.prop(props.photo, "outline")
    column.row().prop(props.photo, "moves", expand=True)
    if follow_video.SERVICE.kind and not follow_video.SERVICE.published:
        _draw_following(body, context)
    elif message := pose_from_photo.message():
        panels.advice(body, context, message, "ERROR")
    if found is not None and found.pose.base_in_camera is not None:
        _draw_found(body, context, found)
    _draw_background(body, context)


def draw_publisher(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The section "Webcam", which needs no model in Blender."""
    photo = context.scene.robot_keypoints.photo
    following_it = follow_video.SERVICE.kind and follow_video.SERVICE.published
    body = panels.section(layout, "publisher", "Webcam", "following" if following_it else "")
    if body is None:
        return
    panels.advice(
        body,
        context,
        "robot-keypoints serve MODEL --source webcam:0 --publish 5555 --camera fx,fy,cx,cy looks for Blender",
    )
    column = panels.settings_column(body)
    column.prop(photo, "address")
    column.row().prop(photo, "moves", expand=True)
    row = body.row(align=True)
    _draw_follow(row, pose_from_photo.CAMERA, True, "Camera")
    _draw_follow(row, pose_from_photo.ROBOT, True, "Robot")
    if following_it:
        _draw_following(body, context)


def _draw_follow(layout: bpy.types.UILayout, kind: str, published: bool, text: str = "") -> None:
    service = follow_video.SERVICE
    on = (service.kind, service.published) == (kind, published)
    button = layout.operator("robot_keypoints.follow", text=text, icon="PAUSE" if on else "PLAY", depress=on)
    button.kind, button.published = kind, published


def _summary(found: pose_from_photo.Found | None) -> str:
    if follow_video.SERVICE.kind and not follow_video.SERVICE.published:
        return "following"
    if found is None or found.pose.base_in_camera is None:
        return ""
    metres, radians = deviations(found.pose)
    return f"± {quantity(metres, 'm')}, ± {quantity(radians, 'rad')}"


def _draw_lens(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    photo = context.scene.robot_keypoints.photo
    column = panels.settings_column(layout)
    column.prop(photo, "lens")
    if photo.lens == "MM":
        column.prop(photo, "focal_mm")
        column.prop(photo, "sensor_mm")
    elif photo.lens == "ANGLE":
        column.prop(photo, "angle")
    elif photo.lens == "PIXELS":
        column.prop(photo, "fx")
        column.prop(photo, "fy")
        column.prop(photo, "centred")
        if not photo.centred:
            column.prop(photo, "cx")
            column.prop(photo, "cy")
        column.prop(photo, "distortion")
    size = _size(context.scene)
    try:
        lens = photo_lens.of(context.scene, *(size or (1000, 1000)))
    except UserError as problem:
        panels.advice(layout, context, str(problem), "ERROR")
        return
    words = f"Lens: {lens.words}"
    if size is not None:
        k = lens.intrinsics
        pixels = f"{k.fx:.0f}" if abs(k.fx - k.fy) < 0.5 else f"{k.fx:.0f} and {k.fy:.0f}"
        words += f", which is {pixels} pixels at {size[0]} × {size[1]}"
    column = layout.column()
    column.active = False
    panels.advice(column, context, words, "BLANK1")


def _size(scene: bpy.types.Scene) -> tuple[int, int] | None:
    """The photograph's size, where that is known without reading it."""
    path = scene.robot_keypoints.overlay.image
    found = pose_from_photo.latest()
    if found is not None:
        return found.prediction.width, found.prediction.height
    image = viewport_capture.find_image(Path(bpy.path.abspath(path))) if path else None
    return (image.size[0], image.size[1]) if image is not None and image.size[0] else None


def _draw_following(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    service = follow_video.SERVICE
    if service.message:
        panels.advice(layout, context, service.message, "ERROR")
        return
    path = context.scene.robot_keypoints.overlay.image
    what = context.scene.robot_keypoints.photo.address if service.published else Path(path).name
    rate = f", {service.rate:.1f} poses a second" if service.published else ""
    panels.status(layout, f"follows {what}{rate}", plots.GREEN)


def _draw_found(layout: bpy.types.UILayout, context: bpy.types.Context, found: pose_from_photo.Found) -> None:
    pose = found.pose
    metres, radians = deviations(pose)
    matrix = camera_in_base(pose) @ BLENDER_FROM_OPENCV
    x, y, z = matrix[:3, 3]
    turn = Matrix(np.asarray(matrix).tolist()).to_euler("XYZ")
    total = len(found.prediction.keypoints)
    sure = not pose.alternatives
    fit = f"{len(pose.inliers)} of {plural(total, 'keypoint')} fit"
    if pose.reprojection is not None:
        fit += f", {pose.reprojection:.1f} pixels off"
    panels.status(layout, fit, plots.GREEN if sure else plots.AMBER)
    if pose.outline is not None:
        panels.status(layout, _outline(pose.outline), plots.GREEN if pose.outline.used else plots.AMBER)
    box = layout.column(align=True)
    box.scale_y = 0.9
    for label, text in (
        ("Camera", f"{x:.3f}, {y:.3f}, {z:.3f} m"),
        ("", f"± {quantity(metres, 'm')}"),
        ("Turned", ", ".join(f"{round(math.degrees(a), 1) + 0.0:.1f}°" for a in turn)),
        ("", f"± {quantity(radians, 'rad')}"),
        ("Distance", quantity(float(np.linalg.norm(matrix[:3, 3])), "m")),
    ):
        row = box.split(factor=0.36)
        row.label(text=label, icon="BLANK1")
        right = row.row()
        right.alignment = "RIGHT"
        right.label(text=text)
    if not sure:
        panels.warning(layout, context, pose_from_photo.notes(context.scene, found)[0])
        layout.operator("robot_keypoints.other_pose", icon="FILE_REFRESH")


def _outline(fit: OutlineFit) -> str:
    if fit.used and fit.support is not None:
        return f"by the outline, {fit.support:.0%} of it on edges"
    return "by keypoints alone: the outline isn't clear"


def _draw_background(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How the photograph lies over the rig, once it is shown behind the camera."""
    path = context.scene.robot_keypoints.overlay.image
    image = viewport_capture.find_image(Path(bpy.path.abspath(path))) if path else None
    slot: Any = photo_source.background(context.scene, image) if image is not None else None
    if slot is not None and slot.show_background_image and context.scene.camera.data.show_background_images:
        column = layout.column(align=True)
        column.prop(slot, "alpha", text="Photograph", slider=True)
        column.row(align=True).prop(slot, "display_depth", expand=True)


CLASSES: tuple[type, ...] = ()
