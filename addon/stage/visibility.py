# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a rendering shows. Ray casting goes by what the viewport shows, which may differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

SURFACE = 1e-3
"""A point this close behind a surface, in metres, counts as lying on it: a sphere of this radius about it shows."""

STEP = 1e-5
"""So far behind a surface that does not end it, in metres, a ray goes on."""

SURFACES = 64
"""Behind so many surfaces nobody looks for more."""


class Seen:
    """What the camera can see of one scene."""

    def __init__(self, scene: bpy.types.Scene) -> None:
        """Look up what its collections leave out."""
        self._scene, self._layer = scene, scene.view_layers[0]
        shown = {o.name for c in _rendered(self._layer.layer_collection) for o in c.collection.objects}
        self._left_out = {o.name for o in scene.objects if o.name not in shown}

    def __call__(self, obj: bpy.types.Object) -> bool:
        """Whether a rendering shows the object, if it stands in the picture."""
        return obj.visible_camera and not obj.hide_render and obj.name not in self._left_out

    def in_viewport_too(self) -> None:
        """Make the viewport, and with it ray casting, show all that a rendering shows, and in the same shape."""
        for layer in _rendered(self._layer.layer_collection):
            layer.collection.hide_viewport = layer.hide_viewport = False
        for obj in self._scene.objects:
            if not self(obj):
                continue
            if obj.hide_viewport or obj.hide_get(view_layer=self._layer):
                obj.hide_viewport = False
                obj.hide_set(False, view_layer=self._layer)
            for modifier in obj.modifiers:
                if modifier.show_viewport != modifier.show_render:
                    modifier.show_viewport = modifier.show_render
                if modifier.type in ("SUBSURF", "MULTIRES") and modifier.levels != modifier.render_levels:
                    modifier.levels = modifier.render_levels

    def occluded(self, points: NDArray[np.float64], camera: bpy.types.Object) -> NDArray[np.bool_]:
        """Whether something stands between the camera and each point ``(N, 3)`` in the world.

        The view layer must be up to date.
        """
        return np.array([next(self._met(p, camera), None) is not None for p in points.tolist()], np.bool_)

    def before(
        self, points: NDArray[np.float64], camera: bpy.types.Object, goal: Collection[str]
    ) -> list[list[bpy.types.Object]]:
        """The objects that stand between the camera and each point ``(N, 3)`` in the world, the nearest first.

        Args:
            goal: names of objects that end a ray, as the point itself does.
        """
        found: list[list[bpy.types.Object]] = []
        for point in points.tolist():
            found.append(met := [])
            for obj in islice(self._met(point, camera), SURFACES):
                if obj.name in goal:
                    break
                if obj not in met:
                    met.append(obj)
        return found

    def _met(self, point: list[float], camera: bpy.types.Object) -> Iterator[bpy.types.Object]:
        """The objects whose surfaces a ray from the camera to a point meets, in order; the point's own is not met."""
        depsgraph = self._layer.depsgraph or bpy.context.evaluated_depsgraph_get()
        eye, forward = camera.matrix_world.translation, -camera.matrix_world.col[2].xyz.normalized()
        ray = Vector(point) - eye
        length = ray.length - SURFACE
        ray.normalize()
        # What is before the near plane is cut off.
        start = camera.data.clip_start / max(ray.dot(forward), 1e-6)
        while start < length:
            hit, place, _, _, obj, _ = self._scene.ray_cast(depsgraph, eye + start * ray, ray, distance=length - start)
            if not hit:
                return
            if self(obj):
                yield obj
            start = (place - eye).length + STEP


def _rendered(layer: bpy.types.LayerCollection) -> Iterator[bpy.types.LayerCollection]:
    """The collections below one, itself included, that a rendering shows to the camera."""
    if layer.exclude or layer.collection.hide_render or layer.indirect_only:
        return
    yield layer
    for child in layer.children:
        yield from _rendered(child)
