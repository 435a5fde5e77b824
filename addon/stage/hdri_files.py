# SPDX-License-Identifier: GPL-3.0-or-later
"""HDRI pictures of worlds: found, reduced, and scaled to the same mean brightness."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UserError
from ...core.scene import catalogue

Floats = NDArray[np.float64]

LUMINANCE = (0.2126, 0.7152, 0.0722)
MARK = "robot_keypoints_world"
"""Custom property of the images that are made here: the file behind them."""


def locate(world: str) -> str:
    """The file of a world, given as one of :data:`.SHIPPED_WORLDS` or as a path.

    Raises:
        UserError: if it is not there.
    """
    if world not in catalogue.SHIPPED_WORLDS:
        if not Path(world).is_file():
            raise UserError(f"The HDRI world {world} is not there any more: choose the folder of worlds again")
        return world
    folder = bpy.utils.system_resource("DATAFILES", path=os.path.join("studiolights", "world"))
    path = Path(folder or "") / f"{world}.exr"
    if not folder or not path.is_file():
        raise UserError(f"This Blender lacks its own HDRI world {world!r}: install it whole, or keep the world plain")
    return str(path)


def light_width(render_width: int) -> int:
    """How wide a picture is that only lights: 2.8 degrees a pixel, so that a sun in it keeps its power and every pixel
    can be aimed at; half as much behind large renderings, which take long enough anyway."""
    return 128 if render_width <= 320 else 256


def seen_width(render_width: int) -> int:
    """How wide a whole horizon has to be to look sharp behind a picture of this width, lenses as they usually are; not
    so wide that eight of them would fill the memory."""
    return min(6 * render_width, 2048)


def load(path: str, width: int) -> tuple[Floats, str]:
    """A world's picture, scaled to a mean luminance of one over the sphere.

    Args:
        width: in pixels, that will be needed; what comes may be wider, or less where the file has less.

    Returns:
        linear pixels ``(H, W, 3)``, bottom row first, and the name of their colour space.

    Raises:
        UserError: if the file can't be read as a picture.
    """
    pixels, colour_space = _read(path, width)
    return pixels / (mean_luminance(pixels) or 1.0), colour_space


def image(path: str, pixels: Floats, colour_space: str) -> bpy.types.Image:
    """A world's picture as an image of Blender's; packed, so that a file that is saved with it shows it again."""
    height, width = pixels.shape[:2]
    result = bpy.data.images.new(f"Keypoints {Path(path).stem}", width, height, alpha=False, float_buffer=True)
    result.colorspace_settings.name = colour_space
    whole = np.ones((height, width, 4), np.float32)
    whole[..., :3] = pixels
    result.pixels.foreach_set(whole.ravel())
    result.update()
    result.pack()
    result[MARK] = path
    return result


def clear() -> None:
    """Remove the pictures that earlier stages left and nothing uses."""
    bpy.data.batch_remove([i for i in bpy.data.images if MARK in i and not i.users])


def mean_luminance(pixels: ArrayLike) -> float:
    """Mean over the sphere of an equirectangular picture ``(H, W, 3)``, linear."""
    p = np.asarray(pixels, dtype=np.float64)
    latitude = ((np.arange(p.shape[0]) + 0.5) / p.shape[0] - 0.5) * np.pi
    rows = (p @ LUMINANCE).mean(axis=1)
    return float(np.average(rows, weights=np.cos(latitude)))


def resized(pixels: ArrayLike, width: int) -> Floats:
    """An equirectangular picture ``(H, W, 3)`` at ``(width / 2, width, 3)``; each pixel is the mean of what it covers,
    so that no light is lost."""
    return _averaged(_averaged(np.asarray(pixels, dtype=np.float64), max(width // 2, 1), 0), width, 1)


def _averaged(a: Floats, count: int, axis: int) -> Floats:
    a = np.moveaxis(a, axis, 0)
    edges = np.linspace(0.0, len(a), count + 1)
    whole = np.minimum(edges.astype(int), len(a) - 1)
    sums = np.concatenate([np.zeros_like(a[:1]), a.cumsum(axis=0)])
    upto = sums[whole] + a[whole] * (edges - whole).reshape(-1, *[1] * (a.ndim - 1))
    # A difference of sums may come out a little below zero.
    return np.moveaxis(np.diff(upto, axis=0).clip(0.0, None) * (count / len(a)), 0, axis)


def _read(path: str, wanted: int) -> tuple[Floats, str]:
    """Linear pixels ``(H, W, 3)``, bottom row first, and the name of their colour space."""
    try:
        image = bpy.data.images.load(path)
    except RuntimeError as problem:
        raise _unreadable(path) from problem
    try:
        width, height = image.size
        if not (width and height and image.channels):
            raise _unreadable(path)
        flat = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(flat)
        pixels = _coarser(flat.reshape(height, width, image.channels)[..., :3], max(width // wanted, 1))
        if pixels.shape[2] < 3:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        # Some files have holes; a picture without a number lights nothing.
        return np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0).clip(0.0, None), image.colorspace_settings.name
    finally:
        bpy.data.images.remove(image)


def _coarser(pixels: NDArray[np.float32], factor: int) -> Floats:
    """Means of squares of so many pixels a side, if they fit; strip by strip, as whole pictures can be very large."""
    height, width = pixels.shape[:2]
    while height % factor or width % factor:
        factor -= 1
    strips = pixels.reshape(height // factor, factor, width // factor, factor, -1)
    return np.stack([strip.mean(axis=(0, 2), dtype=np.float64) for strip in strips])


def _unreadable(path: str) -> UserError:
    return UserError(f"The HDRI world {path} can't be read as a picture: replace it, or take it out of its folder")
