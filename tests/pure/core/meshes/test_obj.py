# SPDX-License-Identifier: GPL-3.0-or-later
"""OBJ files as exporters write them and the format allows them, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from assimp import measured
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes import text_tables
from robot_keypoints.core.meshes.mesh import MeshData
from robot_keypoints.core.meshes.reader import read
from shapes import CUBE, CUBE_FACES, PIXEL


def obj(folder: Path, text: str | bytes) -> MeshData:
    path = folder / "part.obj"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def area(mesh: MeshData) -> float:
    return measured(mesh.vertices[mesh.faces]).area


def lines(word: str, rows: np.ndarray, separator: str = " ") -> str:
    return "".join(f"{word}{separator}{separator.join(map(str, row))}\n" for row in rows.tolist())


def test_negative_indices_count_back_from_where_they_stand(tmp_path: Path) -> None:
    back = lines("f", CUBE_FACES - 8)
    mesh = obj(tmp_path, lines("v", CUBE) + back + lines("v", CUBE + np.array([5, 0, 0])) + back).welded()
    assert len(mesh.faces) == 24 and len(mesh.vertices) == 16 and area(mesh) == pytest.approx(12)
    assert mesh.vertices.min(axis=0).tolist() == [0, 0, 0] and mesh.vertices.max(axis=0).tolist() == [6, 1, 1]
    texts = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf -3/-3 -2/-2 -1/-1\nvt 0.5 0.5\nf 1/-1 2/-2 3/3\n"
    uv = obj(tmp_path, texts).uv
    assert uv is not None and uv.tolist() == [[[0, 0], [1, 0], [0, 1]], [[0.5, 0.5], [0, 1], [0, 1]]]


def test_a_concave_face_covers_its_own_area(tmp_path: Path) -> None:
    mesh = obj(tmp_path, "v 2 0 0\nv 2 1 0\nv 1 1 0\nv 1 2 0\nv 0 2 0\nv 0 0 0\nf 1 2 3 4 5 6\n")
    assert len(mesh.faces) == 4 and area(mesh) == pytest.approx(3)
    arrow = obj(tmp_path, "v 0 0 0\nv 2 1 0\nv 0 2 0\nv 1 1 0\nf 1 2 3 4\nf 4 1 2 3\nf 3 4 1 2\nf 2 3 4 1\n")
    assert area(arrow) == pytest.approx(4)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b" ", b"\t"),
        lambda text: text.replace(b" ", b" \t  "),
        lambda text: b"  " + text.replace(b"\n", b" \n\t"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: text.replace(b" ", b" \\\n "),
        lambda text: text.replace(b" ", b"\\\r\n "),
        lambda text: text.replace(b"\n", b" # a cube's\n"),
        lambda text: text.replace(b"\n", b"\n\n# v 9 9 9\n#v 9 9 9\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b"f 1", b"o \xff\xfe\ng a b\ns off\nf 1"),
    ],
    ids=["tabs", "mixed", "indented", "crlf", "cr", "continued", "continued crlf", "comment after", "comments", "mark",
         "no last break", "names"],
)  # fmt: skip
def test_blanks_breaks_and_comments(tmp_path: Path, change: object) -> None:
    plain = (lines("v", CUBE) + lines("f", CUBE_FACES + 1)).encode()
    mesh = obj(tmp_path, change(plain))  # type: ignore[operator]
    assert len(mesh.faces) == 12 and area(mesh) == pytest.approx(6)
    assert mesh.vertices.max(axis=0).tolist() == [1, 1, 1]


def test_only_faces_show(tmp_path: Path) -> None:
    more = (
        "vp 0.1 0.2 0.3\np 1 2\nl 1/1 2 3\ncstype bspline\ndeg 3\ncurv 0 1 1 2 3 4\nparm u 0 1\nend\nsurf 0 1 0 1 1\n"
    )
    text = (
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 9 9 9\nvt 0 0\nvn 0 0 1\n" + more + "f 1 2\nf 1\nf 1//1 2//1 3//1\nf 1/1 2/ 3\n"
    )
    mesh = obj(tmp_path, text).welded()
    assert len(mesh.faces) == 2 and len(mesh.vertices) == 3


def test_several_files_of_materials_whose_names_have_blanks(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("newmtl  old\tred \n\tKd\t0.5 0 0\n map_Kd\tskin.png\n")
    (tmp_path / "b.mtl").write_text("newmtl grey\nKd 0.25\nnewmtl odd\nKd spectral x.rfl 1\nnewmtl nan\nKd nan 0 0\n")
    (tmp_path / "my own.mtl").write_text("newmtl mine\nKd 0 1 0\n")
    (tmp_path / "skin.png").write_bytes(PIXEL)
    head = "mtllib a.mtl b.mtl\nmtllib my own.mtl\nmtllib gone.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    names = ["old red", "grey", "odd", "nan", "mine", "nowhere"]
    mesh = obj(tmp_path, head + "".join(f"usemtl {n}\nf 1 2 3\n" for n in names) + "usemtl grey\nf 3 2 1\n")
    looks = [mesh.surfaces[i] for i in mesh.surface_of]
    assert [s.name for s in looks] == ["", "old red", "grey", "odd", "nan", "mine", "", "grey"]
    red, grey, odd, broken, mine = looks[1:6]
    assert red.colour == (0.5, 0, 0, 1) and red.texture == str(tmp_path / "skin.png") and mine.colour == (0, 1, 0, 1)
    assert grey.colour == (0.25, 0.25, 0.25, 1) and odd.colour is None and broken.colour is None


def test_colours_of_vertices_count_where_there_is_no_material(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("newmtl green\nKd 0 1 0\n")
    text = "mtllib a.mtl\nv 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nv 2 2 2\nf 1 2 3\nusemtl green\nf 2 3 4\n"
    mesh = obj(tmp_path, text)
    assert [mesh.surfaces[i].colour for i in mesh.surface_of] == [(1, 0, 0, 1), (0, 1, 0, 1)]
    many = np.random.default_rng(0).uniform(size=(3000, 6))
    mesh = obj(tmp_path, lines("v", many) + lines("f", np.arange(3000).reshape(-1, 3) + 1))
    assert 8 < len(mesh.surfaces) <= 64 and len(mesh.faces) == 1000


def test_a_file_read_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    text = ""
    for block in range(30):
        text += lines("v", rng.normal(size=(4, 3)).round(4)) + lines("vt", rng.normal(size=(3, 2)).round(4))
        text += f"usemtl m{block % 3}\nf -1/-1 -2/-2 -3/-3 -4/1\nf 1//1 2//1 {4 * block + 1}//1\n"
    whole = obj(tmp_path, text)
    monkeypatch.setattr(text_tables, "CHUNK", 100)
    pieces = obj(tmp_path, text)
    assert len(whole.faces) == 90 and whole.uv is not None and pieces.uv is not None
    assert (whole.faces == pieces.faces).all() and (whole.vertices == pieces.vertices).all()
    assert (whole.uv == pieces.uv).all() and (whole.surface_of == pieces.surface_of).all()


@pytest.mark.parametrize(
    "text, words",
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 1000000000\n", "vertex that it has not"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999999\n", "vertex that it has not"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n", "vertex that it has not"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "vertex that it has not"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/5 2/1 3/1\n", "texture coordinate that it has not"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 three\n", "no number"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3.5\n", "no number"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/2/3/4/x 2 3\n", "no number"),
        ("v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "fewer than 3"),
        ("v 0 0 0\nv 1 0 zero\nv 0 1 0\nf 1 2 3\n", "no number"),
        ("v 0 0 0\nv 1 0 inf\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("v 0 0 0\nv 1 0-1 0 0\nv 0 1 0\nf 1 2 3\n", "no number"),
        ("v 0 0 0\nv 1,5 0 0\nv 0 1 0\nf 1 2 3\n", "no number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        obj(tmp_path, text)
    assert "part.obj" in str(refusal.value)


def test_what_is_not_finite_but_belongs_to_no_face_does_not_count(tmp_path: Path) -> None:
    assert len(obj(tmp_path, "v nan nan nan\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 2 3 4\n").faces) == 1


@pytest.mark.parametrize("options", ["", "-clamp on ", "-s 1 1 1 -o 0.5 -.5 ", "-bm 2 -s 1 ", "-a " * 40])
def test_options_of_a_texture_stand_before_its_name(tmp_path: Path, options: str) -> None:
    (tmp_path / "a skin.png").write_bytes(PIXEL)
    (tmp_path / "a.mtl").write_text(f"newmtl m\nmap_Kd {options}a skin.png\nnewmtl n\nmap_Kd {'-a ' * 60}!\n")
    mesh = obj(tmp_path, "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl m\nf 1 2 3\nusemtl n\nf 1 2 3\n")
    assert [(s.texture, s.missing) for s in mesh.surfaces] == [(str(tmp_path / "a skin.png"), ""), ("", "!")]


def test_what_a_file_of_few_bytes_could_become_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triangle = "v 0 0 0\nv 1 0 0\nv 0 1 0\n" + "f 1 2 3\n" * 50
    assert len(obj(tmp_path, "mtllib " + "a" * 5000 + "\n" + triangle).faces) == 50
    with pytest.raises(UserError, match="more than 100 files of materials"):
        obj(tmp_path, "".join(f"mtllib {i}.mtl\n" for i in range(200)) + triangle)
    monkeypatch.setattr("robot_keypoints.core.meshes.mesh.MOST_TRIANGLES", 40)
    with pytest.raises(UserError, match="triangles"):
        obj(tmp_path, triangle)
