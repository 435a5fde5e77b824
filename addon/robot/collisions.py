# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a robot's links run into one another."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from . import rigid_bodies
from .kinematics import Kinematics
from .rigid_bodies import Body

Floats = NDArray[np.float64]

TRIANGLES = 300
"""Bodies are reduced to about as many before they are tested."""


class Collisions:
    """Tests one robot's bodies against one another, in any pose.

    Neighbours along the chain are not tested, nor pairs that touch at rest. Bodies collide where their surfaces cross;
    that one body lies wholly inside another without any other crossing is not possible in a chain of touching links.
    """

    def __init__(self, kinematics: Kinematics, found: Sequence[Body], rest: Floats) -> None:
        """Prepare them.

        Args:
            rest: ``T_world_frame`` ``(L, 4, 4)`` of the robot at rest.
        """
        self._rows = [kinematics.rows[b.frame] for b in found]
        self._meshes = [_reduced(b) for b in found]
        self._corners = np.array([_corners(points) for points, _ in self._meshes]).reshape(-1, 8, 3)
        rigid = _rigid_groups(kinematics, [b.frame for b in found])
        pairs = [(a, b) for b in range(len(found)) for a in range(b) if not rigid.near(a, b)]
        self._pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        touching = self._crossing(rest, every=True)
        self._pairs = np.array([p for p in pairs if p not in touching], dtype=np.int64).reshape(-1, 2)

    def any(self, frames: Floats) -> bool:
        """Whether a pair collides where the frames are ``T_world_frame`` ``(L, 4, 4)``."""
        return bool(self._crossing(frames, every=False))

    def _crossing(self, frames: Floats, *, every: bool) -> set[tuple[int, int]]:
        placed = frames[self._rows]
        found: set[tuple[int, int]] = set()
        trees: dict[int, BVHTree] = {}
        for a, b in self._pairs[self._close(placed)].tolist():
            first, second = (self._tree(trees, i, placed[i]) for i in (a, b))
            if first.overlap(second):
                found.add((a, b))
                if not every:
                    break
        return found

    def _close(self, placed: Floats) -> NDArray[np.bool_]:
        """Which pairs' boxes overlap, each taken along the axes of both."""
        if not len(self._pairs):
            return np.zeros(0, dtype=bool)
        world = np.einsum("bij,bnj->bni", placed[:, :3, :3], self._corners) + placed[:, None, :3, 3]
        a, b = self._pairs[:, 0], self._pairs[:, 1]
        apart = np.zeros(len(self._pairs), dtype=bool)
        for axes in (placed[a, :3, :3], placed[b, :3, :3]):
            one, other = world[a] @ axes, world[b] @ axes
            apart |= ((one.max(axis=1) < other.min(axis=1)) | (other.max(axis=1) < one.min(axis=1))).any(axis=1)
        return ~apart

    def _tree(self, trees: dict[int, BVHTree], index: int, matrix: Floats) -> BVHTree:
        if index not in trees:
            vertices, triangles = self._meshes[index]
            placed = vertices @ matrix[:3, :3].T + matrix[:3, 3]
            trees[index] = BVHTree.FromPolygons(placed.tolist(), triangles, all_triangles=True)
        return trees[index]


class _Groups:
    """Which bodies move as one, and which hang on one another by a single joint."""

    def __init__(self, roots: Sequence[str], above: dict[str, str | None]) -> None:
        self._roots, self._above = roots, above

    def near(self, a: int, b: int) -> bool:
        """Whether two bodies move as one or are neighbours."""
        first, second = self._roots[a], self._roots[b]
        return first == second or self._above.get(first) == second or self._above.get(second) == first


def _rigid_groups(kinematics: Kinematics, frames: Sequence[str]) -> _Groups:
    """Group frames by the joint that moves them; groups without a body are passed over."""
    roots = [kinematics.moved_by(f) for f in frames]
    above: dict[str, str | None] = {}
    for name in set(roots):
        up = name
        while up:
            parent = kinematics.armature.data.bones[up].parent
            up = kinematics.moved_by(parent.name) if parent is not None else ""
            if up in roots:
                break
        above[name] = up if name else None
    return _Groups(roots, above)


def _reduced(body: Body) -> tuple[Floats, list[list[int]]]:
    """Vertices ``(V, 3)`` in the body's frame, and triangles: about ``TRIANGLES`` of them."""
    if len(body.triangles) <= TRIANGLES:
        return body.vertices, body.triangles.tolist()
    mesh = bpy.data.meshes.new("collision")
    mesh.from_pydata(body.vertices.tolist(), [], body.triangles.tolist())
    obj = bpy.data.objects.new("collision", mesh)
    bpy.context.scene.collection.objects.link(obj)
    obj.modifiers.new("reduce", "DECIMATE").ratio = TRIANGLES / len(body.triangles)
    bpy.context.view_layer.update()
    reduced = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    result = rigid_bodies.shape(reduced)
    for data in (mesh, reduced):
        bpy.data.meshes.remove(data)  # the object goes with its mesh
    return result[0], result[1].tolist()


def _corners(points: Floats) -> Floats:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(low + rigid_bodies.UNIT * (high - low))
