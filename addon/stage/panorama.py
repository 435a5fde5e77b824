# SPDX-License-Identifier: GPL-3.0-or-later
"""A world's picture laid behind a rendering: looked up once for every pixel, where tracing takes ten times as long."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core import srgb
from ...core.camera.intrinsics import Intrinsics
from . import hdri_files

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

BRIGHTEST = 100.0
"""What is brighter than so many times the mean is white in every picture."""
COARSEST = 64
"""Width of the coarsest level, in pixels."""


class Panorama:
    """An equirectangular picture at several sizes, each half as large as the one before."""

    def __init__(self, pixels: ArrayLike) -> None:
        """Take it in.

        Args:
            pixels: ``(H, W, 3)``, linear, bottom row first.
        """
        level = np.asarray(pixels, dtype=np.float64)
        self._levels = [_packed(level)]
        while level.shape[1] >= 2 * COARSEST:
            level = hdri_files.resized(level, level.shape[1] // 2)
            self._levels.append(_packed(level))

    @property
    def size(self) -> int:
        """The memory that it takes, in bytes."""
        return sum(level.nbytes for level in self._levels)

    def behind(
        self, picture: NDArray[np.uint8], camera: Intrinsics, rotation: ArrayLike, turn: float, gain: float, blur: float
    ) -> NDArray[np.uint8]:
        """A picture ``(H, W, 4)`` with straight alpha, opaque everywhere.

        Args:
            camera: the pinhole that took it.
            rotation: ``R_world_cam`` ``(3, 3)``.
            turn: of the world about z, radians.
            gain: factor on the world's radiance.
            blur: diameter in pixels of the spot that a distant point makes.
        """
        flat = picture.reshape(-1, 4)
        where = np.flatnonzero(flat[:, 3] < 255)
        v, u = np.divmod(where, picture.shape[1])
        azimuth, elevation = _directions(camera, np.asarray(rotation), u, v)
        level = self._level(2 * math.pi * camera.fx, blur)
        light = _interpolated(level, 0.5 - (azimuth - turn) / (2 * np.pi), elevation / np.pi + 0.5) * np.float32(gain)
        result = flat.copy()
        result[where] = over(flat[where], light)
        return result.reshape(picture.shape)

    def _level(self, circumference: float, blur: float) -> Floats:
        """The one whose pixels are as large as the blur, or as those of the picture where it is sharp."""
        spot = max(1.0, blur / 2.0)
        wanted = math.log2(max(self._levels[0].shape[1] * spot / circumference, 1.0))
        return self._levels[min(round(wanted), len(self._levels) - 1)]


class Plain:
    """A world that looks the same everywhere."""

    def behind(
        self, picture: NDArray[np.uint8], camera: Intrinsics, rotation: ArrayLike, turn: float, gain: float, blur: float
    ) -> NDArray[np.uint8]:
        """The picture behind the scene, as :meth:`Panorama.behind` gives it."""
        flat = picture.reshape(-1, 4)
        return over(flat, np.full((1, 3), gain, np.float32)).reshape(picture.shape)


def over(pixels: NDArray[np.uint8], light: Single) -> NDArray[np.uint8]:
    """Pixels ``(N, 4)``, display sRGB with straight alpha, over linear radiance ``(N or 1, 3)``; opaque."""
    result = np.full_like(pixels, 255)
    result[:, :3] = _shown(light)
    partly = np.flatnonzero(pixels[:, 3])
    if len(partly):
        alpha = pixels[partly, 3:].astype(np.float32) / np.float32(255)
        behind = light if len(light) == 1 else light[partly]
        result[partly, :3] = _shown(alpha * _LINEAR[pixels[partly, :3]] + (1 - alpha) * behind.clip(0.0, 1.0))
    return result


def _shown(light: Single) -> NDArray[np.uint8]:
    """Linear radiance as display sRGB."""
    top = np.float32(len(_DISPLAY) - 1)
    return np.asarray(_DISPLAY.take((light * top + np.float32(0.5)).clip(0.0, top).astype(np.int32)))


def _directions(
    camera: Intrinsics, rotation: NDArray[np.float64], u: NDArray[np.intp], v: NDArray[np.intp]
) -> tuple[Single, Single]:
    """Azimuth and elevation in the world of what each pixel sees."""
    r = (rotation / np.linalg.norm(rotation, axis=0)).astype(np.float32)
    x = ((u - camera.cx) / camera.fx).astype(np.float32)
    y = ((v - camera.cy) / camera.fy).astype(np.float32)
    e, n, up = (r[i, 0] * x + r[i, 1] * y + r[i, 2] for i in range(3))
    return np.arctan2(n, e), np.arctan2(up, np.sqrt(e * e + n * n))


def _packed(pixels: Floats) -> Floats:
    """Pixels ``(H, W, 3)`` as roots in four times two bytes, in one number each, ``(H, W)``: so they are fetched and
    unpacked fastest."""
    result = np.zeros((*pixels.shape[:2], 4), np.uint16)
    result[..., :3] = np.sqrt(pixels.clip(0.0, BRIGHTEST) / BRIGHTEST) * 65535 + 0.5
    return result.view(np.float64)[..., 0]


def _interpolated(level: Floats, u: Single, v: Single) -> Single:
    """Bilinear between the centres of pixels; around the horizon the picture goes on, at the poles it ends."""
    height, width = level.shape
    x = (u - np.floor(u)) * np.float32(width) - np.float32(0.5)
    y = (v * np.float32(height) - np.float32(0.5)).clip(0, height - 1)
    left, low = np.floor(x), np.floor(y)
    fx, fy = (x - left)[:, None], (y - low)[:, None]
    a, c = left.astype(np.int32), low.astype(np.int32)
    b, d = (a + 1) % width, np.minimum(c + 1, height - 1) * width
    a, c = a % width, c * width
    pixels = level.ravel()

    def at(index: NDArray[np.int32]) -> Single:
        root = pixels.take(index).view(np.uint16).reshape(-1, 4).astype(np.float32)
        return root * root

    bottom, top = at(c + a), at(d + a)
    bottom += fx * (at(c + b) - bottom)
    top += fx * (at(d + b) - top)
    bottom += fy * (top - bottom)
    return bottom[:, :3] * np.float32(BRIGHTEST / 65535**2)


_LINEAR = srgb.linear(np.arange(256) / 255.0).astype(np.float32)
_DISPLAY = np.searchsorted(srgb.linear((np.arange(255) + 0.5) / 255.0), np.linspace(0.0, 1.0, 1 << 16)).astype(np.uint8)
