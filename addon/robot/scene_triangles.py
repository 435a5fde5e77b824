# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's surfaces as triangles, and which link of which robot each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import transform
from . import rigid_bodies

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

KINDS = ("MESH", "CURVE", "SURFACE", "META", "FONT")


@dataclass(frozen=True)
class Shape:
    """One object.

    Attributes:
        vertices: ``(V, 3)``, metres.
        triangles: ``(T, 3)`` indices of vertices.
        numbers: ``(T,)``: 0 for what is no robot, else 1 + the link's place among all links of all robots.
        robot: its robot's name; None for what is no robot.
    """

    vertices: Floats
    triangles: Integers
    numbers: NDArray[np.uint16]
    robot: str | None


class Shapes:
    """Reads them; what can't change is read once."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        armatures: Mapping[str, bpy.types.Object],
        seen: Callable[[bpy.types.Object], bool],
    ) -> None:
        """Number the links of all robots, in the order of ``armatures`` and of their bones.

        Args:
            seen: whether an object counts.
        """
        self._scene, self._seen = scene, seen
        self._robots = {armature.name: name for name, armature in armatures.items()}
        links = [(robot, bone.name) for robot, armature in armatures.items() for bone in armature.data.bones]
        self._numbers = {link: number for number, link in enumerate(links, 1)}
        self._owners: dict[str, tuple[str, str] | None] = {}
        self._rigid: dict[str, tuple[bpy.types.Mesh, Floats, Integers]] = {}
        self._bent: dict[str, tuple[int, NDArray[np.uint16]]] = {}

    def read(self, frame: Floats, everything: bool = True) -> Iterator[Shape]:
        """What is seen, as it stands; the view layer must be up to date.

        Args:
            frame: ``T_frame_world`` ``(4, 4)`` of the frame that vertices are given in.
            everything: whether to read what is no robot, too.
        """
        depsgraph = self._scene.view_layers[0].depsgraph or bpy.context.evaluated_depsgraph_get()
        for instance in depsgraph.object_instances:
            obj = instance.object.original
            if obj.type not in KINDS or not self._seen(obj):
                continue
            owner = self._owner(obj)
            if owner is None and not everything:
                continue
            matrix = frame @ np.array(instance.matrix_world)
            if owner is not None and not instance.is_instance and not obj.modifiers and not obj.data.shape_keys:
                vertices, triangles = self._rigid_mesh(obj)
            else:
                # An instance's object belongs to the iteration, so its mesh is read here and now.
                evaluated = instance.object
                mesh = evaluated.to_mesh()
                if mesh is None:
                    continue
                vertices, triangles = rigid_bodies.shape(mesh)
                evaluated.to_mesh_clear()
            if len(triangles):
                numbers = self._numbers_of(obj, owner, triangles)
                yield Shape(transform(matrix, vertices), triangles, numbers, None if owner is None else owner[0])

    def _rigid_mesh(self, obj: bpy.types.Object) -> tuple[Floats, Integers]:
        known = self._rigid.get(obj.name)
        if known is None or known[0] != obj.data:
            known = self._rigid[obj.name] = (obj.data, *rigid_bodies.shape(obj.data))
        return known[1:]

    def _owner(self, obj: bpy.types.Object) -> tuple[str, str] | None:
        """Robot and link that an object hangs on or is bent by."""
        if obj.name not in self._owners:
            self._owners[obj.name] = self._find_owner(obj)
        return self._owners[obj.name]

    def _find_owner(self, obj: bpy.types.Object) -> tuple[str, str] | None:
        for modifier in obj.modifiers:
            if modifier.type == "ARMATURE" and modifier.object is not None and modifier.object.name in self._robots:
                return self._robots[modifier.object.name], _root(modifier.object)
        child = obj
        while child.parent is not None:
            robot = self._robots.get(child.parent.name)
            if robot is not None:
                return robot, child.parent_bone if child.parent_type == "BONE" else _root(child.parent)
            child = child.parent
        return None

    def _numbers_of(
        self, obj: bpy.types.Object, owner: tuple[str, str] | None, triangles: Integers
    ) -> NDArray[np.uint16]:
        if owner is None:
            return np.zeros(len(triangles), np.uint16)
        if any(m.type == "ARMATURE" for m in obj.modifiers):
            by_vertex = self._bent_numbers(obj, owner)
            if by_vertex is not None and int(triangles.max()) < len(by_vertex):
                return np.asarray(by_vertex[triangles[:, 0]])
        return np.full(len(triangles), self._numbers[owner], np.uint16)

    def _bent_numbers(self, obj: bpy.types.Object, owner: tuple[str, str]) -> NDArray[np.uint16] | None:
        """By vertex, the bone that moves it most; None where modifiers made the vertices others."""
        robot, _ = owner
        evaluated = obj.evaluated_get(self._scene.view_layers[0].depsgraph)
        count = len(evaluated.data.vertices)
        known = self._bent.get(obj.name)
        if known is None or known[0] != count:
            groups = [self._numbers.get((robot, g.name), 0) for g in obj.vertex_groups]
            numbers = np.full(count, self._numbers[owner], np.uint16)
            for index, vertex in enumerate(evaluated.data.vertices):
                weights = [(g.weight, groups[g.group]) for g in vertex.groups if g.group < len(groups)]
                moving = [w for w in weights if w[1]]
                if moving:
                    numbers[index] = max(moving)[1]
            known = self._bent[obj.name] = (count, numbers)
        return known[1]


def _root(armature: bpy.types.Object) -> str:
    return str(next(bone.name for bone in armature.data.bones if bone.parent is None))
