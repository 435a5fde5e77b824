# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometries of Collada files as triangles. Lines and splines show nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from ..robot.robot import Floats
from .collada_document import Document, first, numbers_of
from .mesh import Indices, check_size
from .polygons import WorkBudget, fan, joined_with_holes, strip, triangulate
from .text_tables import Lines, numbers

SHOWN = ("triangles", "polylist", "polygons", "tristrips", "trifans")

Blocks = Iterator[tuple[Indices, Indices]]


@dataclass(frozen=True)
class Primitive:
    """Triangles that share a material.

    Attributes:
        material: the symbol that stands for it.
        positions: ``(V, 3)``.
        faces: ``(F, 3)`` indices of positions.
        uv: texture coordinates ``(F, 3, 2)`` by the number of their set.
        colours: ``(F, 4)``, or None.
    """

    material: str
    positions: Floats
    faces: Indices
    uv: dict[str, Floats]
    colours: Floats | None


def primitives(document: Document, geometry: Element) -> list[Primitive]:
    """The triangles of a geometry.

    Raises:
        ValueError: if it is broken, or of a kind that is not read.
    """
    mesh = first(geometry, "mesh", "convex_mesh", "brep", "spline")
    if mesh is None or mesh.tag == "spline":
        return []
    if mesh.tag == "brep" or mesh.get("convex_hull_of"):
        raise ValueError(f"a geometry is a {mesh.tag} without triangles: export it as a mesh")
    return [made for e in mesh if e.tag in SHOWN and (made := _primitive(document, e, mesh)) is not None]


def _primitive(document: Document, element: Element, mesh: Element) -> Primitive | None:
    inputs = document.inputs(element, mesh)
    stride = 1 + max((offset for _, offset, _, _ in inputs), default=0)
    place, source = next(((o, s) for semantic, o, _, s in inputs if semantic == "POSITION"), (0, None))
    if source is None:
        raise ValueError(f"its {element.tag} have no positions")
    positions = document.source(source)
    if positions.shape[1] != 3:
        raise ValueError(f"its positions have {positions.shape[1]} coordinates")
    blocks = list(_blocks(element, stride, place, positions, document.budget))
    if not blocks:
        return None
    rows, counts = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    check_size(int(np.maximum(counts - 2, 0).sum()))
    corner = _checked(rows[:, place], len(positions))
    triangles, _ = triangulate(positions[corner], counts, document.budget)
    if not len(triangles):
        return None
    uv, colours = {}, None
    for semantic, offset, number, given in inputs:
        if semantic in ("TEXCOORD", "COLOR"):
            values = document.source(given)
            chosen = values[_checked(rows[:, offset], len(values))][triangles]
            if semantic == "COLOR" and values.shape[1] in (3, 4):
                colours = np.pad(chosen.mean(axis=1), ((0, 0), (0, 4 - values.shape[1])), constant_values=1.0)
            elif semantic == "TEXCOORD" and values.shape[1] >= 2:
                uv[number] = chosen[..., :2]
    return Primitive(element.get("material", ""), positions, corner[triangles], uv, colours)


def _checked(indices: Indices, count: int) -> Indices:
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise ValueError("a face names a vertex that it has not")
    return indices


def _blocks(element: Element, stride: int, place: int, positions: Floats, budget: WorkBudget) -> Blocks:
    """The indices ``(C, stride)`` of polygons' corners, and how many corners each polygon has."""
    if element.tag == "triangles":
        for p in element.findall("p"):
            rows = _rows(numbers_of(p, np.int64), stride)
            if len(rows) % 3:
                raise ValueError("the last of its triangles lacks corners: it is cut or damaged")
            yield rows, np.full(len(rows) // 3, 3)
    elif element.tag == "polylist":
        given = element.find("vcount")
        counts = np.empty(0, dtype=np.int64) if given is None else numbers_of(given, np.int64)
        parts = [_rows(numbers_of(p, np.int64), stride) for p in element.findall("p")]
        rows = np.concatenate(parts) if parts else np.empty((0, stride), dtype=np.int64)
        if (counts < 0).any() or counts.sum() != len(rows):
            raise ValueError("its polygons have not the corners that it says: it is cut or damaged")
        yield rows, counts
    else:
        yield from _each(element, stride)
        for holed in element.findall("ph"):
            yield _with_holes(holed, stride, place, positions, budget)


def _rows(flat: Indices, stride: int) -> Indices:
    if len(flat) % stride:
        raise ValueError(f"a polygon has not {stride} numbers for each corner: it is cut or damaged")
    return flat.reshape(-1, stride)


def _each(element: Element, stride: int) -> Blocks:
    """Polygons, strips or fans, each of which has an element of its own, of which there may be very many."""
    texts = [" ".join(text.split()) for p in element.findall("p") if (text := p.text or "").strip()]
    if not texts:
        return
    joined = "\n".join(texts).encode("ascii", "replace")
    words = Lines(joined).words
    if (words % stride).any():
        raise ValueError(f"a polygon has not {stride} numbers for each corner: it is cut or damaged")
    rows, counts = _rows(numbers(joined, np.int64), stride), words // stride
    if element.tag == "polygons":
        yield rows, counts
        return
    pattern = strip if element.tag == "tristrips" else fan
    begins = np.cumsum(counts) - counts
    for size in np.unique(counts):
        order = begins[counts == size][:, None, None] + pattern(int(size))
        yield rows[order.reshape(-1)], np.full(order.size // 3, 3)


def _with_holes(
    element: Element, stride: int, place: int, positions: Floats, budget: WorkBudget
) -> tuple[Indices, Indices]:
    rings = [_rows(numbers_of(ring, np.int64), stride) for ring in (*element.findall("p"), *element.findall("h"))]
    if len(element.findall("p")) != 1 or len(rings[0]) < 3:
        raise ValueError("a polygon with holes has no rim")
    corners = [positions[_checked(ring[:, place], len(positions))] for ring in rings]
    rows = np.concatenate(rings)[joined_with_holes(corners[0], corners[1:], budget)]
    return rows, np.array([len(rows)])
