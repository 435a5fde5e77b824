# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the visual shapes of a robot: mesh files with their materials, and simple solids.

Coordinates are taken as they stand in the file, as ROS's viewer and trimesh do: Collada's ``up_axis`` and the upward y
of OBJ and glTF turn nothing, because robots' makers place their meshes with that in mind. Collada's unit does count
(trimesh leaves it to its caller).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .errors import UserError
from .robot import Floats, Visual

Colour = tuple[float, float, float, float]
Indices = NDArray[np.int64]

LARGEST = {".stl": 512, ".glb": 512}
"""Megabytes of the largest file that is read, by ending; text takes longer and many times the memory."""
LARGEST_TEXT = 160
WELD = 1e-6
"""Vertices that agree to this many metres are one."""


@dataclass(frozen=True)
class Surface:
    """How a group of faces looks; None where the file is silent.

    Attributes:
        colour: display-sRGB RGBA.
        texture: the image of the base colour, as a file's path or as the image file's own bytes.
        missing: name of a texture that was not found.
    """

    name: str = ""
    colour: Colour | None = None
    texture: str | bytes = ""
    roughness: float | None = None
    metallic: float | None = None
    missing: str = ""


@dataclass(frozen=True)
class MeshData:
    """Triangles in metres.

    Attributes:
        vertices: ``(V, 3)``.
        faces: ``(F, 3)`` indices of vertices, counter-clockwise from outside.
        uv: ``(F, 3, 2)`` texture coordinates of the corners, v upwards, or None.
        surfaces: what ``surface_of`` ``(F,)`` refers to.
    """

    vertices: Floats
    faces: Indices
    surfaces: tuple[Surface, ...]
    surface_of: Indices
    uv: Floats | None = None

    def placed(self, placement: Floats) -> MeshData:
        """The same mesh moved and scaled by ``(4, 4)``; a mirrored one is turned inside out again."""
        if np.array_equal(placement, np.eye(4)):
            return self
        vertices = self.vertices @ placement[:3, :3].T + placement[:3, 3]
        if np.linalg.det(placement[:3, :3]) >= 0:
            return replace(self, vertices=vertices)
        uv = None if self.uv is None else self.uv[:, ::-1]
        return replace(self, vertices=vertices, faces=self.faces[:, ::-1], uv=uv)

    def welded(self) -> MeshData:
        """With every vertex once (files repeat one for each of its normals), without vertices that belong to no face,
        and without faces that vanish thereby."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.faces] = True
        vertices, faces = self.vertices[used], (np.cumsum(used) - 1)[self.faces]
        keep, inverse = _unique_rows(np.round(vertices / WELD).astype(np.int64))
        faces = inverse[faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        uv = None if self.uv is None else self.uv[whole]
        return replace(self, vertices=vertices[keep], faces=faces[whole], surface_of=self.surface_of[whole], uv=uv)


def shape(visual: Visual, files: dict[str, MeshData] | None = None) -> MeshData:
    """A visual's shape in its link's frame, welded.

    Args:
        files: meshes that were read before, by path; what is read is added.

    Raises:
        UserError: if a mesh file can't be read.
    """
    placement = np.asarray(visual.origin, dtype=np.float64)
    if visual.shape != "mesh":
        return solid(visual).placed(placement)
    files = {} if files is None else files
    if visual.path not in files:
        files[visual.path] = read(Path(visual.path))
    return files[visual.path].placed(placement @ np.diag([*visual.size, 1.0])).welded()


def solid(visual: Visual) -> MeshData:
    """A box, cylinder, capsule or sphere about the origin."""
    import trimesh  # here, because it takes a quarter of a second

    radius, length, _ = visual.size
    if visual.shape in ("box", "placeholder"):
        made = trimesh.creation.box(extents=visual.size)
    elif visual.shape == "cylinder":
        made = trimesh.creation.cylinder(radius=radius, height=length, sections=48)
    elif visual.shape == "capsule":
        made = trimesh.creation.capsule(radius=radius, height=length, count=(24, 48))
    else:
        made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    vertices = np.array(made.vertices, dtype=np.float64)
    vertices -= (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    faces = np.asarray(made.faces, dtype=np.int64)
    return MeshData(vertices, faces, (Surface(),), np.zeros(len(faces), dtype=np.int64))


def read(path: Path) -> MeshData:
    """A mesh file: Collada, STL, OBJ or glTF, or what else trimesh knows; all its parts as one.

    Raises:
        UserError: if it can't be read, is too large to, or holds no triangles.
    """
    ending = path.suffix.lower()
    readers = {".dae": _collada, ".obj": _obj, ".glb": _gltf, ".gltf": _gltf}
    try:
        megabytes = path.stat().st_size / 1e6
        if megabytes > LARGEST.get(ending, LARGEST_TEXT):
            raise UserError(
                f"The mesh {path} has {megabytes:.0f} MB, and more than {LARGEST.get(ending, LARGEST_TEXT)} MB are not "
                "read: export it with fewer triangles"
            )
        parts = readers.get(ending, _any)(path)
    except UserError:
        raise
    except Exception as problem:  # each format's parser raises its own kinds
        text = " ".join(str(problem).split())[:120] or type(problem).__name__
        raise UserError(f"The mesh {path} can't be read ({text}): check the file") from problem
    if not parts:
        raise UserError(f"The mesh {path} holds no triangles: check the file")
    mesh = _joined(parts)
    if not np.isfinite(mesh.vertices).all():
        raise UserError(f"The mesh {path} has coordinates that are not finite: export it again")
    return mesh


def _joined(parts: Sequence[MeshData]) -> MeshData:
    surfaces = list(dict.fromkeys(s for part in parts for s in part.surfaces))
    offsets = np.cumsum([0, *(len(p.vertices) for p in parts)])
    uv = None
    if any(p.uv is not None for p in parts):
        uv = np.concatenate([np.zeros((len(p.faces), 3, 2)) if p.uv is None else p.uv for p in parts])
    return MeshData(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + offset for p, offset in zip(parts, offsets, strict=False)]),
        tuple(surfaces),
        np.concatenate([np.array([surfaces.index(s) for s in p.surfaces])[p.surface_of] for p in parts]),
        uv,
    )


def _part(vertices: Any, faces: Any, surface: Surface, uv: Any = None) -> MeshData:
    faces = np.asarray(faces, dtype=np.int64)
    return MeshData(
        np.asarray(vertices, dtype=np.float64), faces, (surface,), np.zeros(len(faces), dtype=np.int64),
        None if uv is None else np.asarray(uv, dtype=np.float64),
    )  # fmt: skip


def _unique_rows(rows: Indices) -> tuple[Indices, Indices]:
    """Where each distinct row is first found, in that order, and the number of each row among them."""
    key = (rows * np.array([73856093, 19349663, 83492791]) * np.array([1, 1 << 11, 1 << 22])).sum(axis=1)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    if not (rows[first[inverse]] == rows).all():  # two rows with one key
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


# --------------------------------------------------------------------------------------------------------- textures


def _texture(name: str, beside: Path) -> tuple[str, str]:
    """Path of an image that a mesh file names, and its name if it is missing; where it is not where the file says,
    it is looked for beside the file and where Gazebo keeps textures."""
    plain = re.sub(r"^file:(//)?", "", unquote(name)).replace("\\", "/")
    folders = [beside.parent, beside.parent / "materials/textures", beside.parent.parent / "materials/textures"]
    candidates = [beside.parent / plain, *(folder / Path(plain).name for folder in folders)]
    found = next((c for c in candidates if c.is_file()), None)
    return ("", name) if found is None else (str(found), "")


# ---------------------------------------------------------------------------------------------------------- Collada


def _collada(path: Path) -> list[MeshData]:
    import collada

    document = collada.Collada(str(path), ignore=[collada.common.DaeError])
    if document.errors:
        document = collada.Collada(_without_broken_materials(document, path), ignore=[collada.common.DaeError])
    unit = 1.0 if document.assetInfo.unitmeter is None else float(document.assetInfo.unitmeter)
    if not (np.isfinite(unit) and unit > 0):
        raise ValueError(f"its unit is {unit} m")
    surfaces: dict[Any, tuple[Surface, str]] = {None: (Surface(), "")}
    parts = []
    for bound in document.scene.objects("geometry") if document.scene is not None else ():
        placement = np.array(bound.matrix, dtype=np.float64)
        placement[:3] *= unit
        for primitive in bound.original.primitives:
            triangles = primitive.triangleset() if hasattr(primitive, "triangleset") else primitive
            if not isinstance(triangles, collada.triangleset.TriangleSet) or not len(triangles):
                continue
            node = bound.materialnodebysymbol.get(primitive.material)
            material = node.target if node is not None else None
            if material not in surfaces:
                surfaces[material] = _collada_surface(material, path)
            surface, channel = surfaces[material]
            uv = _collada_uv(triangles, node, channel)
            parts.append(_part(triangles.vertex, triangles.vertex_index, surface, uv).placed(placement))
    return parts


def _without_broken_materials(document: Any, path: Path) -> BytesIO:
    """The file without references to materials that could not be read, with which whole shapes would be left out."""
    known = {f"#{material.id}" for material in document.materials}
    tree = ElementTree.parse(path)
    for technique in tree.iter():
        for element in [e for e in technique if e.tag.endswith("}instance_material") and e.get("target") not in known]:
            technique.remove(element)
    stream = BytesIO()
    tree.write(stream)
    stream.seek(0)
    return stream


def _collada_surface(material: Any, path: Path) -> tuple[Surface, str]:
    """A material, and the name of its texture coordinates."""
    effect = material.effect
    diffuse = effect.diffuse if effect.diffuse is not None else effect.emission
    if diffuse is None:
        return Surface(material.id), ""
    if hasattr(diffuse, "sampler"):
        texture, missing = _texture(diffuse.sampler.surface.image.path, path)
        return Surface(
            material.id, None if missing else (1.0, 1.0, 1.0, 1.0), texture, missing=missing
        ), diffuse.texcoord
    r, g, b = (float(c) for c in diffuse[:3])
    # What transparency means differs from one exporter to the next, so that many robots would vanish.
    return Surface(material.id, (r, g, b, 1.0)), ""


def _collada_uv(triangles: Any, node: Any, channel: str) -> Floats | None:
    if not triangles.texcoordset:
        return None
    sets = [given[3] for given in triangles.sources["TEXCOORD"]]
    inputs = node.inputs if node is not None else ()
    wanted = next((number for semantic, _, number in inputs if semantic == channel), None)
    index = sets.index(wanted) if wanted in sets else 0
    uv: Floats = np.asarray(triangles.texcoordset[index])[triangles.texcoord_indexset[index]][..., :2]
    return uv


# -------------------------------------------------------------------------------------------------- OBJ, STL, others


def _any(path: Path) -> list[MeshData]:
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
        parts.append(_part(geometry.vertices, geometry.faces, surface, uv).placed(np.asarray(matrix, dtype=np.float64)))
    return parts


def _obj(path: Path) -> list[MeshData]:
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
            texture, missing = _texture(image, path)
            found[name] = replace(found[name], texture=texture, missing=missing)
    return found


# ------------------------------------------------------------------------------------------------------------- glTF


def _gltf(path: Path) -> list[MeshData]:
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
        return _texture(uri, path)
    view = header["bufferViews"][image["bufferView"]]
    source = header["buffers"][view["buffer"]]
    if "uri" in source:
        return b"", str(image.get("name", "texture"))
    start = 8 + int(view.get("byteOffset", 0))  # after the binary chunk's own header
    return rest[start : start + int(view["byteLength"])], ""


def _encoded(linear: float) -> float:
    """Linear light to display sRGB."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
