# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles and how they look, apart from where they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..robot.robot import Floats

Colour = tuple[float, float, float, float]
Encoding = Callable[[Colour], Colour]
Indices = NDArray[np.int64]

WELD = 1e-6
"""Vertices that agree to this many metres are one."""

MOST_TRIANGLES = 12_000_000
"""How many triangles of one file are read: somewhat more than the largest STL file has."""

MOST_PARTS = 100_000
"""How many parts a file may show, and nodes to show them: a few nodes can name each other so often that there is no
end."""

MOST_COLOURS = 64
"""How many surfaces one surface with colours by vertex or face may become."""


@dataclass(frozen=True)
class Surface:
    """How a group of faces looks; None where the file is silent.

    Attributes:
        colour: display-sRGB RGBA.
        texture: the image of the base colour, as a file's path or as the image file's own bytes.
        missing: name of a texture that can't be shown.
        why: what is wrong with it, after its name in a sentence.
    """

    name: str = ""
    colour: Colour | None = None
    texture: str | bytes = ""
    roughness: float | None = None
    metallic: float | None = None
    missing: str = ""
    why: str = ""


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
        """The mesh with every vertex once: files repeat one for each of its normals.

        Vertices that belong to no face are left out, and so are faces that vanish thereby.
        """
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.faces] = True
        vertices, faces = self.vertices[used], (np.cumsum(used) - 1)[self.faces]
        keep, inverse = unique_rows(np.round(vertices / WELD).astype(np.int64))
        faces = inverse[faces]
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        uv = None if self.uv is None else self.uv[whole]
        return replace(self, vertices=vertices[keep], faces=faces[whole], surface_of=self.surface_of[whole], uv=uv)


def part(vertices: Any, faces: Any, surface: Surface, uv: Any = None) -> MeshData:
    """Faces that share one surface."""
    faces = np.asarray(faces, dtype=np.int64)
    return MeshData(
        np.asarray(vertices, dtype=np.float64), faces, (surface,), np.zeros(len(faces), dtype=np.int64),
        None if uv is None else np.asarray(uv, dtype=np.float64),
    )  # fmt: skip


def joined(parts: Sequence[MeshData]) -> MeshData:
    """Several meshes as one."""
    if len(parts) == 1:
        return parts[0]
    surfaces = {s: number for number, s in enumerate(dict.fromkeys(s for part in parts for s in part.surfaces))}
    offsets = np.cumsum([0, *(len(p.vertices) for p in parts)])
    uv = None
    if any(p.uv is not None for p in parts):
        uv = np.concatenate([np.zeros((len(p.faces), 3, 2)) if p.uv is None else p.uv for p in parts])
    return MeshData(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + offset for p, offset in zip(parts, offsets, strict=False)]),
        tuple(surfaces),
        np.concatenate([np.array([surfaces[s] for s in p.surfaces])[p.surface_of] for p in parts]),
        uv,
    )


def check_size(triangles: int) -> None:
    """Whether so many triangles are read; to be asked before memory is taken for them.

    Raises:
        ValueError: if they are too many.
    """
    if triangles > MOST_TRIANGLES:
        raise ValueError(f"it has more than {MOST_TRIANGLES / 1e6:g} million triangles")


def check_parts(count: int) -> None:
    """Whether so many nodes, instances or parts are read.

    Raises:
        ValueError: if they are too many.
    """
    if count > MOST_PARTS:
        raise ValueError(f"it shows more than {MOST_PARTS:,} parts")


class Gathering:
    """The parts of a mesh, as many as are read: a small file can place the same part very often.

    Attributes:
        parts: what was added.
    """

    def __init__(self) -> None:
        self.parts: list[MeshData] = []
        self._triangles = 0

    def add(self, mesh: MeshData, placement: Floats) -> None:
        """Add a mesh, moved and scaled by ``(4, 4)``.

        Raises:
            ValueError: if it becomes more than is read.
        """
        if not len(mesh.faces):
            return
        self._triangles += len(mesh.faces)
        check_size(self._triangles)
        check_parts(len(self.parts) + 1)
        self.parts.append(mesh.placed(placement))


def by_colour(
    vertices: Any, faces: Indices, colours: Floats, surface: Surface, uv: Any = None, encode: Encoding | None = None
) -> MeshData:
    """Faces with colours of their own instead of the surface's; colours that hardly differ become one where there are
    many.

    Args:
        colours: ``(F, 4)`` in 0 … 1.
        encode: what turns a colour into display sRGB, if it is something else.
    """
    colours = np.clip(np.nan_to_num(colours), 0.0, 1.0)
    for levels in (255, 31, 15, 7, 3, 1):
        _, number = np.unique(np.round(colours * levels).astype(np.int64), axis=0, return_inverse=True)
        number = number.reshape(-1)
        if number.max(initial=0) < MOST_COLOURS:
            break
    count = np.bincount(number)
    means = np.stack([np.bincount(number, weights=colours[:, i]) / count for i in range(4)], axis=1)
    shades: list[Colour] = [(float(r), float(g), float(b), float(a)) for r, g, b, a in means]
    surfaces = tuple(replace(surface, colour=encode(c) if encode else c) for c in shades)
    return replace(part(vertices, faces, surface, uv), surfaces=surfaces, surface_of=number)


def unique_rows(rows: Indices) -> tuple[Indices, Indices]:
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
