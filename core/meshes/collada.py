# SPDX-License-Identifier: GPL-3.0-or-later
"""Collada files: what their visual scene shows, with skins and morphs as the file stands, and with its unit."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from ..robot.robot import Floats
from .collada_controllers import Deformation
from .collada_document import Document, placement
from .collada_materials import surface
from .collada_shapes import Primitive, primitives
from .mesh import Gathering, MeshData, Surface, by_colour, check_parts, part

DEEPEST = 200
"""How many nodes may lie within, or name, one another."""


def read(path: Path, data: bytes) -> list[MeshData]:
    """The triangles of a file.

    Raises:
        ValueError, KeyError, ElementTree.ParseError: if it is broken, or holds what is not read.
    """
    return _Scene(Document(data), path).parts()


class _Scene:
    def __init__(self, document: Document, path: Path) -> None:
        self._document = document
        self._path = path
        self._shapes: dict[Element, list[Primitive]] = {}
        self._surfaces: dict[Element | None, tuple[Surface, str]] = {None: (Surface(), "")}

    def parts(self) -> list[MeshData]:
        """All triangles of the visual scene."""
        root = self._document.root
        unit = root.find("asset/unit")
        metres = 1.0 if unit is None else float(unit.get("meter", "1"))
        if not (np.isfinite(metres) and metres > 0):
            raise ValueError(f"its unit is {metres} m")
        shown = root.find("scene/instance_visual_scene")
        if shown is None:
            scene = root.find("library_visual_scenes/visual_scene")
        else:
            scene = self._document.needed(shown, "url", "visual_scene")
        gathered = Gathering()
        scale = np.diag([metres, metres, metres, 1.0])
        nodes = self._nodes(scene) if scene is not None else []
        joints: dict[str, Floats] = {}
        for node, matrix in nodes:
            for name in (node.get("name"), node.get("id"), node.get("sid")):
                if name:
                    joints[name] = matrix
        for node, matrix in nodes:
            for instance in node:
                if instance.tag == "instance_geometry":
                    geometry = self._document.needed(instance, "url", "geometry")
                    for primitive in self._primitives(geometry):
                        gathered.add(self._mesh(primitive, primitive.positions, instance), scale @ matrix)
                elif instance.tag == "instance_controller":
                    controller = self._document.needed(instance, "url", "controller")
                    deformed = Deformation(self._document, controller)
                    for primitive in self._primitives(deformed.geometry):
                        positions = deformed(primitive.positions, joints)
                        place = scale if deformed.in_world else scale @ matrix
                        gathered.add(self._mesh(primitive, positions, instance), place)
        return gathered.parts

    def _nodes(self, scene: Element) -> list[tuple[Element, Floats]]:
        """Every node of the scene, as often as it is shown, with its ``(4, 4)``."""
        found: list[tuple[Element, Floats]] = []
        waiting = [(node, np.eye(4), 0) for node in reversed(scene.findall("node"))]
        while waiting:
            node, above, depth = waiting.pop()
            check_parts(len(found) + 1)
            if depth > DEEPEST:
                raise ValueError("its nodes name one another in a circle")
            matrix = above @ placement(node)
            found.append((node, matrix))
            for child in reversed(node):
                if child.tag == "node":
                    waiting.append((child, matrix, depth + 1))
                elif child.tag == "instance_node":
                    waiting.append((self._document.needed(child, "url", "node"), matrix, depth + 1))
        return found

    def _primitives(self, geometry: Element) -> list[Primitive]:
        if geometry not in self._shapes:
            self._shapes[geometry] = primitives(self._document, geometry)
        return self._shapes[geometry]

    def _mesh(self, primitive: Primitive, positions: Floats, instance: Element) -> MeshData:
        bound = next(
            (
                e
                for e in instance.iterfind("bind_material/technique_common/instance_material")
                if e.get("symbol") == primitive.material
            ),
            None,
        )
        reference = primitive.material if bound is None else bound.get("target")
        surface, channel = self._surface(self._document.target(reference, "material"))
        uv = self._coordinates(primitive, bound, channel)
        if primitive.colours is not None and surface.colour is None and not (surface.texture or surface.missing):
            return by_colour(positions, primitive.faces, primitive.colours, surface, uv)
        return part(positions, primitive.faces, surface, uv)

    def _surface(self, material: Element | None) -> tuple[Surface, str]:
        if material not in self._surfaces and material is not None:
            self._surfaces[material] = surface(self._document, material, self._path)
        return self._surfaces[material]

    def _coordinates(self, primitive: Primitive, bound: Element | None, channel: str) -> Floats | None:
        """The texture coordinates that the material's channel is bound to; else the first."""
        inputs = bound.findall("bind_vertex_input") if bound is not None else []
        wanted = next((e.get("input_set", "") for e in inputs if e.get("semantic") == channel), None)
        return primitive.uv.get(wanted or "", next(iter(primitive.uv.values()), None))
