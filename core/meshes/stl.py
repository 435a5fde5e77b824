# SPDX-License-Identifier: GPL-3.0-or-later
"""STL files, binary and text."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mesh import MeshData, Surface, part
from .text_tables import Lines, chunks, numbers

HEAD = 84
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read(_path: Path, data: bytes) -> list[MeshData]:
    """The triangles of a file; one that begins with "solid" may still be binary.

    Raises:
        ValueError: if it is not one, or holds other than it says.
    """
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= HEAD else -1
    if count >= 0 and len(data) == HEAD + count * RECORD.itemsize:
        return _binary(data, count)
    if _is_text(data):
        return _text(data.lower())
    present = (len(data) - HEAD) // RECORD.itemsize
    if count < 0 or present != count:
        raise ValueError(f"it says {max(count, 0)} triangles and holds {max(present, 0)}: it is cut or damaged")
    return _binary(data, count)


def _is_text(data: bytes) -> bool:
    return data[:80].lstrip().lower().startswith(b"solid") and b"\0" not in data[:4096]


def _binary(data: bytes, count: int) -> list[MeshData]:
    corners = np.frombuffer(data, dtype=RECORD, count=count, offset=HEAD)["corners"]
    return [_meshed(corners)] if count else []


def _text(data: bytes) -> list[MeshData]:
    """All solids of a text together."""
    found, facets, ended, open_solids = [], 0, 0, 0
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for chunk in chunks(data):
        lines = Lines(chunk)
        vertices = lines.beginning_with(b"vertex")
        if (lines.words[vertices] != 4).any():
            raise ValueError("a vertex has other than three coordinates")
        found.append(numbers(lines.texts(vertices, b"vertex")))
        facets += len(lines.beginning_with(b"facet"))
        ended += len(lines.beginning_with(b"endfacet"))
        open_solids += len(lines.beginning_with(b"solid")) - len(lines.beginning_with(b"endsolid"))
    flat = np.concatenate(found)
    if open_solids > 0 or facets != ended or len(flat) != 9 * facets:
        raise ValueError("its facets are not all of three vertices, or it ends within one: it is cut or damaged")
    return [_meshed(flat.reshape(-1, 3, 3))] if facets else []


def _meshed(corners: NDArray[Any]) -> MeshData:
    return part(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), Surface())
