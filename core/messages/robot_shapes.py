# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot's shapes as it stands, which go with a request to a model server that is to place a camera by its outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .envelope import MessageError

MOST_PARTS = 1024
MOST_BYTES = 8 << 20
FARTHEST = 1000.0
"""Metres from the base at which nothing of a robot is."""

NUMBER_BYTES = 4
"""Of a coordinate, and of an index."""


@dataclass(frozen=True, eq=False)
class ShapePart:
    """One link's surface.

    Attributes:
        vertices: in the robot's base frame, metres, ``(V, 3)``.
        triangles: indices of vertices, ``(T, 3)``.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class RobotShapes:
    """The surfaces of a robot's links with its joints where they stand; a message has them in two places:
    :attr:`counts` in its header, and :attr:`data` as a frame of its own."""

    parts: tuple[ShapePart, ...]

    @property
    def counts(self) -> list[list[int]]:
        """How many vertices and triangles each part has."""
        return [[len(p.vertices), len(p.triangles)] for p in self.parts]

    @property
    def data(self) -> bytes:
        """Of each part the vertices, as little-endian 32-bit floats, then the triangles, as little-endian unsigned
        32-bit integers."""
        return b"".join(p.vertices.astype("<f4").tobytes() + p.triangles.astype("<u4").tobytes() for p in self.parts)

    @classmethod
    def decode(cls, counts: Any, data: bytes) -> RobotShapes:
        """Inverse of :attr:`counts` and :attr:`data`.

        Raises:
            MessageError: if they are malformed.
        """
        numbers = _counts(counts)
        if len(data) > MOST_BYTES:
            raise MessageError(f"the robot's shapes have {len(data)} bytes: {MOST_BYTES} at most can be taken")
        expected = 3 * NUMBER_BYTES * sum(vertices + triangles for vertices, triangles in numbers)
        if len(data) != expected:
            raise MessageError(f"the robot's shapes have {len(data)} bytes, not {expected}")
        parts, at = [], 0
        for vertices, triangles in numbers:
            places = np.frombuffer(data, "<f4", 3 * vertices, at).reshape(-1, 3)
            at += NUMBER_BYTES * places.size
            corners = np.frombuffer(data, "<u4", 3 * triangles, at).reshape(-1, 3)
            at += NUMBER_BYTES * corners.size
            if not (np.abs(places) <= FARTHEST).all():
                raise MessageError(f"the robot's shapes have a vertex that isn't within {FARTHEST:g} m")
            if int(corners.max()) >= vertices:
                raise MessageError("the robot's shapes have a triangle of a vertex that isn't there")
            parts.append(ShapePart(places, corners))
        return cls(tuple(parts))


def _counts(document: Any) -> Sequence[tuple[int, int]]:
    if not isinstance(document, list) or not 1 <= len(document) <= MOST_PARTS:
        raise MessageError(f"the robot's shapes are no list of 1 to {MOST_PARTS} pairs of counts")
    for pair in document:
        plain = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
        if not plain or not all(1 <= n <= MOST_BYTES for n in pair):
            raise MessageError("a part of the robot's shapes is not counted as [vertices, triangles], both from 1 on")
    return [(vertices, triangles) for vertices, triangles in document]
