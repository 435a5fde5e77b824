# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF as its specification and common exporters have it, and what is wrong with other files."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assimp import Measured, measured
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes import gltf_document
from robot_keypoints.core.meshes.mesh import MeshData
from robot_keypoints.core.meshes.reader import read
from shapes import CUBE, CUBE_FACES, PIXEL, Gltf

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def found(mesh: MeshData) -> Measured:
    return measured(mesh.vertices[mesh.faces])


def volume(mesh: MeshData) -> float:
    """Positive where faces run counter-clockwise seen from outside."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "part.glb"


@pytest.mark.parametrize(
    "kind, most, normalized",
    [("<i2", 32767, True), ("<i1", 127, True), ("<u2", 65535, True), ("<u1", 255, True), ("<i2", 1, False)],
)
def test_quantized_positions(file: Path, kind: str, most: int, normalized: bool) -> None:
    made = Gltf()
    width = {"1": 4, "2": 8}[kind[2]]  # rows begin at multiples of four bytes
    rows = np.zeros((8, width // int(kind[2])))
    rows[:, :3] = CUBE * most
    view = made.view(rows.astype(kind).tobytes(), byteStride=width)
    made.primitive(made.accessor(rows[:, :3], kind, normalized=normalized, bufferView=view), CUBE_FACES)
    made.header |= {"extensionsRequired": ["KHR_mesh_quantization"], "nodes": [{"mesh": 0, "scale": [2, 2, 2]}]}
    mesh = read(made.write(file))
    np.testing.assert_allclose(found(mesh).high, (2, 2, 2))
    assert found(mesh).area == pytest.approx(24) and volume(mesh) == pytest.approx(8)


@pytest.mark.parametrize("based", [True, False], ids=["changes some", "on zeros"])
def test_sparse_accessors(file: Path, based: bool) -> None:
    made = Gltf()
    base = np.where(np.arange(8)[:, None] < 6, CUBE, 7.0) if based else np.zeros((8, 3))
    changed = np.arange(6, 8) if based else np.arange(1, 8)
    sparse = {
        "count": len(changed),
        "indices": {"bufferView": made.view(changed.astype("<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": made.view(CUBE[changed].astype("<f4").tobytes())},
    }
    more = {"bufferView": made.view(base.astype("<f4").tobytes())} if based else {}
    made.primitive(made.accessor(CUBE, sparse=sparse, **more), CUBE_FACES)
    mesh = read(made.write(file))
    assert found(mesh).area == pytest.approx(6) and volume(mesh) == pytest.approx(1)


def test_interleaved_attributes(file: Path) -> None:
    made = Gltf()
    rows = np.concatenate([CUBE + 5, CUBE, CUBE[:, :2]], axis=1).astype("<f4")
    view = made.view(rows.tobytes(), byteStride=32)
    at = made.accessor(CUBE, bufferView=view, byteOffset=12)
    uv = made.accessor(CUBE[:, :2], bufferView=view, byteOffset=24)
    made.primitive(at, CUBE_FACES)["attributes"]["TEXCOORD_0"] = uv
    mesh = read(made.write(file))
    assert found(mesh).area == pytest.approx(6) and found(mesh).low.tolist() == [0, 0, 0] and mesh.uv is not None
    np.testing.assert_allclose(mesh.uv, CUBE[CUBE_FACES][..., :2] * (1, -1) + (0, 1))


SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("mode, order", [(5, [1, 2, 0, 3]), (6, [0, 1, 2, 3]), (4, [0, 1, 2, 0, 2, 3])])
def test_strips_and_fans(file: Path, mode: int, order: list[int], indexed: bool) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    square = SQUARE + np.array([3, 0, 0])
    made.primitive(square if indexed else square[order], order if indexed else None, mode=mode)
    mesh = read(made.write(file))
    assert len(mesh.faces) == 14 and found(mesh).area == pytest.approx(7) and found(mesh).high.tolist() == [4, 1, 1]
    a, b, c = (mesh.vertices[mesh.faces[12:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all(), "both of its triangles are seen from above"


def test_points_and_lines_show_nothing(file: Path) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    for mode in range(4):
        made.primitive(CUBE + 9, mode=mode)
    assert found(read(made.write(file))).high.tolist() == [1, 1, 1]
    made.primitive(CUBE, mode=7)
    with pytest.raises(UserError, match="unknown mode 7"):
        read(made.write(file))


@pytest.mark.parametrize("name", ["FB_ngon_encoding", "KHR_future", "MPEG_accessor_timed"])
def test_what_requires_what_is_not_known_is_refused(file: Path, name: str) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    made.header["extensionsUsed"] = [name]
    assert len(read(made.write(file)).faces) == 12
    made.header["extensionsRequired"] = ["KHR_materials_unlit", name]
    with pytest.raises(UserError, match=f"requires glTF's extension {name}.*without that"):
        read(made.write(file))
    made.header["extensionsRequired"] = ["KHR_materials_unlit", "KHR_texture_transform"]
    assert len(read(made.write(file)).faces) == 12


@pytest.mark.parametrize("name", sorted(gltf_document.COMPRESSED))
@pytest.mark.parametrize("required", [True, False])
def test_compressed_files_are_refused(file: Path, name: str, required: bool) -> None:
    made = Gltf()
    part = made.primitive(CUBE, CUBE_FACES)
    if required:
        made.header["extensionsRequired"] = [name]
    elif "draco" in name:
        part["extensions"] = {name: {}}
        del made.header["accessors"][0]["bufferView"]
    else:
        made.header["bufferViews"][0]["extensions"] = {name: {}}
    with pytest.raises(UserError, match=f"is compressed .{name}.: export it without compression"):
        read(made.write(file))


def test_instances(file: Path) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    turns = made.accessor([[0, 0, 0, 127], [0, 0, 90, 90]], "<i1", normalized=True)  # the second by 90° about z
    given = {
        "TRANSLATION": made.accessor([[0, 0, 0], [3, 0, 0]]), "ROTATION": turns,
        "SCALE": made.accessor([[1, 1, 1], [2, 2, 2]]),
    }  # fmt: skip
    extension = {"EXT_mesh_gpu_instancing": {"attributes": given}}
    made.header |= {
        "nodes": [{"mesh": 0, "translation": [0, 0, 10], "extensions": extension}],
        "extensionsRequired": ["EXT_mesh_gpu_instancing"],
    }
    mesh = read(made.write(file))
    assert len(mesh.faces) == 24 and found(mesh).area == pytest.approx(30)
    np.testing.assert_allclose(found(mesh).low, (0, 0, 10), atol=1e-9)
    np.testing.assert_allclose(found(mesh).high, (3, 2, 12), atol=1e-9)


def textured(made: Gltf, texture: dict[str, Any], image: dict[str, Any] | None = None, **more: Any) -> None:
    """A cube with a texture."""
    part = made.primitive(CUBE, CUBE_FACES, material=0)
    part["attributes"]["TEXCOORD_0"] = made.accessor(CUBE[:, :2])
    part["attributes"]["TEXCOORD_1"] = made.accessor(CUBE[:, 1:])
    made.header |= {
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **more}}}], "textures": [texture],
        "images": [image or {"bufferView": made.view(PIXEL), "mimeType": "image/png", "name": "paint"}],
    }  # fmt: skip


WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\0\0\0\0\0\0\0\0\0\0"


def test_textures_by_extensions(file: Path) -> None:
    made = Gltf()
    textured(made, {"extensions": {"EXT_texture_webp": {"source": 0}}}, {"bufferView": 0})
    made.header["images"] = [{"bufferView": made.view(WEBP), "mimeType": "image/webp"}]
    made.header["extensionsRequired"] = ["EXT_texture_webp"]
    assert read(made.write(file)).surfaces[0].texture == WEBP, "Blender reads WebP"
    made.header["images"] = [{"bufferView": made.view(b"\xabKTX 20\xbb\r\n\x1a\n....")}]
    made.header["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    made.header["extensionsRequired"] = ["KHR_texture_basisu"]
    (surface,) = read(made.write(file)).surfaces
    assert not surface.texture and surface.missing == "image 0" and "can't be read as an image" in surface.why
    for name in ("EXT_texture_webp", "KHR_texture_basisu"):  # with another to fall back on
        made.header["textures"] = [{"source": 1, "extensions": {name: {"source": 0}}}]
        made.header["images"] = [{"uri": "gone.ktx2"}, {"bufferView": made.view(PIXEL)}]
        assert read(made.write(file)).surfaces[0].texture == PIXEL
    made.header["textures"] = [{}]
    assert read(made.write(file)).surfaces[0].missing and len(read(file).faces) == 12


def test_a_texture_too_large_is_named_and_the_shape_stays(file: Path) -> None:
    made = Gltf()
    huge = PIXEL[:16] + struct.pack(">II", 100_000, 100_000) + PIXEL[24:]
    textured(made, {"source": 0}, {"bufferView": made.view(huge), "name": "paint"})
    (surface,) = read(made.write(file)).surfaces
    assert surface.missing == "paint" and "100000×100000 pixels" in surface.why
    assert surface.colour == pytest.approx((1, 1, 1, 1))


def test_texture_coordinates_are_the_material_s(file: Path) -> None:
    made = Gltf()
    textured(made, {"source": 0}, texCoord=1)
    uv = read(made.write(file)).uv
    np.testing.assert_allclose(uv, CUBE[CUBE_FACES][..., 1:] * (1, -1) + (0, 1))
    # A quarter turn, twice as often, and moved: as three.js, Blender and the sample viewer have it.
    more = {"offset": [0.25, 0.5], "rotation": np.pi / 2, "scale": [2, 3], "texCoord": 0}
    made.header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["extensions"] = {
        "KHR_texture_transform": more
    }
    u, v = CUBE[CUBE_FACES][..., 0], CUBE[CUBE_FACES][..., 1]
    np.testing.assert_allclose(
        read(made.write(file)).uv, np.stack([3 * v + 0.25, 1 - (-2 * u + 0.5)], axis=-1), atol=1e-9
    )


@pytest.mark.parametrize("uri", ["my%20data.bin", "my data.bin", "sub/../my%20data.bin", "./my%20data.bin"])
def test_buffers_in_files_beside_it(tmp_path: Path, uri: str) -> None:
    (tmp_path / "my data.bin").write_bytes(apart(tmp_path / "part.gltf", uri))
    assert found(read(tmp_path / "part.gltf")).area == pytest.approx(6)


def apart(path: Path, uri: str) -> bytes:
    """Writes a file whose buffer lies elsewhere, and returns the buffer."""
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    made.header["buffers"] = [{"byteLength": len(made.body), "uri": uri}]
    path.write_text(json.dumps(made.header))
    return made.body


@pytest.mark.parametrize("kind", ["application/octet-stream;base64", "application/gltf-buffer;charset=x;base64"])
def test_buffers_in_data_uris(tmp_path: Path, kind: str) -> None:
    body = apart(tmp_path / "part.gltf", "URI")
    uri = f"data:{kind},{base64.b64encode(body).decode()}"
    for given in (uri, uri.replace("+", "%2B").replace("=", "%3D")):
        (tmp_path / "part.gltf").write_text((tmp_path / "part.gltf").read_text().replace('"URI"', json.dumps(given)))
        assert found(read(tmp_path / "part.gltf")).area == pytest.approx(6)
        apart(tmp_path / "part.gltf", "URI")


def test_names_that_lead_out_of_the_package_are_not_followed(tmp_path: Path) -> None:
    package = tmp_path / "arm"
    (package / "meshes").mkdir(parents=True)
    (package / "package.xml").write_text("<package/>")
    path = package / "meshes" / "part.gltf"
    body = apart(path, "x")
    (tmp_path / "outside.bin").write_bytes(body)
    (package / "inside.bin").write_bytes(body)
    apart(path, "../inside.bin")
    assert len(read(path).faces) == 12
    outside = tmp_path / "outside.bin"
    named = ["../../outside.bin", str(outside), outside.as_uri(), "http://example.org/x.bin", "%2e%2e/../outside.bin"]
    for uri in (*named, "/dev/zero", "gone.bin", "", "\0"):
        apart(path, uri)
        with pytest.raises(UserError, match=r"which is not in its package: put it there|needs the file"):
            read(path)


def nodes(made: Gltf, *given: dict[str, Any]) -> None:
    made.header |= {"nodes": list(given)}


def test_matrices_and_turns_say_the_same(file: Path) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    half = np.sqrt(0.5)
    nodes(
        made,
        {"children": [1], "translation": [1, 2, 3]},
        {"mesh": 0, "rotation": [0, 0, half, half], "scale": [1, 2, 3]},
    )
    apart_parts = found(read(made.write(file)))
    matrix = np.array([[0, -2, 0, 1], [1, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]], float)
    nodes(made, {"mesh": 0, "matrix": matrix.T.ravel().tolist()})
    whole = read(made.write(file))
    np.testing.assert_allclose([apart_parts.low, apart_parts.high], [[-1, 2, 3], [1, 3, 6]], atol=1e-9)
    np.testing.assert_allclose([found(whole).low, found(whole).high], [[-1, 2, 3], [1, 3, 6]], atol=1e-9)
    assert volume(whole) == pytest.approx(6)


@pytest.mark.parametrize("scale", [[-1, 1, 1], [-2, -1, -1], [-1, -1, 1]])
def test_mirrored_nodes_are_not_inside_out(file: Path, scale: list[float]) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    nodes(made, {"mesh": 0, "scale": scale})
    assert volume(read(made.write(file))) == pytest.approx(abs(np.prod(scale)))


def test_only_the_default_scene_shows(file: Path) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    nodes(made, {"mesh": 0}, {"mesh": 0, "translation": [5, 0, 0]}, {"camera": 0, "mesh": 0, "translation": [9, 0, 0]})
    made.header |= {"scenes": [{"nodes": [0]}, {"nodes": [1]}], "cameras": [{}]}
    assert found(read(made.write(file))).high[0] == 1, "the first, where none is named"
    made.header["scene"] = 1
    assert found(read(made.write(file))).high[0] == 6
    del made.header["scenes"], made.header["scene"]
    assert len(read(made.write(file)).faces) == 36


def test_skins_place_vertices_by_their_joints(file: Path) -> None:
    made = Gltf()
    part = made.primitive(CUBE, CUBE_FACES)
    part["attributes"]["JOINTS_0"] = made.accessor(np.tile([1, 0, 0, 0], (8, 1)), "<u1")
    part["attributes"]["WEIGHTS_0"] = made.accessor(np.tile([0.5, 0.5, 0, 0], (8, 1)))
    bind = np.stack([np.eye(4), np.eye(4)])
    bind[:, 0, 3] = (0, -10)
    inverse = made.accessor(bind.transpose(0, 2, 1).reshape(2, 16))
    made.header["skins"] = [{"joints": [1, 2], "inverseBindMatrices": inverse}]
    nodes(
        made, {"mesh": 0, "skin": 0, "translation": [100, 0, 0]}, {"translation": [0, 0, 4], "children": [2]},
        {"translation": [16, 0, 0]},
    )  # fmt: skip
    mesh = read(made.write(file))
    # Half of (0, 0, 4) and half of (16 - 10, 0, 4); where the mesh's own node stands doesn't count.
    np.testing.assert_allclose([found(mesh).low, found(mesh).high], [[3, 0, 4], [4, 1, 5]], atol=1e-6)
    made.header["skins"] = [{"joints": [1]}]
    with pytest.raises(UserError, match="joint that is none of its skin"):
        read(made.write(file))


def test_morph_targets_count_with_the_weights_that_the_file_has(file: Path) -> None:
    made = Gltf()
    part = made.primitive(CUBE, CUBE_FACES)
    part["targets"] = [{"POSITION": made.accessor(CUBE)}, {"POSITION": made.accessor(CUBE * (0, 0, 8))}]
    made.header["meshes"][0]["weights"] = [0.5, 0]
    assert found(read(made.write(file))).high.tolist() == [1.5, 1.5, 1.5]
    made.header["nodes"][0]["weights"] = [0, 0.25]
    assert found(read(made.write(file))).high.tolist() == [1, 1, 3]
    del made.header["nodes"][0]["weights"], made.header["meshes"][0]["weights"]
    assert found(read(made.write(file))).high.tolist() == [1, 1, 1]


def test_colours_of_vertices_count_times_the_material(file: Path) -> None:
    made = Gltf()
    part = made.primitive(np.concatenate([TRIANGLE, TRIANGLE + 5]), range(6), material=0)
    shades = np.repeat([[65535, 0, 0], [0, 65535, 32768]], 3, axis=0)
    part["attributes"]["COLOR_0"] = made.accessor(shades, "<u2", normalized=True)
    made.header["materials"] = [{"name": "m", "pbrMetallicRoughness": {"baseColorFactor": [0.5, 1, 1, 1]}}]
    mesh = read(made.write(file))
    colours = [mesh.surfaces[i].colour for i in mesh.surface_of]
    np.testing.assert_allclose(colours, [[0.7354, 0, 0, 1], [0, 1, 0.7354, 1]], atol=1e-3)
    del part["material"]
    (red, _) = read(made.write(file)).surfaces[::-1]
    assert red.colour == pytest.approx((1, 0, 0, 1))


def test_the_older_material_with_gloss(file: Path) -> None:
    made = Gltf()
    textured(made, {"source": 0})
    given = {"diffuseFactor": [1, 0, 0, 1], "diffuseTexture": {"index": 0}, "glossinessFactor": 0.75}
    made.header["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": given}}]
    (surface,) = read(made.write(file)).surfaces
    assert surface.colour == pytest.approx((1, 0, 0, 1)) and surface.texture == PIXEL and surface.roughness == 0.25


def changed(*path: Any, **values: Any) -> Any:
    """What sets or, with None, takes away entries of a header's item."""

    def change(header: Any) -> None:
        for step in path:
            header = header[step]
        for name, value in values.items():
            header.pop(name, None)
            if value is not None:
                header[name] = value

    return change


POSITION, INDEX = ("accessors", 0), ("accessors", 1)


@pytest.mark.parametrize(
    "change, words",
    [
        (changed(*POSITION, count=4_000_000_000), "4000000000 elements"),
        (changed(*POSITION, count=4_000_000_000, bufferView=None), "4000000000 elements"),
        (changed(*POSITION, count=9), "beyond its buffer"),
        (changed(*POSITION, count=-1), "count is -1"),
        (changed(*POSITION, count=7), "vertex that it has not"),
        (changed(*POSITION, bufferView=-1), "bufferViews that it has not"),
        (changed(*POSITION, bufferView=99), "bufferViews that it has not"),
        (changed(*POSITION, type="VEC2"), "POSITION"),
        (changed(*POSITION, type="MAT3"), "MAT3"),
        (changed(*POSITION, componentType=5130), "5130"),
        (changed(*INDEX, componentType=5126, count=18), "vertex that it has not"),
        (changed("bufferViews", 0, byteLength=10_000), "beyond its buffer"),
        (changed("bufferViews", 0, byteStride=1_000_000_000_000), "beyond its buffer"),
        (changed("buffers", 0, byteLength=10_000), "shorter than it says"),
        (changed("nodes", 0, mesh=-1), "meshes that it has not"),
        (changed("nodes", 0, mesh=True, children=[0]), "circle|hangs on"),
        (changed("nodes", 0, scale=[float("nan")] * 3), "not finite"),
        (changed("nodes", 0, scale=[1, 2]), "can't be read"),
        (changed("scenes", 0, nodes=[7]), "nodes that it has not"),
        (changed(nodes=7), "no list"),
        (changed(meshes=[3]), "no list"),
        (changed(asset={"version": "1.0"}), "glTF 1.0"),
        (changed("meshes", 0, primitives=None), "can't be read"),
        (changed("meshes", 0, "primitives", 0, attributes=[1]), "no triangles|can't be read"),
    ],
)
def test_what_is_wrong_is_said(file: Path, change: Any, words: str) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    write = made.write(file)
    text = json.loads(write.read_bytes()[20 : 20 + struct.unpack_from("<I", write.read_bytes(), 12)[0]])
    change(text)
    made.header = text
    made.write = lambda path: rewritten(text, made.body, path)  # type: ignore[method-assign]
    with pytest.raises(UserError, match=words):
        read(made.write(file))


def rewritten(header: dict[str, Any], body: bytes, path: Path) -> Path:
    """A GLB as it is, whatever its header says."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def test_a_small_file_can_not_become_endlessly_many_triangles(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Gltf()
    made.primitive(CUBE, CUBE_FACES)
    nodes(made, *[{"mesh": 0}] * 200)
    made.header["scenes"] = [{"nodes": list(range(200))}]
    assert len(read(made.write(file)).faces) == 2400
    monkeypatch.setattr("robot_keypoints.core.meshes.mesh.MOST_PARTS", 199)
    with pytest.raises(UserError, match="more than 199 parts"):
        read(file)
    monkeypatch.setattr("robot_keypoints.core.meshes.mesh.MOST_PARTS", 200)
    monkeypatch.setattr("robot_keypoints.core.meshes.mesh.MOST_TRIANGLES", 2000)
    with pytest.raises(UserError, match="triangles"):
        read(file)


def test_many_accessors_of_zeros_take_no_endless_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Gltf()
    part = made.primitive(CUBE, CUBE_FACES)
    zeros = {"componentType": 5126, "count": 8, "type": "VEC3"}
    made.header["accessors"] += [zeros] * 100
    part["targets"] = [{"POSITION": 2 + i} for i in range(100)]
    made.header["meshes"][0]["weights"] = [1] * 100
    assert len(read(made.write(file)).faces) == 12
    monkeypatch.setattr(gltf_document, "MOST_NUMBERS", 2000)
    with pytest.raises(UserError, match="its accessors have more than"):
        read(file)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"glTF" + struct.pack("<II", 1, 20) + b"\0" * 8, "GLB 1"),
        (b"glTF" + struct.pack("<III4s", 2, 20, 5000, b"JSON"), "cut or damaged"),
        (b"glTF" + struct.pack("<II", 2, 5000), "cut or damaged"),
        (b"glTF" + struct.pack("<II", 2, 12), "can't be read"),
        (b"[" * 100_000, "can't be read"),
        (b"[" + b"[]," * 3_000_000 + b"1]", "too long"),
        (b"{}", "no triangles"),
        (b"[]", "describes nothing"),
    ],
)
def test_broken_containers_are_refused(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(UserError, match=words):
        read(file)
