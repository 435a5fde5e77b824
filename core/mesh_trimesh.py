# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files by trimesh; their images are only located, as Blender's Python has no library that could decode them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .mesh_data import MeshData, Surface, locate_image, part


def read(path: Path) -> list[MeshData]:
    """STL, and whatever else trimesh knows; whatever it raises comes through."""
    import trimesh

    return _parts(trimesh.load_scene(str(path), process=False), {})


def _parts(scene: Any, surfaces: Mapping[str, Surface]) -> list[MeshData]:
    """The triangles of a trimesh scene; surfaces by the names of its materials."""
    import trimesh

    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        look = geometry.visual
        surface, uv = Surface(), None
        if look.kind in ("vertex", "face"):
            r, g, b, a = (float(c) / 255.0 for c in look.main_color)
            surface = Surface(colour=(r, g, b, a))
        elif look.kind == "texture":
            surface = surfaces.get(str(look.material.name), surface)
            if look.uv is not None and len(look.uv) == len(geometry.vertices):
                uv = np.asarray(look.uv)[:, :2][geometry.faces]
        parts.append(part(geometry.vertices, geometry.faces, surface, uv).placed(np.asarray(matrix, dtype=np.float64)))
    return parts


def read_obj(path: Path) -> list[MeshData]:
    """OBJ with its materials and textures."""
    import trimesh

    materials: dict[str, Surface] = {}

    class Resolver(trimesh.resolvers.FilePathResolver):  # type: ignore[misc]
        """Hands the materials' file to trimesh without its images, which would need another library."""

        def get(self, name: str) -> bytes:
            data: bytes = super().get(name.strip())
            text = data.decode("utf-8", "replace")
            materials.update(_mtl(text, path))
            return "\n".join(x for x in text.splitlines() if not x.strip().lower().startswith("map_")).encode()

    with open(path, "rb") as stream:
        scene = trimesh.load_scene(stream, file_type="obj", resolver=Resolver(str(path)), process=False)
    return _parts(scene, materials)


def _mtl(text: str, path: Path) -> dict[str, Surface]:
    found: dict[str, Surface] = {}
    name = ""
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        key, rest = key.lower(), rest.strip()
        if key == "newmtl":
            name = " ".join(rest.split())
            found[name] = Surface(name)
        elif name and key == "kd" and len(rest.split()) >= 3:
            r, g, b = (float(word) for word in rest.split()[:3])
            found[name] = replace(found[name], colour=(r, g, b, 1.0))
        elif name and key == "map_kd":
            image = re.sub(r"^(-\w+(\s+(on|off|[-+.\d]\S*))*\s+)+", "", rest)
            texture, missing = locate_image(image, path)
            found[name] = replace(found[name], texture=texture, missing=missing)
    return found


def read_gltf(path: Path) -> list[MeshData]:
    """glTF and GLB with their materials and textures.

    Raises:
        UserError: if the file is compressed in a way that trimesh can't read.
    """
    import trimesh

    data = path.read_bytes()
    binary = data[:4] == b"glTF"
    if binary:
        length = struct.unpack_from("<I", data, 12)[0]
        header, rest = json.loads(data[20 : 20 + length]), data[20 + length :]
    else:
        header, rest = json.loads(data), b""
    packed = {"KHR_draco_mesh_compression", "EXT_meshopt_compression"} & set(header.get("extensionsRequired", ()))
    if packed:
        raise UserError(f"The mesh {path} is compressed ({sorted(packed)[0]}): export it without compression")
    surfaces = {str(i): _gltf_surface(header, m, rest, path) for i, m in enumerate(header.get("materials", ()))}
    # Materials are told apart by their numbers, and images are left out: reading them would need another library.
    plain = {k: v for k, v in header.items() if k not in ("images", "textures", "samplers")}
    plain["materials"] = [{"name": name} for name in surfaces]
    text = json.dumps(plain).encode()
    text += b" " * (-len(text) % 4)
    if binary:
        text = (
            struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
            + struct.pack("<I4s", len(text), b"JSON")
            + text
            + rest
        )
    resolver = trimesh.resolvers.FilePathResolver(str(path))
    scene = trimesh.load_scene(BytesIO(text), file_type="glb" if binary else "gltf", resolver=resolver, process=False)
    return _parts(scene, surfaces)


def _gltf_surface(header: Mapping[str, Any], material: Mapping[str, Any], rest: bytes, path: Path) -> Surface:
    given = material.get("pbrMetallicRoughness", {})
    r, g, b, a = (float(c) for c in given.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)))
    alpha = a if material.get("alphaMode") == "BLEND" else 1.0
    texture: str | bytes = ""
    missing = ""
    if "baseColorTexture" in given:
        image = header["images"][header["textures"][given["baseColorTexture"]["index"]]["source"]]
        texture, missing = _gltf_image(header, image, rest, path)
    return Surface(
        str(material.get("name", "")), (_encoded(r), _encoded(g), _encoded(b), alpha), texture,
        float(given.get("roughnessFactor", 1.0)), float(given.get("metallicFactor", 1.0)), missing,
    )  # fmt: skip


def _gltf_image(
    header: Mapping[str, Any], image: Mapping[str, Any], rest: bytes, path: Path
) -> tuple[str | bytes, str]:
    uri = image.get("uri", "")
    if uri.startswith("data:"):
        import base64

        return base64.b64decode(uri.partition(",")[2]), ""
    if uri:
        return locate_image(uri, path)
    view = header["bufferViews"][image["bufferView"]]
    source = header["buffers"][view["buffer"]]
    if "uri" in source:
        return b"", str(image.get("name", "texture"))
    start = 8 + int(view.get("byteOffset", 0))  # after the binary chunk's own header
    return rest[start : start + int(view["byteLength"])], ""


def _encoded(linear: float) -> float:
    """Linear light to display sRGB."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
