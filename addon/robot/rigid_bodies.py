# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's meshes as rigid bodies: which vertices and triangles move with which link or bone."""

from __future__ import annotations

from dataclasses import dataclass

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

from . import rig
from .kinematics import BASE, Kinematics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


UNIT = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
"""Corners ``(8, 3)`` of the unit cube."""


@dataclass(frozen=True)
class Body:
    """What moves with one frame: vertices ``(V, 3)`` in metres in that frame, triangles ``(T, 3)`` of them."""

    frame: str
    vertices: Floats
    triangles: Integers


def find(scene: bpy.types.Scene, kinematics: Kinematics) -> list[Body]:
    """The bodies of one robot, by the order of its frames; parts that are not rendered are left out.

    Skin counts with the bone that has the most weight in it; skin without weights and what hangs on the armature as
    a whole, with the armature's own frame.
    """
    armature = kinematics.armature
    scene.view_layers[0].update()
    depsgraph = scene.view_layers[0].depsgraph or bpy.context.evaluated_depsgraph_get()
    world = dict(zip(kinematics.names, kinematics.present(), strict=True))
    found: dict[str, list[tuple[Floats, Integers]]] = {}
    for obj in rig.robot_meshes(armature):
        if obj.hide_render:
            continue
        evaluated = obj.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh()
        points, triangles = shape(mesh)
        points = points @ np.array(obj.matrix_world)[:3, :3].T + np.array(obj.matrix_world)[:3, 3]
        owners = _owners(obj, mesh, armature, world)
        evaluated.to_mesh_clear()
        for frame in dict.fromkeys(owners):
            part = triangles[[owners[i] == frame for i in triangles[:, 0]]] if len(set(owners)) > 1 else triangles
            used, corners = np.unique(part, return_inverse=True)
            if used.size:
                back = np.linalg.inv(world[frame])
                found.setdefault(frame, []).append(
                    (points[used] @ back[:3, :3].T + back[:3, 3], corners.reshape(-1, 3).astype(np.int64))
                )
    return [_joined(name, found[name]) for name in kinematics.names if name in found]


def hull(body: Body) -> Floats:
    """The corners ``(H, 3)`` of a body's convex hull, in its frame."""
    mesh = bpy.data.meshes.new("hull")
    mesh.from_pydata(body.vertices.tolist(), [], [])
    hull = bmesh.new()
    hull.from_mesh(mesh)
    bpy.data.meshes.remove(mesh)
    made = bmesh.ops.convex_hull(hull, input=hull.verts)["geom"]
    corners = [tuple(e.co) for e in made if isinstance(e, bmesh.types.BMVert)]
    hull.free()
    # A flat body has no hull.
    return np.array(corners) if corners else body.vertices


def boxes(found: list[Body]) -> Floats:
    """The corners ``(B, 2, 3)``, lowest and highest, of each body's bounds in its own frame."""
    return np.array([[b.vertices.min(axis=0), b.vertices.max(axis=0)] for b in found]).reshape(-1, 2, 3)


def shape(mesh: bpy.types.Mesh) -> tuple[Floats, Integers]:
    """Vertices ``(V, 3)`` and triangles ``(T, 3)`` of a mesh."""
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    mesh.calc_loop_triangles()
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    return points.reshape(-1, 3).astype(np.float64), triangles.reshape(-1, 3).astype(np.int64)


def _owners(
    obj: bpy.types.Object, mesh: bpy.types.Mesh, armature: bpy.types.Object, known: dict[str, Floats]
) -> list[str]:
    """The frame of every vertex, or a list of one where it is the same for all."""
    above = obj
    while above is not None and above.parent != armature:
        above = above.parent
    if above is not None and above.parent_type == "BONE" and above.parent_bone in known:
        return [above.parent_bone]
    if not obj.vertex_groups:
        return [BASE]
    names = [g.name if g.name in known else BASE for g in obj.vertex_groups]
    owners = []
    for vertex in mesh.vertices:
        weighted = [(g.weight, names[g.group]) for g in vertex.groups if names[g.group] != BASE]
        owners.append(max(weighted)[1] if weighted else BASE)
    return owners


def _joined(frame: str, parts: list[tuple[Floats, Integers]]) -> Body:
    offsets = np.cumsum([0, *(len(points) for points, _ in parts)])
    triangles = [t + offset for (_, t), offset in zip(parts, offsets, strict=False)]
    return Body(frame, np.concatenate([p for p, _ in parts]), np.concatenate(triangles))
