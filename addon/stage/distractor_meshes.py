# SPDX-License-Identifier: GPL-3.0-or-later
"""Simple solids and tubes for distractors: few triangles, within a sphere of radius one."""

from __future__ import annotations

from collections.abc import Callable

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RINGS, SIDES = 24, 7
"""A tube's cross sections, and the corners of each."""


def _cube(b: bmesh.types.BMesh) -> None:
    bmesh.ops.create_cube(b, size=2.0)


def _ball(b: bmesh.types.BMesh) -> None:
    bmesh.ops.create_icosphere(b, subdivisions=3, radius=1.0)


def _cylinder(b: bmesh.types.BMesh) -> None:
    bmesh.ops.create_cone(b, cap_ends=True, segments=24, radius1=1.0, radius2=1.0, depth=2.0)


def _cone(b: bmesh.types.BMesh) -> None:
    bmesh.ops.create_cone(b, cap_ends=True, segments=24, radius1=1.0, radius2=0.15, depth=2.0)


def _torus(b: bmesh.types.BMesh) -> None:
    around, across = 20, 8
    for i in range(around):
        turn = Matrix.Rotation(2 * np.pi * i / around, 3, "Z")
        for j in range(across):
            a = 2 * np.pi * j / across
            b.verts.new(turn @ Vector((1.0 + 0.35 * np.cos(a), 0.0, 0.35 * np.sin(a))))
    b.verts.ensure_lookup_table()
    for i in range(around):
        for j in range(across):
            k, m = (i + 1) % around, (j + 1) % across
            b.faces.new([b.verts[p * across + q] for p, q in ((i, j), (k, j), (k, m), (i, m))])


def _rock(b: bmesh.types.BMesh) -> None:
    bmesh.ops.create_icosphere(b, subdivisions=2, radius=1.0)
    rng = np.random.default_rng(7)
    bumps = rng.normal(size=(12, 3))
    for vertex in b.verts:
        waves = np.sin(2.0 * bumps @ np.array(vertex.co) + np.arange(12))
        vertex.co *= 1.0 + 0.35 * float(waves.mean()) + 0.06 * float(rng.normal())


KINDS: dict[str, tuple[Callable[[bmesh.types.BMesh], None], bool]] = {
    "cube": (_cube, False), "sphere": (_ball, True), "cylinder": (_cylinder, True), "cone": (_cone, True),
    "torus": (_torus, True), "rock": (_rock, False),
}  # fmt: skip
"""How each kind of solid is made, and whether it is shaded smooth where it is round."""


def mesh(kind: str, material: bpy.types.Material, name: str = "") -> bpy.types.Mesh:
    """The mesh of one kind, in place of an older one of the same name."""
    build, round_ = KINDS[kind]
    result = _new(name or f"Keypoints {kind}")
    b = bmesh.new()
    build(b)
    radius = max(v.co.length for v in b.verts)
    b.transform(Matrix.Scale(1.0 / radius, 4))
    for face in b.faces:
        # Caps of more than four corners stay flat.
        face.smooth = round_ and len(face.verts) <= 4
    b.to_mesh(result)
    b.free()
    if kind in ("cylinder", "cone"):
        result.set_sharp_from_angle(angle=0.6)
    result.materials.append(material)
    return result


def tube_mesh(name: str, material: bpy.types.Material) -> bpy.types.Mesh:
    """A tube without a course yet; see :func:`tube`."""
    result = _new(name)
    faces: list[tuple[int, ...]] = [
        (r * SIDES + s, r * SIDES + (s + 1) % SIDES, (r + 1) * SIDES + (s + 1) % SIDES, (r + 1) * SIDES + s)
        for r in range(RINGS - 1)
        for s in range(SIDES)
    ]
    faces += [tuple(range(SIDES))[::-1], tuple(range((RINGS - 1) * SIDES, RINGS * SIDES))]
    # Whatever its course is, it fills the cube from -1 to 1: who looks at its bounds may do so once.
    result.from_pydata(np.random.default_rng(0).choice((-1.0, 1.0), (RINGS * SIDES, 3)).tolist(), [], faces)
    result.shade_smooth()
    result.materials.append(material)
    return result


def tube(course: Floats, radius: float) -> Floats:
    """Vertices ``(RINGS · SIDES, 3)`` of a tube along ``course`` ``(RINGS, 3)``."""
    along = np.gradient(course, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # The direction in which the course extends least is across it nearly everywhere.
    across = np.linalg.svd(course - course.mean(axis=0))[2][2]
    side = np.cross(along, across)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(along, side)
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * other[:, None]
    return np.asarray((course[:, None] + radius * ring).reshape(-1, 3))


def through(points: Floats) -> Floats:
    """A smooth course ``(RINGS, 3)`` through the given points ``(N, 3)``, N at least two (Catmull-Rom)."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    position = np.linspace(0, len(points) - 1, RINGS)
    k = np.minimum(position.astype(int), len(points) - 2)
    t = (position - k)[:, None]
    a, b, c, d = ends[k], ends[k + 1], ends[k + 2], ends[k + 3]
    return np.asarray(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))


def _new(name: str) -> bpy.types.Mesh:
    old = bpy.data.meshes.get(name)
    if old is not None:
        bpy.data.meshes.remove(old)
    return bpy.data.meshes.new(name)
