# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera as its variables see it: pose, lens, sensor."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ..core.camera import BLENDER_FROM_OPENCV, Intrinsics, orbit
from .meshes import as_matrix

CAMERA = "Keypoints Camera"
SENSOR_MM = 36.0


class Camera:
    """The scene's camera; made where it is missing."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
        self.scene = scene
        self.object = _camera(scene)
        self._armature = armature

    def apply(self, v: Mapping[str, float]) -> None:
        """Place it and set its lens."""
        target = (v["camera/target_x"], v["camera/target_y"], v["camera/target_z"])
        pose = orbit(v["camera/azimuth"], v["camera/elevation"], v["camera/distance"], v["camera/roll"], target)
        base = np.array(self._armature.matrix_world)
        self.object.matrix_world = as_matrix(base @ pose @ BLENDER_FROM_OPENCV)
        self.object.data.lens = v["camera/focal_length"]

    def intrinsics(self) -> Intrinsics:
        """Of the picture at the scene's render size."""
        render = self.scene.render
        scale = render.resolution_percentage / 100
        width, height = int(render.resolution_x * scale), int(render.resolution_y * scale)
        return Intrinsics.from_lens(width, height, self.object.data.lens, SENSOR_MM)

    def pose(self) -> NDArray[np.float64]:
        """``T_world_cam`` ``(4, 4)``, OpenCV's camera frame."""
        return np.asarray(np.array(self.object.matrix_world) @ BLENDER_FROM_OPENCV)


def _camera(scene: bpy.types.Scene) -> bpy.types.Object:
    camera = scene.objects.get(CAMERA)
    if camera is None or camera.type != "CAMERA":
        camera = bpy.data.objects.new(CAMERA, bpy.data.cameras.new(CAMERA))
        scene.collection.objects.link(camera)
    camera.data.sensor_fit = "AUTO"
    camera.data.sensor_width = SENSOR_MM
    scene.camera = camera
    return camera
