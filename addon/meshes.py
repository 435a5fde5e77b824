# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes of a robot's links as Blender meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.robot import Visual

DEFAULT_COLOUR = (0.75, 0.75, 0.75, 1.0)
SMOOTH_BELOW = 0.6
"""Edges flatter than this, in radians, are shaded smooth."""


def build(visual: Visual) -> list[bpy.types.Object]:
    """Mesh objects of one shape, in the link's frame (their object transforms are the identity), not yet in a scene.

    Raises:
        UserError: if a mesh file can't be read.
    """
    placement = np.asarray(visual.origin, dtype=np.float64)
    if visual.shape == "mesh":
        parts = _load(Path(visual.path))
        placement = placement @ np.diag([*visual.size, 1.0])
    else:
        parts = [(*_primitive(visual), DEFAULT_COLOUR)]
    objects = []
    for index, (vertices, faces, colour) in enumerate(parts):
        vertices = vertices @ placement[:3, :3].T + placement[:3, 3]
        if np.linalg.det(placement[:3, :3]) < 0:
            faces = faces[:, ::-1]
        name = visual.link if index == 0 else f"{visual.link}.{index}"
        mesh = _mesh(name, vertices, faces, smooth=visual.shape in ("mesh", "sphere", "cylinder"))
        mesh.materials.append(_material(visual.colour or colour))
        objects.append(bpy.data.objects.new(name, mesh))
    return objects


def _load(path: Path) -> list[tuple[NDArray[np.float64], NDArray[np.int64], tuple[float, ...]]]:
    """Vertices, triangles and display-sRGB colour of every part of a mesh file, in metres."""
    import trimesh

    try:
        scene = trimesh.load_scene(str(path))
    except Exception as problem:  # each format's parser raises its own kinds
        text = " ".join(str(problem).split())[:120]
        raise UserError(f"The mesh {path} can't be read ({text}): check the file") from problem
    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        vertices = np.asarray(geometry.vertices) @ matrix[:3, :3].T + matrix[:3, 3]
        parts.append((vertices, np.asarray(geometry.faces, dtype=np.int64), _main_colour(geometry)))
    if not parts:
        raise UserError(f"The mesh {path} holds no triangles: check the file")
    return parts


def _main_colour(geometry: Any) -> tuple[float, ...]:
    visual = geometry.visual
    material = getattr(visual, "material", None)
    colour = getattr(material, "main_color", None) if material is not None else getattr(visual, "main_color", None)
    if colour is None:
        return DEFAULT_COLOUR
    return tuple(float(c) / 255.0 for c in colour)


def _primitive(visual: Visual) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    import trimesh

    if visual.shape == "box":
        shape = trimesh.creation.box(extents=visual.size)
    elif visual.shape == "cylinder":
        shape = trimesh.creation.cylinder(radius=visual.size[0], height=visual.size[1], sections=48)
    else:
        shape = trimesh.creation.icosphere(subdivisions=3, radius=visual.size[0])
    return np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int64)


def _mesh(name: str, vertices: NDArray[np.float64], faces: NDArray[np.int64], smooth: bool) -> bpy.types.Mesh:
    # Files repeat a vertex for each of its normals; welded, a mesh can be reduced and shaded.
    unique, inverse = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[proper]
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(unique))
    mesh.vertices.foreach_set("co", unique.astype(np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", faces.astype(np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.validate()
    if smooth:
        mesh.shade_smooth()
        mesh.set_sharp_from_angle(angle=SMOOTH_BELOW)
    return mesh


def _material(colour: tuple[float, ...]) -> bpy.types.Material:
    """A material of the robot: one per colour, with the colour kept for the renderer's randomisation."""
    linear = [_linear(c) for c in colour[:3]]
    name = "robot " + "".join(f"{round(255 * c):02x}" for c in colour[:3])
    material = bpy.data.materials.get(name)
    if material is None:
        material = bpy.data.materials.new(name)
        if not material.use_nodes:
            material.use_nodes = True
        shader = material.node_tree.nodes["Principled BSDF"]
        shader.inputs["Base Color"].default_value = (*linear, 1.0)
        shader.inputs["Roughness"].default_value = 0.5
        material.diffuse_color = (*linear, 1.0)
    return material


def _linear(c: float) -> float:
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def reduce_triangles(objects: list[bpy.types.Object], budget: int) -> None:
    """Decimate meshes in place so that together they have about ``budget`` triangles; small ones stay whole.

    What is reduced loses its split normals: Cycles takes a quarter less time for a small frame without them.
    """
    meshes = {o.data: o for o in objects if o.type == "MESH" and o.data.users == 1 and not o.data.shape_keys}
    counts = {mesh: len(mesh.loop_triangles) or _triangles(mesh) for mesh in meshes}
    total = sum(counts.values())
    if total <= budget:
        return
    view_layer = bpy.context.view_layer
    for mesh, obj in meshes.items():
        if counts[mesh] < 64 or obj.modifiers:
            continue
        modifier = obj.modifiers.new("reduce", "DECIMATE")
        modifier.ratio = max(budget / total, 32 / counts[mesh])
        view_layer.update()
        evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
        reduced = bpy.data.meshes.new_from_object(evaluated)
        obj.modifiers.remove(modifier)
        obj.data = reduced
        for name in ("sharp_edge", "custom_normal"):
            if name in reduced.attributes:
                reduced.attributes.remove(reduced.attributes[name])


def _triangles(mesh: bpy.types.Mesh) -> int:
    mesh.calc_loop_triangles()
    return len(mesh.loop_triangles)


def as_matrix(values: NDArray[np.float64]) -> Matrix:
    """A numpy ``(4, 4)`` as Blender's matrix."""
    return Matrix([list(map(float, row)) for row in values])
