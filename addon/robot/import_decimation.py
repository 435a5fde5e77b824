# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a robot of very many triangles lighter when it is loaded, and measures what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bmesh
import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from . import link_meshes

Floats = NDArray[np.float64]

SAMPLES = 20_000
"""Points on the surface at which the distance is measured."""


@dataclass(frozen=True)
class Reduction:
    """Triangles before and after, and how far points of the original surface lie from the reduced one, in metres."""

    before: int
    after: int
    largest: float
    mean: float

    def __str__(self) -> str:
        return (
            f"{self.before:,} triangles were reduced to {self.after:,}; the surface moved by {1000 * self.mean:.3g} mm "
            f"on average and {1000 * self.largest:.3g} mm at most"
        )


def count(objects: Sequence[bpy.types.Object]) -> int:
    """Triangles of mesh objects."""
    return sum(len(_triangles(o.data)) for o in objects)


def reduce(objects: Sequence[bpy.types.Object], budget: int) -> Reduction | None:
    """Decimate meshes in place to about ``budget`` triangles altogether; None where they have no more than that."""
    before = count(objects)
    if before <= budget:
        return None
    rng = np.random.default_rng(0)
    samples = {obj: _sample(obj.data, max(1, SAMPLES * len(_triangles(obj.data)) // before), rng) for obj in objects}
    originals = {obj: obj.data for obj in objects}
    link_meshes.reduce_triangles(list(objects), budget)
    distances = []
    for obj, mesh in originals.items():
        if obj.data != mesh:
            distances.append(_distances(samples[obj], obj.data))
            name = mesh.name
            bpy.data.meshes.remove(mesh)
            obj.data.name = name
        else:
            distances.append(np.zeros(len(samples[obj])))
    moved = np.concatenate(distances)
    return Reduction(before, count(objects), float(moved.max()), float(moved.mean()))


def _triangles(mesh: bpy.types.Mesh) -> bpy.types.bpy_prop_collection:
    mesh.calc_loop_triangles()
    return mesh.loop_triangles


def _sample(mesh: bpy.types.Mesh, number: int, rng: np.random.Generator) -> Floats:
    """Points ``(number, 3)`` spread evenly over a surface; its corners among them, as they stick out farthest."""
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    triangles = _triangles(mesh)
    corners = np.empty(3 * len(triangles), dtype=np.int32)
    triangles.foreach_get("vertices", corners)
    areas = np.empty(len(triangles), dtype=np.float32)
    triangles.foreach_get("area", areas)
    own = points.reshape(-1, 3).astype(np.float64)
    share = areas.astype(np.float64)
    if not share.sum() > 0:
        return own[:number]
    chosen = own[corners.reshape(-1, 3)[rng.choice(len(share), number, p=share / share.sum())]]
    u, v = np.sort(rng.random((2, number)), axis=0)
    inside: Floats = chosen[:, 0] * u[:, None] + chosen[:, 1] * (v - u)[:, None] + chosen[:, 2] * (1 - v)[:, None]
    return np.concatenate([inside, own[rng.choice(len(own), min(number, len(own)), replace=False)]])


def _distances(points: Floats, mesh: bpy.types.Mesh) -> Floats:
    shape = bmesh.new()
    shape.from_mesh(mesh)
    tree = BVHTree.FromBMesh(shape)
    shape.free()
    return np.array([tree.find_nearest(p)[3] for p in points])
