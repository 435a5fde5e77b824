# SPDX-License-Identifier: GPL-3.0-or-later
"""Collada as its specification and common exporters have it, and what is wrong with other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assimp import Measured, measured
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes import collada_document, mesh
from robot_keypoints.core.meshes.mesh import MeshData
from robot_keypoints.core.meshes.reader import read
from shapes import CUBE, CUBE_FACES, corners, cube, geometry, scene, source

CUBE_NODE = '<node><instance_geometry url="#cube"/></node>'


def found(mesh: MeshData) -> Measured:
    return measured(mesh.vertices[mesh.faces])


def numbers(values: Any) -> str:
    return " ".join(f"{v:g}" for v in np.asarray(values).ravel())


SQUARE = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0], [1, 1, 0], [1, 3, 0], [3, 3, 0], [3, 1, 0]])
NOTCHED = np.array([[2, 0, 0], [2, 1, 0], [1, 1, 0], [1, 2, 0], [0, 2, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "kind, content, positions, faces, area",
    [
        ("triangles", "<p>0 1 2 0 2 3</p>", SQUARE, 2, 16),
        ("triangles", "<p>0 1 2</p><p>0 2 3</p>", SQUARE, 2, 16),
        ("polylist", "<vcount>6</vcount><p>0 1 2 3 4 5</p>", NOTCHED, 4, 3),
        ("polylist", "<vcount>3 3</vcount><p>0 1 2 0 2 3</p>", SQUARE, 2, 16),
        ("polygons", "<p>0 1 2 3 4 5</p>", NOTCHED, 4, 3),
        ("polygons", "<p>0 1 2 3</p><p>4 5 6</p><p> </p>", SQUARE, 3, 18),
        ("polygons", "<ph><p>0 1 2 3</p><h>4 5 6 7</h></ph>", SQUARE, 8, 12),
        ("polygons", "<ph><p>0 1 2 3</p><h>7 6 5 4</h></ph><p>0 1 2</p>", SQUARE, 9, 20),
        ("tristrips", "<p>1 2 0 3</p><p>4 5 7 6</p>", SQUARE, 4, 20),
        ("trifans", "<p>0 1 2 3</p><p>4 5 6</p>", SQUARE, 3, 18),
    ],
)
def test_everything_with_faces_is_read(
    tmp_path: Path, kind: str, content: str, positions: np.ndarray, faces: int, area: float
) -> None:
    both = cube() + geometry("g", positions, corners("g", kind, content))
    path = scene(tmp_path, both, CUBE_NODE + '<node><translate>3 0 0</translate><instance_geometry url="#g"/></node>')
    mesh = read(path)
    assert len(mesh.faces) == 12 + faces
    assert found(mesh).area == pytest.approx(6 + area) and found(mesh).high[0] == 3 + positions[:, 0].max()


@pytest.mark.parametrize("kind", ["lines", "linestrips"])
def test_lines_do_not_hide_the_faces_beside_them(tmp_path: Path, kind: str) -> None:
    more = corners("cube", kind, "<p>0 1</p>")
    both = cube() + cube("line").replace("</mesh>", more.replace("#cube", "#line") + "</mesh>")
    spline = f'<geometry id="curve"><spline>{source("k", [[0, 0, 0]])}</spline></geometry>'
    nodes = '<node><translate>3 0 0</translate><instance_geometry url="#line"/><instance_geometry url="#curve"/></node>'
    mesh = read(scene(tmp_path, both + spline, CUBE_NODE + nodes))
    assert len(mesh.faces) == 24 and found(mesh).high.tolist() == [4, 1, 1]


def test_inputs_lie_in_any_order_and_share_places(tmp_path: Path) -> None:
    more = source("n", [[0, 0, 1]]) + source("t0", [[0, 0], [1, 0], [0.5, 1]], 2) + source("t1", [[0.25, 0.75]] * 3, 2)
    inputs = (
        '<input semantic="TEXCOORD" source="#t0" offset="3" set="0"/><input semantic="NORMAL" source="#n" offset="2"/>'
        '<input semantic="VERTEX" source="#g-v" offset="1"/>'
        '<input semantic="TEXCOORD" source="#t1" offset="3" set="1"/>'
    )
    primitive = f'<triangles count="1">{inputs}<p>9 0 0 0 9 1 0 1 9 2 0 2</p></triangles>'
    path = scene(tmp_path, geometry("g", SQUARE, primitive, more), '<node><instance_geometry url="#g"/></node>')
    mesh = read(path)
    assert (
        found(mesh).area == pytest.approx(8)
        and mesh.uv is not None
        and mesh.uv[0].tolist() == [[0, 0], [1, 0], [0.5, 1]]
    )


def test_ids_that_repeat_mean_what_lies_nearest(tmp_path: Path) -> None:
    """As some exporters name every geometry's sources the same."""
    one = geometry("g", SQUARE, corners("g", "triangles", "<p>0 1 2</p>"))
    two = one.replace('id="g"', 'id="h"').replace(numbers(SQUARE), numbers(SQUARE + 10))
    mesh = read(scene(tmp_path, one + two, '<node><instance_geometry url="#g"/><instance_geometry url="#h"/></node>'))
    assert found(mesh).area == pytest.approx(16)
    assert found(mesh).low.tolist() == [0, 0, 0] and found(mesh).high.tolist() == [14, 14, 10]


def test_sources_with_gaps(tmp_path: Path) -> None:
    wide = np.concatenate([np.full((4, 1), 9), SQUARE[:4]], axis=1)
    text = (
        source("g-p", wide, 4)
        .replace('name="X"', "")
        .replace('name="Y"', 'name="X"')
        .replace("<float_array", "<float_array")
    )
    text = text.replace('<accessor source="#g-p-a" count="4"', '<accessor source="#g-p-a" offset="4" count="3"')
    primitive = corners("g", "triangles", "<p>0 1 2</p>")
    whole = geometry("g", SQUARE, primitive).replace(source("g-p", SQUARE), text)
    mesh = read(scene(tmp_path, whole, '<node><instance_geometry url="#g"/></node>'))
    assert mesh.vertices.tolist() == SQUARE[1:4].tolist()


# --------------------------------------------------------------------------------------------------------- scenes


def test_only_the_scene_that_is_shown_is_read(tmp_path: Path) -> None:
    path = scene(tmp_path, cube(), CUBE_NODE)
    text = path.read_text().replace('<visual_scene id="other"><node/>', f'<visual_scene id="other">{CUBE_NODE * 2}')
    path.write_text(text)
    assert len(read(path).faces) == 12
    path.write_text(text.replace('<instance_visual_scene url="#s"/>', '<instance_visual_scene url="#other"/>'))
    assert len(read(path).faces) == 24
    path.write_text(text.replace('<instance_visual_scene url="#s"/>', '<instance_visual_scene url="#gone"/>'))
    with pytest.raises(UserError, match="visual_scene #gone, which it does not hold"):
        read(path)


def test_nodes_show_other_nodes(tmp_path: Path) -> None:
    library = (
        '<library_nodes><node id="pair"><node id="one"><translate>1 0 0</translate>{}</node></node></library_nodes>'
    )
    nodes = (
        '<node><translate>10 0 0</translate><instance_node url="#pair"/></node>'
        '<node><scale>-1 2 1</scale><instance_node url="#one"/></node>'
    )
    path = scene(tmp_path, cube(), nodes, library.format('<instance_geometry url="#cube"/>'), '<unit meter="0.5"/>')
    mesh = read(path)
    assert [found(mesh).low.tolist(), found(mesh).high.tolist()] == [[-1, 0, 0], [6, 1, 0.5]]
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(3 / 8), (
        "the mirrored one is not inside out"
    )


def test_every_kind_of_placement(tmp_path: Path) -> None:
    steps = (
        "<translate>1 2 3</translate><rotate>0 0 2 90</rotate><rotate>0 0 0 30</rotate><scale>1 2 3</scale>"
        "<matrix>1 0 0 5 0 1 0 0 0 0 1 0 0 0 0 1</matrix><lookat>0 0 0 0 0 -1 0 1 0</lookat>"
    )
    mesh = read(scene(tmp_path, cube(), f'<node>{steps}<instance_geometry url="#cube"/></node>'))
    np.testing.assert_allclose([found(mesh).low, found(mesh).high], [[-1, 7, 3], [1, 8, 6]], atol=1e-9)
    with pytest.raises(UserError, match="skewed"):
        read(scene(tmp_path, cube(), '<node><skew>30 1 0 0 0 1 0</skew><instance_geometry url="#cube"/></node>'))


@pytest.mark.parametrize("deep", [True, False], ids=["in a circle", "very many"])
def test_nodes_that_show_one_another_without_end(tmp_path: Path, deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "MOST_PARTS", 5000)
    twice = "".join(
        f'<node id="n{i}">{f"""<instance_node url="#n{i if deep else i + 1}"/>""" * 2}</node>' for i in range(60)
    )
    library = f'<library_nodes>{twice}<node id="n60"/></library_nodes>'
    with pytest.raises(UserError, match=r"in a circle|more than 5,000 parts"):
        read(scene(tmp_path, cube(), CUBE_NODE + '<node><instance_node url="#n0"/></node>', library))


# -------------------------------------------------------------------------------------------------------- controllers


def skin(weights: str, bind: str = "1 0 0 7 0 1 0 0 0 0 1 0 0 0 0 1", of: str = "cube") -> str:
    inverse = np.stack([np.eye(4), np.eye(4)])
    inverse[1, 0, 3] = -10
    return (
        f'<library_controllers><controller id="k"><skin source="#{of}"><bind_shape_matrix>{bind}</bind_shape_matrix>'
        '<source id="j"><Name_array id="ja" count="2">J K</Name_array></source>'
        f"{source('ib', inverse.reshape(2, 16), 16)}{source('w', [[1], [0.5]], 1)}<joints>"
        '<input semantic="JOINT" source="#j"/><input semantic="INV_BIND_MATRIX" source="#ib"/></joints>'
        '<vertex_weights count="8"><input semantic="JOINT" source="#j" offset="0"/>'
        f'<input semantic="WEIGHT" source="#w" offset="1"/>{weights}</vertex_weights></skin></controller>'
        "</library_controllers>"
    )


JOINTS = '<node id="J" sid="J" type="JOINT"/><node id="K" sid="K"><translate>16 0 4</translate></node>'
SKINNED = (
    '<node><translate>50 0 0</translate><instance_controller url="#k"><skeleton>#J</skeleton></instance_controller>'
)
BOUND = f"<vcount>{'1 ' * 8}</vcount><v>{'0 0 ' * 8}</v>"


@pytest.mark.parametrize(
    "weights, low",
    [
        (BOUND, [7, 0, 0]),
        (f"<vcount>{'1 ' * 8}</vcount><v>{'1 0 ' * 8}</v>", [13, 0, 4]),
        (f"<vcount>{'2 ' * 8}</vcount><v>{'0 1 1 1 ' * 8}</v>", [10, 0, 2]),
        (f"<vcount>{'1 ' * 8}</vcount><v>{'1 1 ' * 8}</v>", [13, 0, 4]),
        (f"<vcount>{'0 ' * 8}</vcount><v/>", [7, 0, 0]),
    ],
)
def test_skins_stand_where_their_joints_are(tmp_path: Path, weights: str, low: list[float]) -> None:
    plain = '<node><translate>0 0 -5</translate><instance_geometry url="#cube"/></node>'
    mesh = read(scene(tmp_path, cube(), JOINTS + SKINNED + "</node>" + plain, skin(weights)))
    assert len(mesh.faces) == 24 and found(mesh).area == pytest.approx(12)
    shown = mesh.vertices[mesh.faces[:12]].reshape(-1, 3)
    np.testing.assert_allclose([shown.min(axis=0), shown.max(axis=0)], [low, np.array(low) + 1], atol=1e-9)


@pytest.mark.parametrize(
    "method, high", [('method="RELATIVE"', [1.5, 1.5, 1.5]), ('method="NORMALIZED"', [1, 1, 1]), ("", [1, 1, 1])]
)
def test_morphs_stand_as_their_weights_say(tmp_path: Path, method: str, high: list[float]) -> None:
    morph = (
        f'<library_controllers><controller id="k"><morph source="#cube" {method}>'
        '<source id="mt"><IDREF_array id="mta" count="2">other cube</IDREF_array></source>'
        f'{source("mw", [[0.5], [0]], 1)}<targets><input semantic="MORPH_TARGET" source="#mt"/>'
        '<input semantic="MORPH_WEIGHT" source="#mw"/></targets></morph></controller></library_controllers>'
    )
    nodes = '<node><translate>0 0 2</translate><instance_controller url="#k"/></node>'
    mesh = read(scene(tmp_path, cube() + cube("other"), nodes, morph))
    np.testing.assert_allclose(found(mesh).high, np.array(high) + np.array([0, 0, 2]))


# ----------------------------------------------------------------------------------------------------------- colours


def test_colours_of_vertices_count_where_there_is_no_material(tmp_path: Path) -> None:
    colour = '<input semantic="COLOR" source="#c" offset="1"/>'
    primitive = corners("g", "triangles", "<p>0 0 1 0 2 0 0 1 2 1 3 1</p>").replace(
        'offset="0"/>', f'offset="0"/>{colour}'
    )
    whole = geometry("g", SQUARE, primitive, source("c", [[1, 0, 0], [0, 0, 1]]))
    mesh = read(scene(tmp_path, whole, '<node><instance_geometry url="#g"/></node>'))
    assert [mesh.surfaces[i].colour for i in mesh.surface_of] == [(1, 0, 0, 1), (0, 0, 1, 1)]


@pytest.mark.parametrize(
    "parameter, sampler",
    [
        ('<newparam sid="s"><surface type="2D"><init_from>img</init_from></surface></newparam>', "<source>s</source>"),
        ("", '<instance_image url="#img"/>'),
        (None, ""),
    ],
    ids=["1.4", "1.5", "named at once"],
)
def test_textures_by_every_version(tmp_path: Path, parameter: str | None, sampler: str) -> None:
    (tmp_path / "skin.tga").write_bytes(bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 24, 0, 1, 2, 3]))
    new = "" if parameter is None else parameter + f'<newparam sid="m"><sampler2D>{sampler}</sampler2D></newparam>'
    more = (
        '<library_images><image id="img"><init_from><ref>skin.tga</ref></init_from></image></library_images>'
        f'<library_effects><effect id="fx"><profile_COMMON>{new}<technique><phong><diffuse>'
        f'<texture texture="{"img" if parameter is None else "m"}"/></diffuse></phong></technique></profile_COMMON>'
        '</effect></library_effects><library_materials><material id="paint"><instance_effect url="#fx"/></material>'
        "</library_materials>"
    )
    painted = cube().replace("<triangles", '<triangles material="paint"')
    (surface,) = read(scene(tmp_path, painted, CUBE_NODE, more)).surfaces
    assert surface.texture == str(tmp_path / "skin.tga"), "a symbol that nothing is bound to is the material's own name"


# ------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('source="#cube-p"', 'source="#gone"', "source #gone, which it does not hold"),
        ('url="#cube"', 'url="other.dae#cube"', "geometry other.dae#cube, which it does not hold"),
        ('url="#cube"', 'url="#cube-p"', "geometry #cube-p"),
        ('count="8"', 'count="9"', "cut or damaged"),
        ('count="8"', 'count="4000000000"', "cut or damaged"),
        ('count="8"', 'count="-8"', "count of a accessor is -8"),
        ('count="8" stride="3"', 'count="24" stride="1"', "coordinates"),
        ("<p>0 2 3", "<p>0 2 8", "vertex that it has not"),
        ("<p>0 2 3", "<p>0 2 -1", "vertex that it has not"),
        ("<p>0 2 3", "<p>0 2 1e9", "no number"),
        ("<p>0 2 3", "<p>0 2", "lacks corners"),
        (' offset="0"', ' offset="4"', "numbers for each corner"),
        (' offset="0"', ' offset="1000000000000"', "numbers for each corner"),
        ('<float_array id="cube-p-a" count="24">0', '<float_array id="cube-p-a" count="24">zero', "no number"),
        ('<float_array id="cube-p-a" count="24">0', '<float_array id="cube-p-a" count="24">NaN', "not finite"),
        ("<COLLADA", '<!DOCTYPE x [<!ENTITY a "b">]><COLLADA', "DOCTYPE"),
        ('semantic="POSITION"', 'semantic="NORMAL"', "no positions"),
        ('<mesh>', '<mesh convex_hull_of="#x">', "export it as a mesh"),
        ("COLLADA", "SVG", "no Collada file"),
        ("<asset></asset>", '<asset><unit meter="x"/></asset>', "can't be read"),
        ("<asset></asset>", "<a>" * 1000 + "</a>" * 1000, "too many elements"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = scene(tmp_path, cube(), CUBE_NODE)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=words) as refusal:
        read(path)
    assert "scene.dae" in str(refusal.value)


@pytest.mark.parametrize(
    "weights, words",
    [
        (f"<vcount>{'1 ' * 7}</vcount><v>{'0 0 ' * 7}</v>", "cut or damaged"),
        (f"<vcount>{'1 ' * 8}</vcount><v>{'0 0 ' * 7}</v>", "cut or damaged"),
        (f"<vcount>{'1 ' * 8}</vcount><v>{'2 0 ' * 8}</v>", "has not"),
        (f"<vcount>{'1 ' * 8}</vcount><v>{'0 2 ' * 8}</v>", "has not"),
        ("", "no weights"),
    ],
)
def test_what_is_wrong_with_a_skin_is_said(tmp_path: Path, weights: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(scene(tmp_path, cube(), JOINTS + SKINNED + "</node>", skin(weights)))
    with pytest.raises(UserError, match="joint J, which it does not hold"):
        read(scene(tmp_path, cube(), SKINNED + "</node>", skin(BOUND)))
    with pytest.raises(UserError, match="too many others"):
        read(scene(tmp_path, cube(), JOINTS + SKINNED + "</node>", skin(BOUND, of="k")))


def test_elements_are_counted_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collada_document, "MOST_ELEMENTS", 1000)
    with pytest.raises(UserError, match="too many elements"):
        read(scene(tmp_path, cube(), CUBE_NODE + "<node/>" * 1000))
    assert len(read(scene(tmp_path, cube(), CUBE_NODE + "<node/>" * 100)).faces) == len(CUBE_FACES)
    assert len(CUBE) == 8
