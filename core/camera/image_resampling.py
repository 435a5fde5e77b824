# SPDX-License-Identifier: GPL-3.0-or-later
"""From the pinhole picture that a renderer makes to the picture that a lens shows."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .intrinsics import Intrinsics

CELLS = 24
"""Undistortion is solved exactly at so many places along the longer side, and interpolated by cubics in between."""

BLOCK = 1 << 13
"""Pixels that are worked on together: their intermediate results stay in the processor's cache."""

_LANES = np.uint64(0x00FF00FF00FF00FF)
_HALF = np.uint64(0x0080008000800080)
_BYTE = np.uint64(8)


class Resampler:
    """Where each pixel of one distorted picture lies in the pinhole picture of the same camera.

    The pinhole picture has the same focal length in pixels and reaches as far beyond the image as the lens does.

    Attributes:
        width, height: of the pinhole picture.
        left, top: where the image's top-left pixel lies in it, if there were no distortion.
    """

    def __init__(self, intrinsics: Intrinsics) -> None:
        self._intrinsics = k = intrinsics
        cell = max(k.width, k.height) / CELLS
        u, v = (np.linspace(-0.5, n - 0.5, max(4, math.ceil(n / cell) + 1)) for n in (k.width, k.height))
        nodes = k.undistort(np.stack(np.meshgrid(u, v), axis=2)).reshape(len(v), len(u), 2)
        shown = ~np.isnan(nodes[..., 0])
        smooth = shown & (_radius(intrinsics, nodes) < 0.85 * k.lens.limit)
        low, high = _reach(intrinsics, nodes, shown)
        # One more pixel on each side for the interpolation.
        self.left, self.top = (max(0, math.ceil(1 - c)) for c in low)
        self.width = max(k.width, math.floor(high[0]) + 2) + self.left
        self.height = max(k.height, math.floor(high[1]) + 2) + self.top
        across, along = _cubic(k.width, len(u)), _cubic(k.height, len(v))
        places = np.where(smooth[..., None], nodes + np.array([self.left, self.top]), 0.0).astype(np.float32)
        self._x, self._y = (along @ places[..., i] @ across.T for i in (0, 1))
        self._nothing: NDArray[np.intp] | None = None
        if not smooth.all():
            self._mend(((along != 0) @ ~smooth @ (across != 0).T) > 0)
        for coordinate, size in ((self._x, self.width), (self._y, self.height)):
            np.clip(coordinate, 0, size - 1.01, out=coordinate)

    def _mend(self, unsure: NDArray[np.bool_]) -> None:
        """Solve exactly where the picture is squeezed, or nothing is shown."""
        v, u = np.nonzero(unsure)
        exact = self._intrinsics.undistort(np.stack([u, v], axis=1)) + np.array([self.left, self.top])
        empty = np.isnan(exact[:, 0])
        self._x[unsure], self._y[unsure] = np.where(empty[:, None], 0.0, exact).T
        self._nothing = np.flatnonzero(unsure)[empty]

    def picture(self, pinhole: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The lens's picture ``(H, W, 4)`` of a pinhole picture ``(height, width, 4)``, both with straight alpha.

        Bilinear, with 8 bits of weight; what the lens does not show is transparent. Only where the pinhole picture
        holds anything is there anything to mix.
        """
        result = np.zeros((*self._x.shape, 4), np.uint8)
        box = _filled(pinhole)
        if box is None:
            return result
        left, top, right, bottom = box
        width = right - left
        source = _pack(np.ascontiguousarray(pinhole[top:bottom, left:right]))
        below = source[width:]
        places = self._reaching(box)
        x, y = self._x.take(places), self._y.take(places)
        mixed = np.empty(len(places), np.uint64)
        for start in range(0, len(places), BLOCK):
            part = slice(start, start + BLOCK)
            column, row = ((c[part] * 256 + 0.5).astype(np.int64) for c in (x, y))
            across, down = (column & 255).view(np.uint64), (row & 255).view(np.uint64)
            first = ((row >> 8) - top) * width + (column >> 8) - left
            upper = _mix(source.take(first), source[1:].take(first), across)
            mixed[part] = _mix(upper, _mix(below.take(first), below[1:].take(first), across), down)
        result.reshape(-1, 4)[places] = _unpack(mixed)
        if self._nothing is not None:
            result.reshape(-1, 4)[self._nothing] = 0
        return result

    def _reaching(self, box: tuple[int, int, int, int]) -> NDArray[np.intp]:
        """Which pixels of the image lie between four of the pinhole picture's that are all within a box."""
        left, top, right, bottom = box
        # Rounded to 1/256 of a pixel, as where they are mixed.
        edge = np.float32(1 / 512)
        inside = (self._x >= left - edge) & (self._x < right - 1 - edge)
        inside &= (self._y >= top - edge) & (self._y < bottom - 1 - edge)
        return np.flatnonzero(inside)

    def nearest(self, pinhole: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The lens's picture ``(H, W)`` of a pinhole picture ``(height, width)`` of numbers; 0 is nothing."""
        place = np.rint(self._y) * self.width + np.rint(self._x)
        result: NDArray[np.uint16] = pinhole.reshape(-1)[place.astype(np.intp)]
        if self._nothing is not None:
            result.ravel()[self._nothing] = 0
        return result


def _filled(picture: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what is not transparent in a picture, and a pixel around it where there is one."""
    filled = picture[..., 3] != 0
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    if not len(rows):
        return None
    height, width = filled.shape
    left, top = max(0, int(columns[0]) - 1), max(0, int(rows[0]) - 1)
    return left, top, min(width, int(columns[-1]) + 2), min(height, int(rows[-1]) + 2)


def _radius(k: Intrinsics, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot((pixels[..., 0] - k.cx) / k.fx, (pixels[..., 1] - k.cy) / k.fy)


def _reach(k: Intrinsics, nodes: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the lens sees, in pinhole pixels: the least and the greatest ``(u, v)``, ``(2, 2)``."""
    seen = nodes[shown]
    reach = np.array([seen.min(axis=0), seen.max(axis=0)]) if len(seen) else np.zeros((2, 2))
    if not shown.all():
        # The lens's limit lies in the image, somewhere beyond the last nodes, and there it squeezes the most.
        centre, f = np.array([k.cx, k.cy]), np.array([k.fx, k.fy])
        ends = (np.array([[-0.5, -0.5], [k.width - 0.5, k.height - 0.5]]) - centre) / f
        limit = k.lens.limit
        ends += np.array([[-3], [3]]) * (abs(k.lens.p1) + abs(k.lens.p2)) * limit**2
        ends = np.clip(ends * (limit / k.lens.shown_limit), -limit, limit)
        reach = np.array([np.minimum(reach[0], centre + f * ends[0]), np.maximum(reach[1], centre + f * ends[1])])
    return reach


@lru_cache(maxsize=8)
def _cubic(pixels: int, nodes: int) -> NDArray[np.float32]:
    """Weights ``(pixels, nodes)`` of Lagrange's cubics for nodes spread evenly from edge to edge of a row of pixels."""
    place = (np.arange(pixels) + 0.5) / pixels * (nodes - 1)
    first = np.clip(np.floor(place).astype(int) - 1, 0, nodes - 4)
    t = place - first
    weights = np.zeros((pixels, nodes))
    for i in range(4):
        others = [j for j in range(4) if j != i]
        weights[np.arange(pixels), first + i] = np.prod([(t - j) / (i - j) for j in others], axis=0)
    return weights.astype(np.float32)


def _pack(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Pixels ``(N,)``, each four lanes of 16 bits, with the colours multiplied by alpha."""
    flat = image.reshape(-1, 4)
    wide = flat.astype(np.uint16)
    partial = np.flatnonzero((flat[:, 3] - np.uint8(1)) < 254)
    alpha = wide[partial, 3:].astype(np.uint32)
    wide[partial, :3] = (wide[partial, :3] * alpha + 127) // 255
    packed: NDArray[np.uint64] = wide.view(np.uint64)[:, 0]
    packed *= flat[:, 3] != 0
    return packed


def _unpack(packed: NDArray[np.uint64]) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = packed[..., None].view(np.uint16).astype(np.uint8)
    flat = image.reshape(-1, 4)
    partial = np.flatnonzero((flat[:, 3] - np.uint8(1)) < 254)
    alpha = flat[partial, 3:].astype(np.uint32)
    colours = flat[partial, :3].astype(np.uint32)
    flat[partial, :3] = np.minimum((colours * 255 + alpha // 2) // alpha, 255)
    return image


def _mix(a: NDArray[np.uint64], b: NDArray[np.uint64], weight: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """All four lanes at once: ``weight`` is that of b, of 256."""
    # Wraps around on the way where b is darker, and back.
    mixed = b - a
    mixed *= weight
    mixed += a << _BYTE
    mixed += _HALF
    mixed >>= _BYTE
    mixed &= _LANES
    return mixed
