# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the picture that anything can be seen in: there is no need to trace rays into the empty rest."""

from __future__ import annotations

import math

import bpy
import numpy as np
from numpy.typing import NDArray

MARGIN = 3
"""Pixels around what was found: the pixel filter reaches that far, and half a pixel more."""

SURFACES = ("MESH", "CURVE", "SURFACE", "META", "FONT", "VOLUME", "POINTCLOUD", "CURVES", "GREASEPENCIL", "GPENCIL")

Box = tuple[int, int, int, int]
"""Left, bottom, right and top, in pixels from the bottom left corner, right and top exclusive."""


class Region:
    """Finds it for one scene, whose objects are looked up once."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        self._scene = scene
        shown = [o for o in scene.objects if o.type in SURFACES and o.visible_camera]
        # What these carry may be anywhere, and what is hidden in the viewport is not kept up to date.
        self._unknown = [o for o in scene.objects if o.instance_type != "NONE" or o.particle_systems]
        self._unknown += [o for o in shown if o.hide_viewport]
        rigid = [o for o in shown if o.type == "MESH" and not o.modifiers and not o.data.shape_keys]
        self._rigid = [(o, _corners(o)) for o in rigid]
        self._shaped = [o for o in shown if o not in rigid]

    def visible(self) -> Box:
        """The pixels that hold the bounds of every object that can be rendered; all of them where that says nothing.

        The view layer must be up to date. What is out of focus reaches further; an opaque film fills the whole picture.
        """
        scene, camera = self._scene, self._scene.camera
        width, height = scene.render.resolution_x, scene.render.resolution_y
        everything = (0, 0, width, height)
        if not scene.render.film_transparent:
            return everything
        if any(not o.hide_render for o in self._unknown):
            return everything
        depsgraph = scene.view_layers[0].depsgraph or bpy.context.evaluated_depsgraph_get()
        view = camera.calc_matrix_camera(depsgraph, x=width, y=height) @ camera.matrix_world.inverted()
        # What has no extent is not in use, wherever it stands.
        shown = [(o, corners) for o, corners in self._rigid if not o.hide_render and any(o.scale)]
        clip = [np.array(view @ o.matrix_world) @ corners for o, corners in shown]
        for obj in self._shaped:
            if not obj.hide_render:
                # Only an evaluated object knows what its modifiers made of it.
                clip.append(np.array(view @ obj.matrix_world) @ _corners(obj.evaluated_get(depsgraph)))
        if not clip:
            return (0, 0, 0, 0)
        x, y, _, w = np.concatenate(clip, axis=1)
        if (w <= 0).any():
            return everything
        u, v = (x / w + 1) / 2 * width, (y / w + 1) / 2 * height
        spread = _spread(camera.data, w) * max(width, height)
        left, right = _span(u, spread, width)
        bottom, top = _span(v, spread, height)
        return (left, bottom, right, top) if left < right and bottom < top else (0, 0, 0, 0)


def _corners(obj: bpy.types.Object) -> NDArray[np.float64]:
    """Corners of an object's bounds in its own frame, homogeneous, ``(4, 8)``."""
    return np.concatenate([np.array(obj.bound_box).T, np.ones((1, 8))])


def _spread(camera: bpy.types.Camera, depths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the spot that a point at each depth makes, in lengths of the picture's longer side."""
    dof = camera.dof
    if not dof.use_dof:
        return np.zeros_like(depths)
    focal = camera.lens * 1e-3
    radius = focal / dof.aperture_fstop / 2 * max(1.0, 1.0 / dof.aperture_ratio)
    sharp = max(dof.focus_distance, 2 * focal)
    return np.asarray(camera.lens / camera.sensor_width * radius * abs(1 / depths - 1 / sharp))


def _span(values: NDArray[np.float64], spread: NDArray[np.float64], size: int) -> tuple[int, int]:
    low, high = math.floor((values - spread).min() - MARGIN), math.ceil((values + spread).max() + MARGIN)
    return min(max(low, 0), size), min(max(high, 0), size)
