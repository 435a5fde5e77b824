# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files in, triangles in metres with their looks out; what can't be read is refused in one sentence."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes import reader as mesh_reader
from robot_keypoints.core.meshes.mesh import MeshData, unique_rows
from robot_keypoints.core.meshes.reader import read, shape
from robot_keypoints.core.meshes.solids import solid
from robot_keypoints.core.robot.robot import Visual, as_matrix
from shapes import COLLADA, MTL, OBJ, PIXEL, collada, gltf


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


def test_a_mirrored_mesh_keeps_its_texture_in_place(tmp_path: Path) -> None:
    path = str(collada(tmp_path))

    def corners(scale: tuple[float, float, float]) -> dict[tuple[float, ...], tuple[float, ...]]:
        mesh = shape(Visual("link", "mesh", as_matrix(np.eye(4)), scale, path))
        assert mesh.uv is not None
        points = np.round(mesh.vertices[mesh.faces] * scale, 6).reshape(-1, 3)
        return {tuple(p): tuple(t) for p, t in zip(points, mesh.uv.reshape(-1, 2), strict=True) if t.any()}

    assert corners((1, -1, 1)) == corners((1, 1, 1)) != {}


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
        stream.truncate(int(1e6 * mesh_reader.LARGEST_TEXT) + 1)
    with pytest.raises(UserError, match=r"huge\.dae has 160 MB.*fewer triangles"):
        read(tmp_path / "huge.dae")
    with open(tmp_path / "huge.stl", "wb") as stream:
        stream.truncate(int(1e6 * mesh_reader.LARGEST[".stl"]) + 1)
    with pytest.raises(UserError, match=r"huge\.stl has 512 MB"):
        read(tmp_path / "huge.stl")


def test_rows_with_one_key_are_still_told_apart() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-50, 50, (5000, 3))
    first, inverse = unique_rows(rows)
    assert (rows[first][inverse] == rows).all() and (np.diff(first) > 0).all()
    assert len(first) == len(np.unique(rows, axis=0))
    clash = np.array([[0, 0, 0], [19349663 << 11, -73856093, 0], [0, 0, 0]])
    first, inverse = unique_rows(clash)
    assert first.tolist() == [0, 1] and inverse.tolist() == [0, 1, 0]
