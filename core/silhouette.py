# SPDX-License-Identifier: GPL-3.0-or-later
"""Where triangles appear in an image: which of them each pixel shows, and the box around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .camera import Intrinsics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CHUNK = 1 << 20
"""So many pairs of a triangle and a pixel are looked at together."""

STEPS = 16
"""Pieces in which an edge that leaves the image is followed."""
HALVINGS = 16
"""Of a piece, to find where it leaves."""


def numbers(
    vertices: Floats, triangles: Integers, values: NDArray[np.uint16], k: Intrinsics, near: float = 1e-6
) -> NDArray[np.uint16]:
    """The value of the nearest triangle at the middle of every pixel of a pinhole camera, ``(H, W)``; 0 where none is.

    Args:
        vertices: ``(V, 3)`` in the camera frame, metres.
        triangles: ``(T, 3)`` indices of vertices.
        values: ``(T,)``; 0 hides what is behind without showing itself.
        near: what is nearer to the camera's plane is not seen, metres.
    """
    result = np.zeros(k.width * k.height, np.uint16)
    nearest = np.full(k.width * k.height, 0.0)
    first, size, chosen = _boxes(vertices, triangles, k, near)
    a, b, c = (vertices[triangles[chosen, i]] for i in range(3))
    # A pixel's ray meets the plane of a triangle where the weights of its corners are these, as functions of u, v, 1.
    lines = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    volume = np.einsum("ij,ij->i", a, lines[:, 0])
    flat = volume == 0
    lines /= np.where(flat, 1.0, volume)[:, None, None]
    lines[flat] = -1.0
    lines[..., 0] /= k.fx
    lines[..., 1] /= k.fy
    lines[..., 2] -= lines[..., 0] * k.cx + lines[..., 1] * k.cy
    counts = size[:, 0] * size[:, 1]
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHUNK, side="right")))
        part = slice(start, stop)
        which = np.repeat(np.arange(start, stop), counts[part])
        offset = np.arange(len(which)) - np.repeat(
            ends[part] - counts[part] - (ends[start] - counts[start]), counts[part]
        )
        row, column = np.divmod(offset, size[which, 0])
        u, v = first[which, 0] + column, first[which, 1] + row
        weights = [lines[which, i, 0] * u + lines[which, i, 1] * v + lines[which, i, 2] for i in range(3)]
        hit = (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0)
        closeness = (weights[0] + weights[1] + weights[2])[hit]
        pixel = (v * k.width + u)[hit]
        which = which[hit]
        seen = (closeness < 1 / near) & (closeness > nearest[pixel])
        closeness, pixel, which = closeness[seen], pixel[seen], which[seen]
        np.maximum.at(nearest, pixel, closeness)
        won = closeness == nearest[pixel]
        result[pixel[won]] = values[chosen[which[won]]]
        start = stop
    return result.reshape(k.height, k.width)


def _boxes(vertices: Floats, triangles: Integers, k: Intrinsics, near: float) -> tuple[Integers, Integers, Integers]:
    """First pixel ``(N, 2)`` and size ``(N, 2)`` of the pixels that can show a triangle, and which triangle it is."""
    front = vertices[:, 2] > near
    z = np.where(front, vertices[:, 2], 1.0)
    u, v = k.fx * vertices[:, 0] / z + k.cx, k.fy * vertices[:, 1] / z + k.cy
    ahead = front[triangles]
    whole = ahead.all(axis=1)
    crossing = ahead.any(axis=1) & ~whole
    first, last = np.zeros((2, len(triangles), 2), np.int64)
    for axis, (place, pixels) in enumerate(((u, k.width), (v, k.height))):
        corners = place[triangles]
        first[:, axis] = np.ceil(np.clip(corners.min(axis=1), 0, pixels))
        last[:, axis] = np.floor(np.clip(corners.max(axis=1), -1, pixels - 1))
        # What passes through the camera's plane may appear anywhere.
        first[crossing, axis], last[crossing, axis] = 0, pixels - 1
    size = last - first + 1
    chosen = np.flatnonzero((size > 0).all(axis=1) & (whole | crossing))
    return first[chosen], size[chosen], chosen


def bounds(vertices: Floats, triangles: Integers, k: Intrinsics) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of the triangles' parts that lie in the image, in pixels, seen or hidden; None if
    there are none.

    Args:
        vertices: ``(V, 3)`` in the camera frame, metres.
        triangles: ``(T, 3)`` indices of vertices.
    """
    pixels, _ = k.project(vertices)
    inside = k.contains(pixels)
    # The box is spanned by vertices, by edges where they leave the image, and by corners of the image.
    found = [pixels[inside]]
    sides = _sight(k)
    out = (vertices @ sides.T < 0)[triangles].all(axis=1).any(axis=1)
    leaving = np.flatnonzero(~out & ~inside[triangles].all(axis=1))
    if len(leaving):
        corners = vertices[triangles[leaving]]
        found += [_followed(corners, sides, k), _covered_corners(corners, k)]
    points = np.concatenate(found)
    if not len(points):
        return None
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _sight(k: Intrinsics) -> Floats:
    """A pyramid that holds all that the lens sees: ``(5, 3)``, whose products with a point inside are positive."""
    right, bottom = k.width - 0.5, k.height - 0.5
    border = np.array([(u, v) for u in (-0.5, k.cx, right) for v in (-0.5, k.cy, bottom)])
    rays = (k.undistort(border) - (k.cx, k.cy)) / (k.fx, k.fy)
    # A lens sees furthest in its corners, or else along its axes; where it sees nothing, its limit is further still.
    limit = k.lens.limit
    left, top = np.nan_to_num(rays.min(axis=0), nan=-limit) * 1.02
    right, bottom = np.nan_to_num(rays.max(axis=0), nan=limit) * 1.02
    return np.array([(1, 0, -left), (-1, 0, right), (0, 1, -top), (0, -1, bottom), (0, 0, 1.0)])


def _followed(corners: Floats, sides: Floats, k: Intrinsics) -> Floats:
    """Points of the triangles' edges ``(T, 3, 3)`` that lie in the image, and where they leave it."""
    a, b = corners.reshape(-1, 3), corners[:, (1, 2, 0)].reshape(-1, 3)
    # What is left of each edge in the pyramid, as shares of its length.
    at_a, at_b = a @ sides.T, b @ sides.T
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = at_a / (at_a - at_b)
    first = np.where((at_a < 0) & (at_b >= 0), crossing, 0.0).max(axis=1)
    last = np.where((at_a >= 0) & (at_b < 0), crossing, 1.0).min(axis=1)
    kept = (first < last) & ~((at_a < 0) & (at_b < 0)).any(axis=1)
    a, b = a[kept], b[kept]
    a, b = a + first[kept, None] * (b - a), a + last[kept, None] * (b - a)
    # Evenly in the picture, not in space.
    share = np.linspace(0, 1, STEPS + 1)[:, None, None]
    ahead, behind = (1 - share) * np.maximum(b[:, 2:], 1e-9), share * np.maximum(a[:, 2:], 1e-9)
    points = (ahead * a + behind * b) / (ahead + behind)
    shape = points.shape[:2]
    pixels = k.project(points)[0].reshape(*shape, 2)
    inside = k.contains(pixels).reshape(shape)
    found = [pixels[inside]]
    for step, other in ((slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1))):
        leaves = inside[step] & ~inside[other]
        found.append(_border(points[step][leaves], points[other][leaves], k))
    return np.concatenate(found)


def _border(inside: Floats, outside: Floats, k: Intrinsics) -> Floats:
    """Pixels ``(N, 2)`` where the ways from points inside the image to points outside cross its border."""
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        within = k.contains(k.project(middle)[0])[:, None]
        inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
    return k.project(inside)[0]


def _covered_corners(corners: Floats, k: Intrinsics) -> Floats:
    """The image's corners that lie in one of the triangles ``(T, 3, 3)``."""
    places = np.array([(u, v) for u in (-0.5, k.width - 0.5) for v in (-0.5, k.height - 0.5)])
    rays = np.ones((4, 3))
    rays[:, :2] = (k.undistort(places) - (k.cx, k.cy)) / (k.fx, k.fy)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    sides = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    weights = sides @ rays.T * np.sign(np.einsum("ij,ij->i", a, sides[:, 0]))[:, None, None]
    return np.asarray(places[(weights > 0).all(axis=1).any(axis=0)])
