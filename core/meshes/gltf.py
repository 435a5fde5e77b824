# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF and GLB files with their materials and textures: the default scene, as it stands before any animation.

Points and lines show nothing, as do cameras and lights. Skins and morph targets count with the pose and the weights
that the file stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import srgb
from ..errors import UserError
from ..robot.robot import Floats
from .gltf_document import COMPRESSED, Document, Item, embedded
from .mesh import Colour, Gathering, Indices, MeshData, Surface, by_colour, check_parts, part
from .polygons import fan, strip
from .textures import located, problem

TRIANGLES, STRIP, FAN = 4, 5, 6
TEXTURES = ("EXT_texture_webp", "KHR_texture_basisu", "MSFT_texture_dds")
SPECULAR = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"
INSTANCES = "EXT_mesh_gpu_instancing"


def read(path: Path, data: bytes) -> list[MeshData]:
    """The triangles of a file's scene.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if it is broken.
        UserError: if it is compressed, requires what is not read, or a buffer of it is missing.
    """
    return _Scene(Document(path, data)).parts()


class _Scene:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._nodes = document.items("nodes")
        check_parts(len(self._nodes))
        self._made: dict[int, list[MeshData]] = {}
        self._surfaces: dict[int | None, tuple[Surface, Item]] = {None: (Surface(), {})}
        self._world = self._matrices()

    def parts(self) -> list[MeshData]:
        """All triangles of the default scene."""
        gathered = Gathering()
        for index in self._shown():
            node = self._nodes[index]
            if "mesh" not in node:
                continue
            # A skin places its vertices by its joints alone.
            places = [np.eye(4)] if "skin" in node else [self._world[index] @ m for m in self._instances(node)]
            for made in self._meshed(node):
                for place in places:
                    gathered.add(made, place)
        return gathered.parts

    def _meshed(self, node: Item) -> list[MeshData]:
        """The triangles of a node's mesh in its frame; those of a mesh that nothing deforms are made once."""
        number = node["mesh"]
        mesh = self._document.item("meshes", number)
        if number in self._made and "skin" not in node and "weights" not in node:
            return self._made[number]
        check_parts(len(mesh["primitives"]))
        weights: Sequence[float] = node.get("weights") or mesh.get("weights") or ()
        parts = [made for p in mesh["primitives"] if (made := self._primitive(p, weights, node)) is not None]
        if "skin" not in node and "weights" not in node:
            self._made[number] = parts
        return parts

    def _matrices(self) -> list[Floats]:
        """Every node's ``(4, 4)`` from its root."""
        parents = [-1] * len(self._nodes)
        for number, node in enumerate(self._nodes):
            for child in node.get("children", ()):
                self._document.item("nodes", child)
                if parents[child] >= 0:
                    raise ValueError("a node hangs on two others")
                parents[child] = number
        world: list[Floats] = [np.eye(4)] * len(self._nodes)
        open_nodes = [number for number, parent in enumerate(parents) if parent < 0]
        reached = 0
        while open_nodes:
            number = open_nodes.pop()
            reached += 1
            above = world[parents[number]] if parents[number] >= 0 else np.eye(4)
            world[number] = above @ _local(self._nodes[number])
            open_nodes.extend(self._nodes[number].get("children", ()))
        if reached < len(self._nodes):
            raise ValueError("its nodes hang on one another in a circle")
        return world

    def _shown(self) -> list[int]:
        """The nodes of the default scene, of the first one, or all where there is none."""
        if not self._document.items("scenes"):
            return list(range(len(self._nodes)))
        scene = self._document.item("scenes", self._document.header.get("scene", 0))
        shown: dict[int, None] = {}
        open_nodes = list(reversed(scene.get("nodes", [])))
        while open_nodes:
            number = open_nodes.pop()
            node = self._document.item("nodes", number)
            if number not in shown:
                shown[number] = None
                open_nodes.extend(reversed(node.get("children", [])))
        return list(shown)

    def _instances(self, node: Item) -> list[Floats]:
        given = node.get("extensions", {}).get(INSTANCES)
        if given is None:
            return [np.eye(4)]
        found = {name: self._document.accessor(index) for name, index in given["attributes"].items()}
        count = len(next(iter(found.values())))
        check_parts(count)
        columns = (found.get(n, np.full((count, w), f)) for n, w, f in (("TRANSLATION", 3, 0.0), ("SCALE", 3, 1.0)))
        translation, scale = columns
        rotation = found.get("ROTATION", np.tile((0.0, 0.0, 0.0, 1.0), (count, 1)))
        return [_placement(t, r, s) for t, r, s in zip(translation, rotation, scale, strict=True)]

    def _primitive(self, primitive: Item, weights: Sequence[float], node: Item) -> MeshData | None:
        """A primitive's triangles in its node's frame; None if it has none."""
        mode = primitive.get("mode", TRIANGLES)
        if mode not in range(7):
            raise ValueError(f"a part of it is of the unknown mode {str(mode)[:20]}")
        attributes = primitive["attributes"]
        if mode < TRIANGLES or "POSITION" not in attributes:
            return None
        compressed = COMPRESSED & set(primitive.get("extensions", {}))
        if compressed and "bufferView" not in self._document.item("accessors", attributes["POSITION"]):
            raise UserError(
                f"The mesh {self._document.path} is compressed ({min(compressed)}): export it without compression"
            )
        positions = self._attribute(attributes, "POSITION", 3)
        count = len(positions)
        for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
            if weight and "POSITION" in target:
                positions = positions + float(weight) * self._attribute(target, "POSITION", 3, count)
        if "skin" in node:
            positions = self._skinned(positions, attributes, self._document.item("skins", node["skin"]))
        order = np.arange(count)
        if "indices" in primitive:
            order = self._document.accessor(primitive["indices"])[:, 0]
            if order.dtype.kind != "u" or order.max() >= count:
                raise ValueError("a triangle names a vertex that it has not")
        faces = _triangles(order.astype(np.int64), mode)
        surface, texture = self._surface(primitive.get("material"))
        uv = self._coordinates(attributes, texture, faces, count)
        if "COLOR_0" in attributes:
            return self._painted(positions, faces, surface, uv, attributes)
        return part(positions, faces, surface, uv)

    def _attribute(self, attributes: Item, name: str, width: int, count: int = 0) -> NDArray[Any]:
        found = self._document.accessor(attributes[name])
        if found.shape[1] != width or (count and len(found) != count):
            raise ValueError(f"{name} has not one value of {width} numbers for each vertex")
        return found

    def _painted(self, positions: Any, faces: Indices, surface: Surface, uv: Any, attributes: Item) -> MeshData:
        """The mesh with colours by vertex, which count times the material's."""
        colours = self._document.accessor(attributes["COLOR_0"])
        if len(colours) != len(positions) or colours.shape[1] not in (3, 4):
            raise ValueError("COLOR_0 has not one colour for each vertex")
        if colours.shape[1] == 3:
            colours = np.pad(colours, ((0, 0), (0, 1)), constant_values=1.0)
        by_face = colours[faces].mean(axis=1)
        r, g, b, a = surface.colour or (1.0, 1.0, 1.0, 1.0)
        factor = np.array([*srgb.linear((r, g, b)), a])
        if a == 1.0:
            by_face[:, 3] = 1.0  # opaque, or cut out, whatever the vertices say
        return by_colour(positions, faces, by_face * factor, surface, uv, _display)

    def _coordinates(self, attributes: Item, texture: Item, faces: Indices, count: int) -> Floats | None:
        """Coordinates of the corners ``(F, 3, 2)``, v upwards, as the material's texture is laid by them."""
        given = texture.get("extensions", {}).get(TRANSFORM, {})
        name = f"TEXCOORD_{given.get('texCoord', texture.get('texCoord', 0))}"
        if name not in attributes:
            return None
        uv = self._attribute(attributes, name, 2, count) * np.array(given.get("scale", (1.0, 1.0)), dtype=np.float64)
        turn = float(given.get("rotation", 0.0))
        cosine, sine = np.cos(turn), np.sin(turn)
        uv = uv @ np.array([[cosine, sine], [-sine, cosine]]).T + np.array(given.get("offset", (0.0, 0.0)))
        corners: Floats = uv[faces] * (1.0, -1.0) + (0.0, 1.0)
        return corners

    def _skinned(self, positions: Floats, attributes: Item, skin: Item) -> Floats:
        """Vertices where the joints take them in the pose that the file stands in."""
        joints: list[int] = skin["joints"]
        for number in joints:
            self._document.item("nodes", number)
        matrices = np.stack([self._world[number] for number in joints])
        if "inverseBindMatrices" in skin:
            bind = self._document.accessor(skin["inverseBindMatrices"])
            if bind.shape[1] != 16 or len(bind) < len(joints):
                raise ValueError("a skin has not one matrix for each joint")
            matrices = matrices @ bind[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
        corners = np.pad(positions, ((0, 0), (0, 1)), constant_values=1.0)
        placed, total = np.zeros((len(positions), 4)), np.zeros((len(positions), 1))
        group = 0
        while f"JOINTS_{group}" in attributes:
            which = self._attribute(attributes, f"JOINTS_{group}", 4, len(positions)).astype(np.int64)
            weights = self._attribute(attributes, f"WEIGHTS_{group}", 4, len(positions))
            if which.max() >= len(joints) or which.min() < 0:
                raise ValueError("a vertex hangs on a joint that is none of its skin's")
            for column in range(4):
                weight = weights[:, column : column + 1]
                placed += weight * np.einsum("vij,vj->vi", matrices[which[:, column]], corners)
                total += weight
            group += 1
        result: Floats = placed[:, :3] / np.where(total > 0, total, 1.0)
        return result

    # ---------------------------------------------------------------------------------------------------- surfaces

    def _surface(self, index: Any) -> tuple[Surface, Item]:
        """A material, and how the texture of its colour is laid."""
        if index is not None:
            self._document.item("materials", index)
        if index not in self._surfaces:
            self._surfaces[index] = self._read_surface(self._document.items("materials")[index])
        return self._surfaces[index]

    def _read_surface(self, material: Item) -> tuple[Surface, Item]:
        given = material.get("pbrMetallicRoughness", {})
        colour, texture = given.get("baseColorFactor"), given.get("baseColorTexture", {})
        roughness, metallic = float(given.get("roughnessFactor", 1.0)), float(given.get("metallicFactor", 1.0))
        older = material.get("extensions", {}).get(SPECULAR)
        if older is not None:
            colour, texture = older.get("diffuseFactor"), older.get("diffuseTexture", {})
            roughness, metallic = 1.0 - float(older.get("glossinessFactor", 1.0)), 0.0
        r, g, b, a = (float(c) for c in colour or (1.0, 1.0, 1.0, 1.0))
        shown = _display((r, g, b, a if material.get("alphaMode") == "BLEND" else 1.0))
        surface = Surface(str(material.get("name", "")), shown, roughness=roughness, metallic=metallic)
        if "index" in texture:
            image, missing, why = self._image(self._document.item("textures", texture["index"]))
            surface = replace(surface, texture=image, missing=missing, why=why)
        return surface, texture

    def _image(self, texture: Item) -> tuple[str | bytes, str, str]:
        """An image's path or bytes; or its name and what is wrong with it."""
        others = texture.get("extensions", {})
        source = texture.get("source", next((others[n]["source"] for n in TEXTURES if n in others), None))
        if source is None:
            return "", "of a material", "has no image"
        image = self._document.item("images", source)
        uri = str(image.get("uri", ""))
        name = str(image.get("name") or f"image {source}")
        if uri and not uri.startswith("data:"):
            return located(uri, self._document.path)
        data = embedded(uri) if uri else self._document.view(image["bufferView"])[0]
        wrong = problem(data)
        return ("", name, wrong) if wrong else (data, "", "")


def _triangles(order: Indices, mode: int) -> Indices:
    """``(F, 3)`` of a row of vertices; one or two at the end that make no triangle count for nothing."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    return order[fan(len(order)) if mode == FAN else strip(len(order))]


def _local(node: Item) -> Floats:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    return _placement(
        node.get("translation", (0, 0, 0)), node.get("rotation", (0, 0, 0, 1)), node.get("scale", (1, 1, 1))
    )


def _placement(translation: Any, rotation: Any, scale: Any) -> Floats:
    """``(4, 4)`` from a translation, a quaternion x, y, z, w and a scale."""
    x, y, z, w = np.asarray(rotation, dtype=np.float64) / (np.linalg.norm(rotation) or 1.0)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.asarray(scale, dtype=np.float64)
    matrix[:3, 3] = translation
    return matrix


def _display(linear: Colour) -> Colour:
    """Linear light to display sRGB."""
    r, g, b = (float(c) for c in srgb.display(linear[:3]))
    return r, g, b, linear[3]
