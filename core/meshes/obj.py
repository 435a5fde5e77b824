# SPDX-License-Identifier: GPL-3.0-or-later
"""OBJ files with their materials. Only faces are read: points, lines and free-form curves and surfaces show nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..robot.robot import Floats
from .file_source import beside, read_bytes
from .mesh import Indices, MeshData, Surface, by_colour, check_size
from .polygons import WorkBudget, triangulate
from .text_tables import BLANK, Lines, chunks, numbers, word_starts
from .textures import located

LARGEST_MATERIALS = 16
"""Megabytes of the largest file of materials."""

MOST_LIBRARIES = 100
"""How many files of materials one file may name."""

NO_COORDINATE = -1

OPTION, VALUE = re.compile(r"-[A-Za-z]\w*\s+"), re.compile(r"(?:on|off|[-+.]*\d\S*)\s+")
"""Of a texture, before its file name."""


def read(path: Path, data: bytes) -> list[MeshData]:
    """The faces of a file, cut into triangles.

    Raises:
        ValueError: if it is not one.
    """
    found = _Found()
    for text in chunks(_plain(data)):
        found.take(Lines(_without_comments(text)))
    if not found.counts:
        return []
    vertices, coordinates = found.positions(), _stacked(found.coordinates, 2)
    corners, uv_corners = np.concatenate(found.corners), np.concatenate(found.uv_corners)
    counts = np.concatenate(found.counts)
    _check(corners, len(vertices), "vertex")
    _check(uv_corners, len(coordinates), "texture coordinate", NO_COORDINATE)
    triangles, polygon = triangulate(vertices[corners], counts, WorkBudget())
    if not len(triangles):
        return []
    faces = corners[triangles]
    uv = None
    if (uv_corners >= 0).any():
        uv = np.concatenate([coordinates, np.zeros((1, 2))])[uv_corners[triangles]]
    materials = _materials(found.libraries, path)
    names = found.names
    surfaces = [materials.get(name, Surface()) for name in names]
    surface_of = np.concatenate(found.material)[polygon]
    whole = _meshed(vertices, faces, surfaces, surface_of, uv)
    colours = found.colours()
    if colours is None:
        return [whole]
    return _coloured(whole, colours)


def _meshed(vertices: Floats, faces: Indices, surfaces: list[Surface], surface_of: Indices, uv: Any) -> MeshData:
    distinct = {s: number for number, s in enumerate(dict.fromkeys(surfaces))}
    number = np.array([distinct[s] for s in surfaces])[surface_of]
    used, number = np.unique(number, return_inverse=True)
    kept = tuple(distinct)
    return MeshData(vertices, faces, tuple(kept[i] for i in used), number.reshape(-1), uv)


def _coloured(mesh: MeshData, colours: Floats) -> list[MeshData]:
    """The parts of a mesh; where a part has no material its vertices' colours count."""
    parts = []
    for number, surface in enumerate(mesh.surfaces):
        own = mesh.surface_of == number
        faces, uv = mesh.faces[own], None if mesh.uv is None else mesh.uv[own]
        if surface == Surface():
            parts.append(by_colour(mesh.vertices, faces, colours[faces].mean(axis=1), surface, uv))
        else:
            parts.append(MeshData(mesh.vertices, faces, (surface,), np.zeros(len(faces), dtype=np.int64), uv))
    return parts


def _plain(data: bytes) -> bytes:
    """The text without continued lines and old Macintoshes' line breaks."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\\\n" in data:
        data = data.replace(b"\\\n", b" ")
    return data.removeprefix(b"\xef\xbb\xbf")


def _without_comments(text: bytes) -> bytes:
    """The text without comments after other words; a line that begins with one begins with no word that counts."""
    if text.count(b"#") == text.count(b"\n#") + text.startswith(b"#"):
        return text
    return re.sub(rb"\s#[^\n]*", b"", text)


@dataclass
class _Found:
    """What the chunks of a file held so far."""

    vertices: list[Floats] = field(default_factory=list)
    shades: list[tuple[Indices, Floats]] = field(default_factory=list)
    coordinates: list[Floats] = field(default_factory=list)
    corners: list[Indices] = field(default_factory=list)
    uv_corners: list[Indices] = field(default_factory=list)
    counts: list[Indices] = field(default_factory=list)
    material: list[Indices] = field(default_factory=list)
    names: list[str] = field(default_factory=lambda: [""])
    libraries: list[str] = field(default_factory=list)
    _number: dict[str, int] = field(default_factory=lambda: {"": 0})
    _current: int = 0
    _triangles: int = 0
    _vertices: int = 0
    _coordinates: int = 0

    def take(self, lines: Lines) -> None:
        """Add what a chunk holds."""
        v, vt, f = (lines.beginning_with(word) for word in (b"v", b"vt", b"f"))
        flat, starts, widths = _rows(lines, v, b"v", 3)
        self.vertices.append(flat[starts[:, None] + np.arange(3)])
        coloured = np.flatnonzero((widths == 6) | (widths == 7))
        if len(coloured):
            self.shades.append((self._vertices + coloured, flat[starts[coloured][:, None] + np.arange(3, 6)]))
        flat, starts, widths = _rows(lines, vt, b"vt", 1)
        both = np.where(widths >= 2, starts + 1, len(flat))  # v is 0 where it is left out
        self.coordinates.append(np.append(flat, 0.0)[np.stack([starts, both], axis=1)])
        switches, materials = self._switches(lines)
        if len(f):
            counts = lines.words[f] - 1
            self._triangles += int(np.maximum(counts - 2, 0).sum())
            check_size(self._triangles)
            corner, uv_corner = _corners(lines.texts(f, b"f"), int(counts.sum()))
            line = np.repeat(f, counts)
            self.corners.append(_absolute(corner, self._vertices + np.searchsorted(v, line)))
            self.uv_corners.append(_absolute(uv_corner, self._coordinates + np.searchsorted(vt, line)))
            self.counts.append(counts)
            self.material.append(np.array([self._current, *materials])[np.searchsorted(switches, f)])
        self._current = materials[-1] if materials else self._current
        self._vertices += len(v)
        self._coordinates += len(vt)

    def _switches(self, lines: Lines) -> tuple[Indices, list[int]]:
        """The lines that change the material, and the materials' numbers."""
        for line in lines.beginning_with(b"mtllib"):
            name = lines.rest(line, b"mtllib")
            if name not in self.libraries:
                self.libraries.append(name)
            if len(self.libraries) > MOST_LIBRARIES:
                raise ValueError(f"it names more than {MOST_LIBRARIES} files of materials")
        switches = lines.beginning_with(b"usemtl")
        materials = []
        for line in switches:
            name = " ".join(lines.rest(line, b"usemtl").split())
            if name not in self._number:
                self._number[name] = len(self.names)
                self.names.append(name)
            materials.append(self._number[name])
        return switches, materials

    def positions(self) -> Floats:
        """``(V, 3)``."""
        return _stacked(self.vertices, 3)

    def colours(self) -> Floats | None:
        """``(V, 4)``, white where a vertex has none; None if no vertex has one."""
        if not self.shades:
            return None
        colours = np.ones((self._vertices, 4))
        for which, shades in self.shades:
            colours[which, :3] = shades
        return colours


def _stacked(parts: list[Floats], width: int) -> Floats:
    return np.concatenate(parts) if parts else np.empty((0, width))


def _rows(lines: Lines, chosen: Indices, word: bytes, least: int) -> tuple[Floats, Indices, Indices]:
    """All numbers of these lines ``(N,)``, where each line's begin among them, and how many it has."""
    widths = lines.words[chosen] - 1
    if len(widths) and widths.min() < least:
        raise ValueError(f"a line {word.decode()!r} has fewer than {least} numbers")
    flat = numbers(lines.texts(chosen, word))
    if len(flat) != widths.sum():  # as of "1-2"
        raise ValueError(f"something that is no number stands in a line {word.decode()!r}")
    return flat, np.cumsum(widths) - widths, widths


def _corners(text: bytes, count: int) -> tuple[Indices, Indices]:
    """Numbers of vertices and of texture coordinates as they stand in the file; 0 where there is none."""
    text = text.replace(b"//", b"/0/")
    octets = np.frombuffer(text, dtype=np.uint8)
    slash = octets == ord("/")
    if (slash[:-1] & (octets[1:] <= BLANK)).any():  # "1/" for "1"
        return _corners(re.sub(rb"/+(?=\s)", b"", text), count)
    if not count:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    more = np.add.reduceat(slash, word_starts(octets), dtype=np.int64)
    flat = numbers(text.replace(b"/", b" "), np.int64)
    at = np.cumsum(more + 1) - more - 1
    if len(more) != count or len(flat) != count + more.sum():
        raise ValueError("a face has corners that are no numbers")
    return flat[at], np.where(more > 0, flat[np.minimum(at + 1, len(flat) - 1)], 0)


def _absolute(numbers: Indices, known: Indices) -> Indices:
    """Indices from the numbers of a file, which count from 1, or from -1 back from what is ``known`` so far."""
    return np.where(numbers > 0, numbers - 1, np.where(numbers < 0, known + numbers, NO_COORDINATE))


def _check(indices: Indices, count: int, what: str, least: int = 0) -> None:
    if len(indices) and (indices.min() < least or indices.max() >= count):
        raise ValueError(f"a face names a {what} that it has not")


# ------------------------------------------------------------------------------------------------------- materials


def _materials(libraries: list[str], path: Path) -> dict[str, Surface]:
    """The materials of all files that are named and there; a line may name one with blanks, or several."""
    found: dict[str, Surface] = {}
    for name in libraries:
        for one in [name] if beside(name, path) else name.split()[:MOST_LIBRARIES]:
            file = beside(one, path)
            if file is not None:
                found.update(_mtl(file, path))
    return found


def _mtl(file: Path, path: Path) -> dict[str, Surface]:
    try:
        text = read_bytes(file, LARGEST_MATERIALS).decode("utf-8", "replace")
    except UserError as problem:
        raise UserError(str(problem).replace("The mesh", f"The materials of {path.name},", 1)) from problem
    found: dict[str, Surface] = {}
    name = ""
    for line in text.splitlines():
        key, _, rest = " ".join(line.split()).partition(" ")
        key = key.lower()
        if key == "newmtl":
            name = rest
            found[name] = Surface(name)
        elif name and key == "kd":
            found[name] = replace(found[name], colour=_colour(rest.split()))
        elif name and key == "map_kd":
            texture, missing, why = located(_without_options(line.strip()[len(key) :].strip()), path)
            found[name] = replace(found[name], texture=texture, missing=missing, why=why)
    return found


def _without_options(text: str) -> str:
    """The file name that stands after a texture's options."""
    at = 0
    while (option := OPTION.match(text, at)) is not None:
        at = option.end()
        while (value := VALUE.match(text, at)) is not None:
            at = value.end()
    return text[at:]


def _colour(words: list[str]) -> tuple[float, float, float, float] | None:
    """A colour in red, green and blue, or in one number for all; None for those by a spectrum and in XYZ."""
    try:
        values: NDArray[np.float64] = np.array([float(word) for word in words[:3]])
    except ValueError:
        return None
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        return None
    r, g, b = np.broadcast_to(values, 3)
    return float(r), float(g), float(b), 1.0
