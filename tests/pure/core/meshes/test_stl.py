# SPDX-License-Identifier: GPL-3.0-or-later
"""STL files of both kinds, and what is wrong with others."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from assimp import measured
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.meshes.mesh import MeshData
from robot_keypoints.core.meshes.reader import read
from shapes import CUBE, CUBE_FACES


def stl(folder: Path, data: bytes) -> MeshData:
    path = folder / "part.stl"
    path.write_bytes(data)
    return read(path)


def binary(count: int | None = None, head: bytes = b"made by a test") -> bytes:
    """A cube, under any head and count."""
    records = b"".join(struct.pack("<12fH", 0, 0, 0, *CUBE[face].ravel(), 0) for face in CUBE_FACES)
    return head.ljust(80, b" ") + struct.pack("<I", len(CUBE_FACES) if count is None else count) + records


def text(name: str = "cube", move: float = 0.0) -> str:
    facets = "".join(
        "facet normal 0 0 1\n outer loop\n"
        + "".join(f"  vertex {x:e} {y:g} {z:g}\n" for x, y, z in CUBE[face] + (move, 0, 0))
        + " endloop\nendfacet\n"
        for face in CUBE_FACES
    )
    return f"solid {name}\n{facets}endsolid {name}\n"


@pytest.mark.parametrize(
    "data, faces, high",
    [
        (binary(), 12, 1),
        (binary(head=b"solid but binary"), 12, 1),
        (binary() + b"\0\r\n", 12, 1),
        (text().encode(), 12, 1),
        (text("").upper().replace("\n", "\r\n").replace(" ", "\t").encode(), 12, 1),
        (("\n" + text("vertex facet") + "\n" + text("endsolid x", move=4)).encode(), 24, 5),
    ],
    ids=["binary", "solid", "trailing", "text", "capitals", "two solids"],
)
def test_both_kinds(tmp_path: Path, data: bytes, faces: int, high: float) -> None:
    mesh = stl(tmp_path, data)
    found = measured(mesh.vertices[mesh.faces])
    assert len(mesh.faces) == faces and found.area == pytest.approx(faces / 2)
    np.testing.assert_allclose(found.high, (high, 1, 1), atol=1e-6)


@pytest.mark.parametrize(
    "data, words",
    [
        (binary(count=4_000_000_000), "4000000000 triangles and holds 12"),
        (binary(count=0), "0 triangles and holds 12"),
        (binary(count=5), "5 triangles and holds 12"),
        (binary()[:-1], "12 triangles and holds 11"),
        (binary()[:300], "12 triangles and holds 4"),
        (b"solid", "cut or damaged"),
        (b"nothing", "cut or damaged"),
        (text().encode()[:-20], "cut or damaged"),
        (text().encode()[:400], "cut or damaged"),
        (text().replace("vertex 1", "vertex one").encode(), "no number"),
        (text().replace("  vertex", "  vertex 0", 1).encode(), "three coordinates"),
        (text().replace(" endloop", "  vertex 0 0 0\n endloop", 1).encode(), "three vertices"),
        (text().replace("\n", " ").encode(), "three vertices"),
        (text().replace("vertex 0.000000e+00", "vertex nan", 1).encode(), "not finite"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        stl(tmp_path, data)
