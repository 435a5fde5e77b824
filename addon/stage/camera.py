# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera as its variables see it: pose, lens, sensor."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.image_resampling import Resampler
from ...core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, orbit
from ..base import blender_versions
from ..robot.link_meshes import as_matrix

CAMERA = "Keypoints Camera"
SENSOR_MM = 36.0

_POSE = ("azimuth", "elevation", "distance", "roll", "target_x", "target_y", "target_z")
_LENS = ("focal_length", "principal_x", "principal_y", "k1", "k2", "p1", "p2")
_FOCUS = ("aperture", "focus", "distance", "focal_length")


class Camera:
    """The scene's camera; made where it is missing.

    Blender's own cameras are pinholes. Where the lens distorts, Blender renders a pinhole picture that reaches as far
    beyond the image as the lens does, and :meth:`develop` bends that into the image. The size of the rendering follows
    the lens, so what is not distorted costs nothing.
    """

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, reach: float) -> None:
        """Take the scene's camera for it, or make one.

        Args:
            armature: of the robot that its variables place it about.
            reach: of that robot, metres.
        """
        self.scene = scene
        self.object = _camera(scene, reach)
        self._armature = armature
        self._size: tuple[int, int] | None = None
        self._offset = (0.0, 0.0)
        self._set: dict[str, tuple[float, ...]] = {}
        self._resampler: Resampler | None = None
        self._intrinsics = Intrinsics.from_lens(*self._image_size(), self.object.data.lens, SENSOR_MM)

    def render_at(self, width: int, height: int) -> None:
        """Make images of this size, with the lens's distortion, from now on; the scene's resolution is ours to set, and
        its engine stays as it is.

        Until then the scene keeps its own resolution and the lens is a pinhole: no viewport shows any other.
        """
        self._size = (width, height)
        self._offset = blender_versions.picture_offset(self.scene)
        if "lens" in self._set:
            self._apply_lens(*self._set["lens"][: len(_LENS)])
        else:
            self._resize(width, height)

    def apply(self, v: Mapping[str, float]) -> None:
        """Place it and set its lens, its focus and the picture's exposure; what keeps its value is left alone."""
        base = np.array(self._armature.matrix_world)
        if self._changed("pose", *(v[f"camera/{n}"] for n in _POSE), *base.ravel().tolist()):
            self.object.matrix_world = as_matrix(base @ pose_in_base(v) @ BLENDER_FROM_OPENCV)
        lens = [v[f"camera/{n}"] for n in _LENS]
        if self._changed("lens", *lens, *self._image_size()):
            self._apply_lens(*lens)
        if self._changed("focus", *(v[f"camera/{n}"] for n in _FOCUS)):
            self._apply_focus(*(v[f"camera/{n}"] for n in _FOCUS))
        if self._changed("exposure", v["camera/exposure"]):
            self.scene.view_settings.exposure = v["camera/exposure"]

    def intrinsics(self) -> Intrinsics:
        """The intrinsics of the image, distortion included; after :meth:`apply`."""
        return self._intrinsics

    def pose(self) -> NDArray[np.float64]:
        """``T_world_cam`` ``(4, 4)``, OpenCV's camera frame; after the view layer was updated."""
        return np.asarray(np.array(self.object.matrix_world) @ BLENDER_FROM_OPENCV)

    @property
    def pinhole(self) -> Intrinsics:
        """The intrinsics of the picture that Blender renders for the image."""
        k, r = self._intrinsics, self._resampler
        if r is None:
            return Intrinsics(k.width, k.height, k.fx, k.fy, k.cx, k.cy)
        return Intrinsics(r.width, r.height, k.fx, k.fy, k.cx + r.left, k.cy + r.top)

    def develop(self, rendered: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image ``(H, W, 4)`` from Blender's rendering, both with straight alpha."""
        return rendered if self._resampler is None else self._resampler.picture(rendered)

    def develop_numbers(self, rendered: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """A mask ``(H, W)`` from one that fits Blender's rendering."""
        return rendered if self._resampler is None else self._resampler.nearest(rendered)

    def _apply_lens(
        self, focal: float, principal_x: float, principal_y: float, k1: float, k2: float, p1: float, p2: float
    ) -> None:
        width, height = self._image_size()
        distortion = (k1, k2, p1, p2, 0.0) if self._size is not None else (0.0,) * 5
        k = Intrinsics.from_lens(
            width, height, focal, SENSOR_MM, principal=(principal_x, principal_y), distortion=distortion
        )
        self._intrinsics = k
        self._resampler = None if k.lens.straight else Resampler(k)
        p = self.pinhole
        if self._size is not None:
            self._resize(p.width, p.height)
        longer = max(p.width, p.height)
        data = self.object.data
        data.lens = focal
        data.sensor_width = SENSOR_MM * longer / max(width, height)
        # Blender shifts the picture, not the axis, and counts upwards.
        data.shift_x = ((p.width - 1) / 2 - p.cx + self._offset[0]) / longer
        data.shift_y = (p.cy - self._offset[1] - (p.height - 1) / 2) / longer

    def _apply_focus(self, aperture: float, focus: float, distance: float, focal: float) -> None:
        dof, shading = self.object.data.dof, self.scene.display.shading
        dof.use_dof = aperture > 0
        if shading.use_dof != dof.use_dof:
            shading.use_dof = dof.use_dof
        if aperture > 0:
            dof.aperture_fstop = focal / aperture
            dof.focus_distance = focus * distance

    def _image_size(self) -> tuple[int, int]:
        if self._size is not None:
            return self._size
        render = self.scene.render
        scale = render.resolution_percentage / 100
        return int(render.resolution_x * scale), int(render.resolution_y * scale)

    def _resize(self, width: int, height: int) -> None:
        render = self.scene.render
        if (render.resolution_x, render.resolution_y) != (width, height):
            render.resolution_x, render.resolution_y = width, height

    def _changed(self, what: str, *values: float) -> bool:
        if self._set.get(what) == values:
            return False
        self._set[what] = values
        return True


def pose_in_base(v: Mapping[str, float]) -> NDArray[np.float64]:
    """``T_base_cam`` ``(4, 4)`` as the variables have it, free of Blender's rounding."""
    azimuth, elevation, distance, roll, *target = (v[f"camera/{n}"] for n in _POSE)
    return orbit(azimuth, elevation, distance, roll, target)


def _camera(scene: bpy.types.Scene, reach: float) -> bpy.types.Object:
    camera = scene.objects.get(CAMERA)
    if camera is None or camera.type != "CAMERA":
        camera = bpy.data.objects.new(CAMERA, bpy.data.cameras.new(CAMERA))
        scene.collection.objects.link(camera)
    data = camera.data
    data.type = "PERSP"
    data.sensor_fit = "AUTO"
    data.dof.focus_object = None
    data.dof.aperture_ratio = 1.0
    # Nothing that a robot of this size can hold before the camera is cut off, and nothing around it.
    data.clip_start, data.clip_end = 0.01 * reach, 200.0 * reach
    scene.camera = camera
    return camera
