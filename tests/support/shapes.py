# SPDX-License-Identifier: GPL-3.0-or-later
"""Small mesh files of every kind, made for tests."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
"""A PNG of one red pixel."""

COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit name="inch" meter="{unit}"/><up_axis>{up}</up_axis></asset>
<library_images><image id="img"><init_from>{image}</init_from></image></library_images>
<library_effects>
<effect id="red-fx"><profile_COMMON><technique sid="t"><lambert><diffuse><color>0.8 0.1 0.1 1</color></diffuse>
</lambert></technique></profile_COMMON></effect>
<effect id="tex-fx"><profile_COMMON>
<newparam sid="s"><surface type="2D"><init_from>img</init_from></surface></newparam>
<newparam sid="m"><sampler2D><source>{source}</source></sampler2D></newparam>
<technique sid="t"><phong><diffuse><texture texture="m" texcoord="UVMap"/></diffuse></phong></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="red"><instance_effect url="#red-fx"/></material>
<material id="tex"><instance_effect url="#tex-fx"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="12">0 0 0 1 0 0 0 1 0 0 0 1</float_array><technique_common>
<accessor source="#pa" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<source id="u"><float_array id="ua" count="6">0 0 1 0 0.25 1</float_array><technique_common>
<accessor source="#ua" count="3" stride="2"><param name="S" type="float"/><param name="T" type="float"/></accessor>
</technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles material="R" count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 2 1</p></triangles>
<polylist material="T" count="1"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#u" offset="1" set="0"/><vcount>3</vcount><p>0 0 1 1 3 2</p></polylist>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="scene"><node id="n"><translate>0 0 10</translate><node id="inner">
<scale>2 2 2</scale><instance_geometry url="#g"><bind_material><technique_common>
<instance_material symbol="R" target="#red"/><instance_material symbol="T" target="#tex">
<bind_vertex_input semantic="UVMap" input_semantic="TEXCOORD" input_set="0"/></instance_material>
</technique_common></bind_material></instance_geometry></node></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#scene"/></scene></COLLADA>"""


def collada(folder: Path, unit: str = "0.0254", up: str = "Z_UP", image: str = "skin.png", source: str = "s") -> Path:
    path = folder / "part.dae"
    path.write_text(COLLADA.format(unit=unit, up=up, image=image, source=source), encoding="utf-8")
    return path


OBJ = """mtllib look.mtl
v 0 0 0
v 1 0 0
v 0 1 0
v 0 0 1
v 9 9 9
vt 0 0
vt 1 0
vt 0 0.5
usemtl green paint
f 1 2 3
usemtl skin
f 1/1 2/2 4/3
"""
MTL = """newmtl green paint
Kd 0.1 0.7 0.2
newmtl skin
Kd 1 1 1
map_Kd -s 1 1 1 -clamp on {image}
"""


def gltf(folder: Path, binary: bool) -> Path:
    """Two triangles with materials that have no names, the second with a texture inside the file."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]], dtype="<f4")
    uv = np.array([[0, 0], [1, 0], [0, 1], [0, 0.25]], dtype="<f4")
    faces = np.array([0, 1, 2, 0, 2, 3], dtype="<u2")
    body = points.tobytes() + uv.tobytes() + faces.tobytes() + PIXEL
    views = [(0, 48), (48, 32), (80, 12), (92, len(PIXEL))]
    access = {"POSITION": 0, "TEXCOORD_0": 1}
    header = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": [0, 0, 5]}],
        "meshes": [{"primitives": [
            {"attributes": access, "indices": 2, "material": 0}, {"attributes": access, "indices": 3, "material": 1},
        ]}],
        "materials": [
            {
                "pbrMetallicRoughness": {"baseColorFactor": [0.5, 0, 0, 0.5], "roughnessFactor": 0.25},
                "alphaMode": "BLEND",
            },
            {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0}},
        ],
        "textures": [{"source": 0}], "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 2]},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 3, "type": "SCALAR"},
            {"bufferView": 2, "byteOffset": 6, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteOffset": o, "byteLength": n} for o, n in views],
        "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    if not binary:
        (folder / "part.bin").write_bytes(body)
        (folder / "skin.png").write_bytes(PIXEL)
        header["buffers"] = [{"byteLength": len(body), "uri": "part.bin"}]
        header["images"] = [{"uri": "skin.png"}]
        (folder / "part.gltf").write_text(json.dumps(header))
        return folder / "part.gltf"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    (folder / "part.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return folder / "part.glb"


CUBE = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float64)
"""Corners of a cube from 0 to 1."""
CUBE_FACES = np.array(
    [[0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4], [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2],
     [1, 3, 7], [1, 7, 5]]
)  # fmt: skip
"""Its triangles, counter-clockwise from outside."""


class Gltf:
    """Makes a GLB; what ``header`` lacks is added by hand."""

    def __init__(self) -> None:
        self.body = b""
        self.header: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": []}], "accessors": [], "bufferViews": [], "buffers": [{"byteLength": 0}],
        }  # fmt: skip

    def view(self, data: bytes, **more: Any) -> int:
        """Number of a new buffer view."""
        self.body += b"\0" * (-len(self.body) % 4)
        self.header["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.body), "byteLength": len(data), **more}
        )  # fmt: skip
        self.body += data
        return len(self.header["bufferViews"]) - 1

    def accessor(self, values: Any, kind: str = "<f4", **more: Any) -> int:
        """Number of a new accessor of ``(count, width)`` or ``(count,)`` values."""
        values = np.asarray(values).astype(kind)
        width = values.shape[1] if values.ndim > 1 else 1
        component = {"<i1": 5120, "<u1": 5121, "<i2": 5122, "<u2": 5123, "<u4": 5125, "<f4": 5126}[kind]
        kinds = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
        given = {} if "bufferView" in more or "sparse" in more else {"bufferView": self.view(values.tobytes())}
        self.header["accessors"].append(
            {"componentType": component, "count": len(values), "type": kinds[width], **given, **more}
        )  # fmt: skip
        return len(self.header["accessors"]) - 1

    def primitive(self, positions: Any, faces: Any = None, mesh: int = 0, **more: Any) -> dict[str, Any]:
        """A new part of a mesh; positions are numbers or an accessor's number."""
        at = positions if isinstance(positions, int) else self.accessor(positions)
        made: dict[str, Any] = {"attributes": {"POSITION": at}, **more}
        if faces is not None:
            made["indices"] = self.accessor(np.asarray(faces).reshape(-1), "<u2")
        self.header["meshes"][mesh]["primitives"].append(made)
        return made

    def write(self, path: Path) -> Path:
        """Save it."""
        self.header["buffers"][0]["byteLength"] = len(self.body)
        text = json.dumps(self.header).encode()
        text += b" " * (-len(text) % 4)
        body = self.body + b"\0" * (-len(self.body) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def source(name: str, values: Any, width: int = 3) -> str:
    """A source of a Collada file."""
    flat = " ".join(f"{v:g}" for v in np.asarray(values, dtype=np.float64).ravel())
    count = np.asarray(values).size
    letters = "".join(f'<param name="{letter}" type="float"/>' for letter in "XYZW"[:width])
    params = letters if width <= 4 else '<param name="M" type="float4x4"/>'
    return (
        f'<source id="{name}"><float_array id="{name}-a" count="{count}">{flat}</float_array><technique_common>'
        f'<accessor source="#{name}-a" count="{count // width}" stride="{width}">{params}</accessor>'
        "</technique_common></source>"
    )


def geometry(name: str, positions: Any, primitives: str, more: str = "") -> str:
    """A geometry of a Collada file; primitives refer to ``#NAME-v``."""
    return (
        f'<geometry id="{name}"><mesh>{source(f"{name}-p", positions)}{more}<vertices id="{name}-v">'
        f'<input semantic="POSITION" source="#{name}-p"/></vertices>{primitives}</mesh></geometry>'
    )


def corners(name: str, kind: str, content: str) -> str:
    """A primitive of a geometry with nothing but positions."""
    return f'<{kind} count="1"><input semantic="VERTEX" source="#{name}-v" offset="0"/>{content}</{kind}>'


def cube(name: str = "cube") -> str:
    """A geometry of one cube."""
    return geometry(name, CUBE, corners(name, "triangles", f"<p>{' '.join(map(str, CUBE_FACES.ravel()))}</p>"))


def scene(folder: Path, geometries: str, nodes: str, more: str = "", asset: str = "") -> Path:
    """A Collada file."""
    path = folder / "scene.dae"
    path.write_text(
        '<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        f"<asset>{asset}</asset><library_geometries>{geometries}</library_geometries>{more}"
        f'<library_visual_scenes><visual_scene id="other"><node/></visual_scene><visual_scene id="s">{nodes}'
        '</visual_scene></library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>',
        encoding="utf-8",
    )
    return path
