# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts polygons into triangles: convex ones into fans, others by clipping ears, many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..robot.robot import Floats
from .mesh import Indices

TOGETHER = 1 << 14
"""Corners that are looked at together."""

LARGEST = 4096
"""Corners of the largest polygon that is not convex; the work grows with their square."""

MOST_WORK = 4e8
"""Pairs of corners of all such polygons of one file: about half a minute."""

STEP = 2_000
"""Pairs of corners that take the time of one step's own cost."""

TRIES = 64
"""How many corners are tried for the cut to a hole, the nearest first."""

FLAT = 1e-12
"""Turns below this share of a polygon's squared size are straight."""


class WorkBudget:
    """What the concave polygons of one file took so far."""

    def __init__(self) -> None:
        self._pairs = 0.0

    def add(self, size: int, pairs: float) -> None:
        """Reckon with polygons of so many corners before they are begun.

        Raises:
            ValueError: if that would take too long.
        """
        self._pairs += pairs
        if size > LARGEST or self._pairs > MOST_WORK:
            raise ValueError(f"its concave faces are too large or too many, such as one of {size} corners")


def triangulate(points: Floats, counts: Indices, budget: WorkBudget) -> tuple[Indices, Indices]:
    """Triangles of planar polygons without holes.

    Polygons that are not quite planar are cut as their projection along their mean normal. One that crosses itself
    has no right answer; it gets as many triangles as any other.

    Args:
        points: ``(C, 3)`` the corners of all polygons, one polygon after the other.
        counts: ``(P,)`` how many corners each of them has; those with fewer than three give nothing.
        budget: of the file that they are of.

    Returns:
        ``(T, 3)`` which corners of ``points`` are a triangle's, and ``(T,)`` the polygon that it is of, in order.

    Raises:
        ValueError: if that would take too long.
    """
    begin = np.cumsum(counts) - counts
    triangles, owners = [], []
    for size in np.unique(counts[counts >= 3]):
        chosen = np.flatnonzero(counts == size)
        for some in np.array_split(chosen, max(1, len(chosen) * size // TOGETHER)):
            corners = begin[some][:, None] + np.arange(size)
            local = np.broadcast_to(fan(int(size)), (len(some), size - 2, 3)).copy()
            if size > 3:
                flat = projected(points[corners])
                concave = ~_convex(flat)
                if concave.any():
                    budget.add(int(size), size * (np.count_nonzero(concave) * float(size) + STEP))
                    local[concave] = _clip(flat[concave])
            triangles.append(np.take_along_axis(corners[:, None, :], local, axis=2).reshape(-1, 3))
            owners.append(np.repeat(some, size - 2))
    if not triangles:
        return np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=np.int64)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(triangles)[order], owner[order]


def strip(count: int) -> Indices:
    """Triangles ``(T, 3)`` of a strip of so many vertices, all of one direction."""
    first = np.arange(max(count - 2, 0))
    odd = first % 2
    return np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)


def fan(count: int) -> Indices:
    """Triangles ``(T, 3)`` of a fan of so many vertices about the first."""
    second = np.arange(1, max(count - 1, 1))
    return np.stack([np.zeros_like(second), second, second + 1], axis=1)


def projected(corners: Floats) -> Floats:
    """Polygons ``(P, N, 3)`` in the plane ``(P, N, 2)`` that they lie closest to of the three between the axes; all run
    counter-clockwise in it."""
    with np.errstate(all="ignore"):
        relative = corners - corners[:, :1]
        normal = np.cross(relative, np.roll(relative, -1, axis=1)).sum(axis=1)
        axis = np.argmax(np.abs(normal), axis=1)
        rows = np.arange(len(corners))
        first = np.where(normal[rows, axis] >= 0, (axis + 1) % 3, (axis + 2) % 3)
        second = 3 - axis - first
        flat: Floats = np.stack([relative[rows, :, first], relative[rows, :, second]], axis=2)
    return flat


def _cross(a: Floats, b: Floats) -> Floats:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _tolerance(flat: Floats) -> Floats:
    extent: Floats = np.ptp(flat, axis=1).max(axis=1)
    return FLAT * extent**2


def _convex(flat: Floats) -> NDArray[np.bool_]:
    edge = np.roll(flat, -1, axis=1) - flat
    turn = _cross(np.roll(edge, 1, axis=1), edge)
    convex: NDArray[np.bool_] = (turn >= -_tolerance(flat)[:, None]).all(axis=1)
    return convex


def _clip(flat: Floats) -> Indices:
    """Triangles ``(P, N - 2, 3)`` of counter-clockwise polygons ``(P, N, 2)``: again and again one corner is cut off
    at which the polygon is convex and in whose triangle no other corner lies."""
    polygons, size, _ = flat.shape
    rows = np.arange(polygons)
    x, y = np.ascontiguousarray(flat[..., 0]), np.ascontiguousarray(flat[..., 1])
    before = np.broadcast_to(np.roll(np.arange(size), 1), (polygons, size)).copy()
    after = np.broadcast_to(np.roll(np.arange(size), -1), (polygons, size)).copy()
    left = np.ones((polygons, size), dtype=bool)
    turn, ear = np.empty((polygons, size)), np.empty((polygons, size), dtype=bool)
    tolerance = _tolerance(flat)

    def judge(corner: Indices) -> None:
        a, b, c = (flat[rows, i] for i in (before[rows, corner], corner, after[rows, corner]))
        back, on = a - b, c - b
        area = _cross(on, back)
        # How far every corner lies from the triangle's two sides at b, as shares of its area.
        dx, dy = x - b[:, :1], y - b[:, 1:]
        to_on = on[:, :1] * dy - on[:, 1:] * dx
        to_back = dx * back[:, 1:] - dy * back[:, :1]
        inside = left & (to_on >= 0) & (to_back >= 0) & (to_on + to_back <= area[:, None])
        row, other = np.nonzero(inside)
        point = flat[row, other]
        # Not a corner that stands where one of the three does, as where holes are joined to the rim.
        apart = np.logical_and.reduce([(point != p[row]).any(axis=1) for p in (a, b, c)])
        turn[rows, corner] = area
        ear[rows, corner] = area > tolerance
        ear[row[apart], corner[row[apart]]] = False

    for corner in range(size):
        judge(np.full(polygons, corner))
    triangles = np.empty((polygons, size - 2, 3), dtype=np.int64)
    for step in range(size - 2):
        # Without an ear what is left is flat, or crosses itself.
        straight = np.where(left, -np.abs(turn), -np.inf)
        cut = np.where((ear & left).any(axis=1), np.argmax(ear & left, axis=1), np.argmax(straight, axis=1))
        previous, following = before[rows, cut], after[rows, cut]
        triangles[:, step] = np.stack([previous, cut, following], axis=1)
        left[rows, cut] = False
        after[rows, previous], before[rows, following] = following, previous
        judge(previous)
        judge(following)
    return triangles


def joined_with_holes(rim: Floats, holes: list[Floats], budget: WorkBudget) -> Indices:
    """The corners of a polygon with holes as one polygon's, which enters every hole through a cut and leaves it again.

    Args:
        rim: ``(N, 3)``.
        holes: ``(M, 3)`` each, in either direction.
        budget: of the file that it is of.

    Returns:
        ``(K,)`` indices into the corners of the rim and then of the holes, some of them twice.

    Raises:
        ValueError: if the holes don't lie within the rim, or are too many.
    """
    points = np.concatenate([rim, *holes])
    budget.add(len(points) + 2 * len(holes), len(holes) * (8.0 * len(points) + STEP))
    flat = _flat_like_rim(points, len(rim))
    outline = list(range(len(rim)))
    rings = []
    begin = len(rim)
    for hole in holes:
        ring = list(range(begin, begin + len(hole)))
        begin += len(hole)
        if len(ring) >= 3:
            x, y = flat[ring].T
            rings.append(ring if (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() < 0 else ring[::-1])
    edges = [np.stack([r, np.roll(r, -1)], axis=1) for r in (outline, *rings)]
    walls = flat[np.concatenate(edges)]
    for ring in sorted(rings, key=lambda r: -flat[r, 0].max()):
        start = int(np.argmax(flat[ring, 0]))
        ring = [*ring[start:], *ring[:start]]
        at = _visible(flat, outline, ring[0], walls)
        outline[at : at + 1] = [outline[at], *ring, ring[0], outline[at]]
    return np.array(outline)


def _flat_like_rim(points: Floats, rim: int) -> Floats:
    relative = points - points[0]
    normal = np.cross(relative[:rim], np.roll(relative[:rim], -1, axis=0)).sum(axis=0)
    axis = int(np.argmax(np.abs(normal)))
    first = (axis + 1) % 3 if normal[axis] >= 0 else (axis + 2) % 3
    flat: Floats = relative[:, [first, 3 - axis - first]]
    return flat


def _visible(flat: Floats, outline: list[int], point: int, walls: Floats) -> int:
    """The place in ``outline`` of the nearest corner from which a straight cut reaches ``point`` within the polygon."""
    goal = flat[point]
    corners = flat[outline]
    to_goal = goal - corners
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    leftwards = _cross(before, to_goal) > 0, _cross(after, to_goal) > 0
    inwards = np.where(_cross(before, after) >= 0, leftwards[0] & leftwards[1], leftwards[0] | leftwards[1])
    p, q = walls[:, 0], walls[:, 1]
    near = np.argsort((to_goal**2).sum(axis=1), kind="stable")
    for at in near[inwards[near]][:TRIES]:
        corner = corners[at]
        ends = ((p == corner) | (p == goal)).all(axis=1) | ((q == corner) | (q == goal)).all(axis=1)
        sides = _cross(q - p, corner - p) * _cross(q - p, goal - p)
        across = _cross(goal - corner, p - corner) * _cross(goal - corner, q - corner)
        if not ((sides <= 0) & (across <= 0) & ~ends).any():
            return int(at)
    raise ValueError("it has a face whose holes don't lie within its rim")
