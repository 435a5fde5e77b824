# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera that took a photograph: its intrinsics from the settings, and a Blender camera that has them.

Blender's cameras are pinholes, so a distortion counts when the pose is solved and is not shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError

CAMERA = "Photograph Camera"
LENS_MM = 50.0
"""What a new camera has in Blender."""
LIMITS = (1e-3, 1e6)
"""Focal lengths, in longer sides of the picture, beyond which a number is a slip."""


@dataclass(frozen=True)
class Lens:
    """Intrinsics for one picture, and in plain words where they come from."""

    intrinsics: Intrinsics
    words: str


def of(scene: bpy.types.Scene, width: int, height: int) -> Lens:
    """What the settings say about a picture of ``width × height`` pixels.

    Raises:
        UserError: if that is of no use.
    """
    photo = scene.robot_keypoints.photo
    longer = max(width, height)
    middle = ((width - 1) / 2, (height - 1) / 2)
    if photo.lens == "CAMERA":
        return of_camera(scene.camera, width, height)
    if photo.lens == "MM":
        f = photo.focal_mm / photo.sensor_mm * longer
        lens = Lens(
            Intrinsics(width, height, f, f, *middle), f"{photo.focal_mm:g} mm on a sensor of {photo.sensor_mm:g} mm"
        )
    elif photo.lens == "ANGLE":
        f = longer / 2 / math.tan(photo.angle / 2)
        lens = Lens(
            Intrinsics(width, height, f, f, *middle), f"{math.degrees(photo.angle):.4g}° across the longer side"
        )
    else:
        fy = photo.fy or photo.fx
        cx, cy = middle if photo.centred else (photo.cx, photo.cy)
        distortion = tuple(float(k) for k in photo.distortion)
        k1, k2, p1, p2, k3 = distortion
        bent = ", with distortion" if any(distortion) else ""
        lens = Lens(Intrinsics(width, height, photo.fx, fy, cx, cy, (k1, k2, p1, p2, k3)), f"typed focal length{bent}")
    _check(lens.intrinsics)
    return lens


def of_camera(camera: bpy.types.Object | None, width: int, height: int) -> Lens:
    """A camera's own lens before a picture of ``width × height`` pixels; a new camera's where there is none.

    Raises:
        UserError: if it has none that could have taken it.
    """
    if camera is None:
        return Lens(Intrinsics.from_lens(width, height, LENS_MM), f"a new camera's {LENS_MM:g} mm")
    if camera.type != "CAMERA" or camera.data.type != "PERSP":
        raise UserError(
            f"{camera.name} is not a perspective camera: make it one, or type the photograph's focal length"
        )
    data = camera.data
    sensor, side = _fit(data, width, height)
    f = data.lens / sensor * side
    cx = (width - 1) / 2 - data.shift_x * side
    cy = (height - 1) / 2 + data.shift_y * side
    intrinsics = Intrinsics(width, height, f, f, cx, cy)
    _check(intrinsics)
    return Lens(intrinsics, f"{data.lens:.4g} mm of {camera.name}")


def _check(k: Intrinsics) -> None:
    longer = max(k.width, k.height)
    for name, value in (("fx", k.fx), ("fy", k.fy)):
        if not (math.isfinite(value) and LIMITS[0] <= value / longer <= LIMITS[1]):
            raise UserError(f"The focal length {name} is {value:g} pixels: type the photograph's, such as {longer}")
    if not (-k.width <= k.cx <= 2 * k.width and -k.height <= k.cy <= 2 * k.height):
        raise UserError(
            f"The principal point ({k.cx:g}, {k.cy:g}) lies far outside the picture of {k.width} × {k.height} pixels: "
            "correct it"
        )


def _fit(data: Any, width: float, height: float) -> tuple[float, float]:
    """The size of the sensor in millimetres, and of the side of the picture that it goes along."""
    if data.sensor_fit == "VERTICAL":
        return data.sensor_height, height
    if data.sensor_fit == "HORIZONTAL":
        return data.sensor_width, width
    return data.sensor_width, max(width, height)


def ensure(scene: bpy.types.Scene, around: Vector | None = None, distance: float = 3.0) -> bpy.types.Object:
    """The scene's camera; where there is none, a new one that looks at a point from ``distance`` metres."""
    if scene.camera is not None:
        return scene.camera
    camera = bpy.data.objects.new(CAMERA, bpy.data.cameras.new(CAMERA))
    camera.data.lens, camera.data.sensor_width = LENS_MM, 36.0
    scene.collection.objects.link(camera)
    target = around if around is not None else Vector()
    direction = Vector((1.0, -1.0, 0.7)).normalized()
    camera.matrix_world = (
        Matrix.Translation(target + distance * direction) @ direction.to_track_quat("Z", "Y").to_matrix().to_4x4()
    )
    scene.camera = camera
    return camera


def give(scene: bpy.types.Scene, camera: bpy.types.Object, k: Intrinsics, typed_mm: tuple[float, float] | None) -> None:
    """Give a camera these intrinsics, its distortion aside, and the scene's pictures their size.

    Args:
        typed_mm: focal length and sensor, where the user said them in millimetres.

    Raises:
        UserError: if it can't be changed.
    """
    data = editable(camera)
    render = scene.render
    render.resolution_x, render.resolution_y = k.width, k.height
    # Blender has one focal length, and pixels that aren't square instead of a second one; neither side is under 1.
    tall = k.fx / k.fy
    render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1 / tall), max(1.0, tall)
    data.type = "PERSP"
    if typed_mm is not None:
        data.sensor_fit, data.sensor_width = "AUTO", typed_mm[1]
    wide = k.width * 1.0, k.height * tall
    sensor, side = _fit(data, *wide)
    data.lens = k.fx * sensor / side
    data.shift_x = ((k.width - 1) / 2 - k.cx) / side
    data.shift_y = (k.cy - (k.height - 1) / 2) * tall / side


def editable(camera: bpy.types.Object) -> Any:
    """A camera's data, a copy of its own where other cameras share it.

    Raises:
        UserError: if it comes from another file.
    """
    if not (camera.is_editable and camera.data.is_editable):
        raise UserError(
            f"The camera {camera.name} is linked from another file: make it local, or choose another camera"
        )
    if camera.data.users > 1:
        camera.data = camera.data.copy()
    return camera.data


def refuse_if_locked(obj: bpy.types.Object, what: str, joints_only: bool = False) -> None:
    """Raise an error where what is to be moved is locked or driven.

    Args:
        joints_only: whether the object itself is to stay where it is.

    Raises:
        UserError: if something but the user decides where an object stands.
    """
    if not obj.is_editable:
        raise UserError(f"The {what} {obj.name} is linked from another file: make it local first")
    if joints_only:
        return
    for constraint in obj.constraints:
        if not constraint.mute and constraint.influence > 0:
            raise UserError(f"The {what} {obj.name} is held by its constraint {constraint.name}: mute that first")
    animation = obj.animation_data
    paths = ("location", "rotation", "delta_")
    if animation is not None and any(d.data_path.startswith(paths) for d in animation.drivers):
        raise UserError(f"The {what} {obj.name} is moved by drivers: remove those of its location and rotation first")


def place(obj: bpy.types.Object, matrix: NDArray[np.float64]) -> None:
    """Put an object where a rigid ``T_world_object`` ``(4, 4)`` says; its scale stays."""
    scale = obj.matrix_world.to_scale()
    rigid = Matrix(np.asarray(matrix, dtype=float).tolist())
    obj.matrix_world = rigid @ Matrix.Diagonal((*scale, 1.0))
