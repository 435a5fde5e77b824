# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a frame cheap without anybody seeing it: geometry that Cycles keeps, and meshes no finer than pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert, transform
from ...core.settings.schema import Settings
from ..stage.stage import Stage

Floats = NDArray[np.float64]

TWINS = "Keypoints Twins"
"""Collection of the objects that :func:`keep_geometry` adds."""

SMALLEST = 64
"""Meshes of fewer triangles are left alone."""

STEPS = 5
"""Decimations that are tried for each mesh."""

DRAWS = 128
"""How many draws tell how close the robot comes to the camera."""

NEAREST = 0.05
"""No part is taken to come closer to the camera than this, in metres."""


def keep_geometry(scene: bpy.types.Scene) -> None:
    """Make Cycles keep the meshes' acceleration structures from frame to frame.

    A final render bakes an object's transform into its mesh where nothing else uses the mesh, so that every joint that
    moves has the geometry taken in again: four fifths of a small frame of the UR10. A mesh that two objects share is
    kept and only placed anew. So each mesh gets a second object, which no ray of any kind meets.
    """
    collection = bpy.data.collections.new(TWINS)
    scene.collection.children.link(collection)
    for obj in list(scene.objects):
        if obj.type != "MESH" or obj.data.users > 1 or obj.modifiers or obj.data.shape_keys or obj.hide_render:
            continue
        twin = bpy.data.objects.new(f"{obj.name} twin", obj.data)
        for ray in ("camera", "diffuse", "glossy", "transmission", "shadow"):
            setattr(twin, f"visible_{ray}", False)
        # Volumes' rays alone remain, so that Cycles does not leave it out altogether; and it stays out of ray casting.
        twin.hide_viewport = twin.hide_select = True
        collection.objects.link(twin)


def smallest_pixels(stage: Stage, settings: Settings, objects: Sequence[bpy.types.Object]) -> list[float]:
    """How many metres a pixel covers where each object comes closest to the camera, over ``DRAWS`` draws."""
    model, rng = settings.scene_model(), np.random.default_rng(0)
    corners = [np.array(o.bound_box) for o in objects]
    smallest = np.full(len(objects), np.inf)
    for _ in range(DRAWS):
        stage.apply(model.sample(rng).values)
        world_in_camera, focal = invert(stage.camera.pose()), stage.camera.intrinsics().fx
        for index, (obj, local) in enumerate(zip(objects, corners, strict=True)):
            depths = transform(world_in_camera @ np.array(obj.matrix_world), local)[:, 2]
            # What reaches behind the camera is as good as not seen; its nearest part counts as this near.
            smallest[index] = min(smallest[index], max(depths.min(), NEAREST) / focal)
    return [float(s) for s in smallest]


def simplify(obj: bpy.types.Object, tolerance: float) -> float:
    """Decimate a mesh in place as far as its surface stays within ``tolerance`` metres of where it was.

    A mesh with modifiers, shape keys or other users stays whole.

    Returns:
        The largest distance, in metres, between the mesh and what it became, measured both ways at vertices and at the
        middles of faces.
    """
    mesh = obj.data
    if obj.type != "MESH" or mesh.users > 1 or mesh.shape_keys or obj.modifiers or len(mesh.polygons) < SMALLEST:
        return 0.0
    scale = float(max(obj.matrix_world.to_scale()))
    reduced, deviation = _reduced(obj, tolerance / scale)
    if reduced is not None:
        obj.data = reduced
        bpy.data.meshes.remove(mesh)
    return deviation * scale


def _reduced(obj: bpy.types.Object, tolerance: float) -> tuple[bpy.types.Mesh | None, float]:
    """The coarsest decimation found within the tolerance, by bisection over its ratio on a logarithmic scale."""
    original = _Surface(obj.data)
    modifier = obj.modifiers.new("reduce", "DECIMATE")
    best: bpy.types.Mesh | None = None
    best_deviation = 0.0
    low, high = np.log(max(SMALLEST / 2 / len(obj.data.polygons), 1e-3)), 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        modifier.ratio = float(np.exp(middle))
        bpy.context.view_layer.update()
        candidate = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
        deviation = original.deviation(_Surface(candidate), tolerance)
        if deviation <= tolerance:
            if best is not None:
                bpy.data.meshes.remove(best)
            best, best_deviation, high = candidate, deviation, middle
        else:
            bpy.data.meshes.remove(candidate)
            low = middle
    obj.modifiers.remove(modifier)
    return best, best_deviation


class _Surface:
    """A mesh as points on it and as a thing to measure distances to."""

    def __init__(self, mesh: bpy.types.Mesh) -> None:
        vertices = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", vertices)
        mesh.calc_loop_triangles()
        corners = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners)
        points, triangles = vertices.reshape(-1, 3), corners.reshape(-1, 3)
        self.points = np.concatenate([points, points[triangles].mean(axis=1)])
        self._tree = BVHTree.FromPolygons(points.tolist(), triangles.tolist(), all_triangles=True)

    def deviation(self, other: _Surface, limit: float) -> float:
        """Largest distance from the points of either to the surface of the other; infinite if beyond ``limit``."""
        forth = self._farthest(other.points, limit)
        return max(forth, other._farthest(self.points, limit)) if forth <= limit else forth

    def _farthest(self, points: Floats, limit: float) -> float:
        nearest = self._tree.find_nearest
        farthest = 0.0
        # In an order that has nothing to do with places, so that what is too far is found soon.
        for p in points[_shuffled(len(points))].tolist():
            farthest = max(farthest, nearest(p)[3] or 0.0)
            if farthest > limit:
                return math.inf
        return farthest


def _shuffled(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(count)
