# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files in, triangles in metres with their looks out; what can't be read is refused in one sentence."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from robot_keypoints.core import mesh_files
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.mesh_files import MeshData, read, shape, solid
from robot_keypoints.core.robot import Visual, as_matrix

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


def by_surface(mesh: MeshData) -> dict[str, np.ndarray]:
    """The corners ``(F, 3, 3)`` of the faces of every surface."""
    return {
        s.name: mesh.vertices[mesh.faces[mesh.surface_of == number]] for number, s in enumerate(mesh.surfaces)
    }  # fmt: skip


@pytest.mark.parametrize("up", ["Z_UP", "Y_UP", "X_UP"])
def test_collada_has_units_and_nested_placements_but_no_axis_is_turned(tmp_path: Path, up: str) -> None:
    (tmp_path / "skin.png").write_bytes(PIXEL)
    mesh = read(collada(tmp_path, up=up))
    corners = 0.0254 * (2 * np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]]) + [0, 0, 10])
    np.testing.assert_allclose(by_surface(mesh)["red"][0], corners, atol=1e-9)
    truth = trimesh.load_scene(str(tmp_path / "part.dae")).to_mesh()
    np.testing.assert_allclose(mesh.vertices.max(axis=0), 0.0254 * truth.vertices.max(axis=0), atol=1e-9)


def test_collada_colours_and_textures_by_face(tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(PIXEL)
    mesh = read(collada(tmp_path))
    looks = {s.name: s for s in mesh.surfaces}
    assert looks["red"].colour == pytest.approx((0.8, 0.1, 0.1, 1.0)) and not looks["red"].texture
    assert looks["tex"].texture == str(tmp_path / "skin.png")
    assert mesh.uv is not None
    face = int(np.flatnonzero(mesh.surface_of == mesh.surfaces.index(looks["tex"]))[0])
    np.testing.assert_allclose(mesh.uv[face], [[0, 0], [1, 0], [0.25, 1]])
    (tmp_path / "skin.png").unlink()
    assert {s.missing for s in read(collada(tmp_path)).surfaces} == {"", "skin.png"}


def test_textures_are_found_by_uri_and_where_gazebo_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "materials" / "textures").mkdir(parents=True)
    image = tmp_path / "materials" / "textures" / "my skin.png"
    image.write_bytes(PIXEL)
    for name in ("my%20skin.png", "file:///builder/my skin.png", r"C:\builder\my skin.png", image.as_uri()):
        texture = {
            Path(str(s.texture)).resolve() for s in read(collada(tmp_path / "meshes", image=name)).surfaces if s.texture
        }
        assert texture == {image}, name


def test_a_broken_material_does_not_hide_the_shape(tmp_path: Path) -> None:
    mesh = read(collada(tmp_path, source="nowhere"))
    assert len(mesh.faces) == 2 and "red" in by_surface(mesh)


def test_stl_in_both_kinds(tmp_path: Path) -> None:
    box = trimesh.creation.box(extents=(1, 2, 3))
    for kind in ("stl", "stl_ascii"):
        path = tmp_path / f"{kind}.STL"
        data = box.export(file_type=kind)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        mesh = read(path).welded()
        assert len(mesh.vertices) == 8 and len(mesh.faces) == 12 and mesh.surfaces[0].colour is None
        np.testing.assert_allclose(mesh.vertices.max(axis=0), (0.5, 1, 1.5))


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


def test_obj_with_materials_and_textures(tmp_path: Path) -> None:
    (tmp_path / "a skin.png").write_bytes(PIXEL)
    (tmp_path / "look.mtl").write_text(MTL.format(image="a skin.png"))
    (tmp_path / "part.obj").write_text(OBJ)
    mesh = read(tmp_path / "part.obj").welded()
    looks = {s.name: s for s in mesh.surfaces}
    assert looks["green paint"].colour == (0.1, 0.7, 0.2, 1.0)
    assert looks["skin"].texture == str(tmp_path / "a skin.png")
    assert len(mesh.vertices) == 4, "a vertex of no face is left out"
    face = int(np.flatnonzero(mesh.surface_of == mesh.surfaces.index(looks["skin"]))[0])
    assert mesh.uv is not None
    np.testing.assert_allclose(mesh.uv[face], [[0, 0], [1, 0], [0, 0.5]])
    (tmp_path / "look.mtl").write_text(MTL.format(image="lost.png"))
    assert {s.missing for s in read(tmp_path / "part.obj").surfaces} == {"", "lost.png"}
    (tmp_path / "look.mtl").unlink()
    assert all(s.colour is None for s in read(tmp_path / "part.obj").surfaces)


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


@pytest.mark.parametrize("binary", [True, False], ids=["glb", "gltf"])
def test_gltf_with_materials_and_textures(tmp_path: Path, binary: bool) -> None:
    mesh = read(gltf(tmp_path, binary))
    plain, textured = sorted(mesh.surfaces, key=lambda s: bool(s.texture))
    assert plain.colour is not None and plain.colour[0] == pytest.approx(0.7354, abs=1e-4), "linear light became sRGB"
    assert plain.colour[3] == 0.5 and plain.roughness == 0.25 and plain.metallic == 1.0
    assert textured.texture == (PIXEL if binary else str(tmp_path / "skin.png")) and textured.metallic == 0.0
    corners = mesh.vertices[mesh.faces[mesh.surface_of == mesh.surfaces.index(textured)]][0]
    np.testing.assert_allclose(corners, [[0, 0, 5], [0, 1, 5], [0, 0, 7]])
    assert mesh.uv is not None
    uv = mesh.uv[mesh.surface_of == mesh.surfaces.index(textured)][0]
    np.testing.assert_allclose(uv, [[0, 1], [0, 0], [0, 0.75]], atol=1e-6, err_msg="v runs upwards here, not in glTF")


def test_nothing_needs_an_image_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender's Python has none."""
    for name in [m for m in sys.modules if m == "PIL" or m.startswith("PIL.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "skin.png").write_bytes(PIXEL)
    (tmp_path / "look.mtl").write_text(MTL.format(image="skin.png"))
    (tmp_path / "part.obj").write_text(OBJ)
    for path in (collada(tmp_path), tmp_path / "part.obj", gltf(tmp_path, True)):
        assert [s for s in read(path).surfaces if s.texture], path


def volume(mesh: MeshData) -> float:
    """Positive where faces run counter-clockwise seen from outside."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("scale", [(1, 1, 1), (-1, 1, 1), (2, -0.5, 3), (-1, -1, -1), (0.001, 0.001, -0.001)])
def test_a_mirrored_mesh_is_not_inside_out(tmp_path: Path, scale: tuple[float, float, float]) -> None:
    part = trimesh.creation.box(extents=(1, 2, 3))
    part.apply_translation((5, 0, 0))
    part.export(tmp_path / "box.stl")
    origin = np.eye(4)
    origin[:3, :3], origin[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], (1, 2, 3)
    mesh = shape(Visual("link", "mesh", as_matrix(origin), scale, str(tmp_path / "box.stl")))
    assert volume(mesh) == pytest.approx(6 * abs(np.prod(scale)))
    expected = np.asarray(part.vertices) * scale @ origin[:3, :3].T + origin[:3, 3]
    np.testing.assert_allclose(np.sort(mesh.vertices.sum(axis=1)), np.sort(expected.sum(axis=1)), atol=1e-6)


def test_solids_have_their_size_about_the_origin() -> None:
    def extent(kind: str, *size: float) -> tuple[MeshData, np.ndarray]:
        mesh = solid(Visual("link", kind, as_matrix(np.eye(4)), size))  # type: ignore[arg-type]
        np.testing.assert_allclose(mesh.vertices.max(axis=0), -mesh.vertices.min(axis=0), atol=1e-9)
        return mesh, 2 * mesh.vertices.max(axis=0)

    box, size = extent("box", 1.0, 2.0, 3.0)
    np.testing.assert_allclose(size, (1, 2, 3))
    cylinder, size = extent("cylinder", 0.5, 3.0, 0.0)
    np.testing.assert_allclose(size, (1, 1, 3), atol=0.01)
    capsule, size = extent("capsule", 0.5, 3.0, 0.0)
    np.testing.assert_allclose(size, (1, 1, 4), atol=0.01, err_msg="the length is that of the straight part")
    ball, size = extent("sphere", 0.5, 0.0, 0.0)
    np.testing.assert_allclose(size, (1, 1, 1), atol=0.01)
    round_volume = np.pi * 0.25
    volumes = (6, 3 * round_volume, (3 + 2 / 3) * round_volume, 2 / 3 * round_volume)
    for mesh, expected in zip((box, cylinder, capsule, ball), volumes, strict=True):
        assert volume(mesh) == pytest.approx(expected, rel=0.02)


def test_a_file_is_read_once_for_many_visuals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trimesh.creation.box().export(tmp_path / "box.stl")
    files: dict[str, MeshData] = {}
    visual = Visual("link", "mesh", as_matrix(np.eye(4)), (1, 1, 1), str(tmp_path / "box.stl"))
    shape(visual, files)
    (tmp_path / "box.stl").unlink()
    assert len(shape(visual, files).faces) == 12


BOMB = '<!DOCTYPE x [<!ENTITY a "boom">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("empty.stl", b"", "can't be read|no triangles"),
        ("empty.stl", b"solid nothing\nendsolid nothing\n", "can't be read|no triangles"),
        ("cut.stl", b"x" * 80 + struct.pack("<I", 5) + b"y" * 60, "can't be read|no triangles"),
        ("empty.obj", b"# nothing\n", "no triangles|can't be read"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no triangles|can't be read"),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite|can't be read"),
        ("broken.dae", b"<COLLADA", "can't be read"),
        ("bomb.dae", f"{BOMB}]><COLLADA>&j;</COLLADA>".encode(), "can't be read"),
        ("unit.dae", COLLADA.format(unit="0", up="Z_UP", image="i", source="s").encode(), "unit|no triangles"),
        ("broken.glb", b"glTF\x02\0\0\0\x10\0\0\0", "can't be read"),
        ("broken.gltf", b"{", "can't be read"),
        ("packed.gltf", b'{"extensionsRequired": ["KHR_draco_mesh_compression"]}', "without compression"),
        ("what.mesh", b"<mesh/>", "can't be read"),
    ],
)
def test_what_can_not_be_read_is_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as refusal:
        read(tmp_path / name)
    assert name in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "huge.dae", "wb") as stream:
        stream.truncate(int(1e6 * mesh_files.LARGEST_TEXT) + 1)
    with pytest.raises(UserError, match=r"huge\.dae has 160 MB.*fewer triangles"):
        read(tmp_path / "huge.dae")
    with open(tmp_path / "huge.stl", "wb") as stream:
        stream.truncate(int(1e6 * mesh_files.LARGEST[".stl"]) + 1)
    with pytest.raises(UserError, match=r"huge\.stl has 512 MB"):
        read(tmp_path / "huge.stl")


def test_rows_with_one_key_are_still_told_apart() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-50, 50, (5000, 3))
    first, inverse = mesh_files._unique_rows(rows)
    assert (rows[first][inverse] == rows).all() and (np.diff(first) > 0).all()
    assert len(first) == len(np.unique(rows, axis=0))
    clash = np.array([[0, 0, 0], [19349663 << 11, -73856093, 0], [0, 0, 0]])
    first, inverse = mesh_files._unique_rows(clash)
    assert first.tolist() == [0, 1] and inverse.tolist() == [0, 1, 0]
