# SPDX-License-Identifier: GPL-3.0-or-later
"""Where triangles appear in an image: which of them each pixel shows, and the box around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .intrinsics import Intrinsics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LARGE = 1 << 10
"""Triangles whose box has more pixels are looked at one by one."""
CHUNK = 1 << 19
"""So many pairs of a small triangle and a pixel are looked at together, and a few more."""

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
    first, size, chosen = _boxes(vertices, triangles, k, near)
    lines = _lines(vertices, triangles[chosen], k)
    kept = values[chosen]
    closeness, result = np.zeros(k.height * k.width), np.zeros(k.height * k.width, np.uint16)
    counts = size[:, 0] * size[:, 1]
    large = counts > LARGE
    for index in np.flatnonzero(large):
        _draw_large(lines[:, :, index], first[index], size[index], kept[index], (closeness, result), k.width, near)
    small = np.flatnonzero(~large)
    ends = np.cumsum(counts[small])
    for stop in range(CHUNK, int(ends[-1] if len(ends) else 0) + CHUNK, CHUNK):
        part = small[(ends > stop - CHUNK) & (ends <= stop)]
        _draw_small(lines[:, :, part], first[part], size[part], kept[part], (closeness, result), k.width, near)
    return result.reshape(k.height, k.width)


def pairs(vertices: Floats, triangles: Integers, k: Intrinsics, near: float = 1e-6) -> int:
    """How many pairs of a triangle and a pixel :func:`numbers` looks at, which is what its time goes by."""
    _, size, _ = _boxes(vertices, triangles, k, near)
    return int((size[:, 0] * size[:, 1]).sum())


def _lines(vertices: Floats, triangles: Integers, k: Intrinsics) -> Floats:
    """``(3, 3, T)``: where a pixel's ray meets the plane of a triangle, the weights of its corners (first axis) are
    these functions of u, v, 1 (second axis). Their sum is one over the distance from the camera's plane."""
    a, b, c = (vertices[corner] for corner in triangles.T)
    lines = np.array([np.cross(b, c).T, np.cross(c, a).T, np.cross(a, b).T])
    volume = (a.T * lines[0]).sum(axis=0)
    flat = volume == 0
    lines /= np.where(flat, 1.0, volume)
    # Seen from its edge a triangle is nowhere.
    lines[:, :, flat] = -1.0
    lines[:, 0] /= k.fx
    lines[:, 1] /= k.fy
    lines[:, 2] -= lines[:, 0] * k.cx + lines[:, 1] * k.cy
    return lines


Canvas = tuple[Floats, NDArray[np.uint16]]
"""One over the distance of what each pixel shows ``(H * W,)``, 0 for nothing, and its value."""


def _draw_large(
    lines: Floats, first: Integers, size: Integers, value: np.uint16, canvas: Canvas, width: int, near: float
) -> None:
    """One triangle, at all pixels of its box at once."""
    u, v = np.arange(first[0], first[0] + size[0]), np.arange(first[1], first[1] + size[1])[:, None]
    weights = [(line[0] * u + line[2]) + line[1] * v for line in lines]
    found = weights[0] + weights[1] + weights[2]
    closeness, result = (c.reshape(-1, width)[v[0, 0] : v[-1, 0] + 1, u[0] : u[-1] + 1] for c in canvas)
    won = (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0) & (found < 1 / near) & (found > closeness)
    closeness[won] = found[won]
    result[won] = value


def _draw_small(
    lines: Floats, first: Integers, size: Integers, values: NDArray[np.uint16], canvas: Canvas, width: int, near: float
) -> None:
    """Many triangles, at all pairs of one of them and a pixel of its box."""
    closeness, result = canvas
    counts = size[:, 0] * size[:, 1]
    which = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    down = place // size[which, 0]
    u, v = first[which, 0] + place - down * size[which, 0], first[which, 1] + down
    weights = [line[0].take(which) * u + line[1].take(which) * v + line[2].take(which) for line in lines]
    hit = np.flatnonzero((weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0))
    which, pixel = which[hit], (v * width + u)[hit]
    found = weights[0][hit] + weights[1][hit] + weights[2][hit]
    found[found >= 1 / near] = -1.0
    np.maximum.at(closeness, pixel, found)
    won = found == closeness[pixel]
    result[pixel[won]] = values[which[won]]


def _boxes(vertices: Floats, triangles: Integers, k: Intrinsics, near: float) -> tuple[Integers, Integers, Integers]:
    """First pixel ``(N, 2)`` and size ``(N, 2)`` of the pixels that can show a triangle, and which triangle it is."""
    front = vertices[:, 2] > near
    z = np.where(front, vertices[:, 2], 1.0)
    u, v = k.fx * vertices[:, 0] / z + k.cx, k.fy * vertices[:, 1] / z + k.cy
    # One corner after the other: numpy is slow where an axis is three long.
    corners = [np.ascontiguousarray(c) for c in triangles.T]
    whole, some = (f(f(*(front[c] for c in corners[:2])), front[corners[2]]) for f in (np.logical_and, np.logical_or))
    crossing = some & ~whole
    first, size = np.zeros((2, len(triangles), 2), np.int64)
    for axis, (place, pixels) in enumerate(((u, k.width), (v, k.height))):
        a, b, c = (place[i] for i in corners)
        least = np.ceil(np.clip(np.minimum(np.minimum(a, b), c), 0, pixels))
        most = np.floor(np.clip(np.maximum(np.maximum(a, b), c), -1, pixels - 1))
        # What passes through the camera's plane may appear anywhere.
        least[crossing], most[crossing] = 0, pixels - 1
        first[:, axis], size[:, axis] = least, most - least + 1
    chosen = np.flatnonzero((size[:, 0] > 0) & (size[:, 1] > 0) & some)
    return first[chosen], size[chosen], chosen


def bounds(vertices: Floats, triangles: Integers, k: Intrinsics) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of the triangles' parts that lie in the image, in pixels, seen or occluded; None if
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
    a, b, c = triangles.T
    leaving = ~(inside[a] & inside[b] & inside[c])
    for beyond in (vertices @ sides.T < 0).T:
        leaving &= ~(beyond[a] & beyond[b] & beyond[c])
    if leaving.any():
        corners = vertices[triangles[leaving]]
        found += [_followed(corners, sides, k), _covered_corners(corners, k)]
    points = np.concatenate(found)
    if not len(points):
        return None
    u, v = points.T
    return float(u.min()), float(v.min()), float(u.max()), float(v.max())


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
