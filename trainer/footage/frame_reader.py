# SPDX-License-Identifier: GPL-3.0-or-later
"""The pixels of footage's frames, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ..images import image_file
from ..inference.image_sources import Source
from .recording import Footage, Frame

Pixels = NDArray[np.uint8]


def read_frames(footage: Footage, camera: str) -> Iterator[tuple[int, Pixels]]:
    """Each frame's place in :attr:`.Footage.frames` and its RGB ``(h, w, 3)``, of one camera, in the order of time.

    Raises:
        UserError: if a file can't be read, or has another size than the camera's.
    """
    size = footage.camera(camera).size
    places = footage.of_camera(camera)
    if places and footage.frames[places[0]].index is not None:
        wanted = {footage.frames[p].index: p for p in places}
        last = max(k for k in wanted if k is not None)
        for picture in Source(str(footage.frames[places[0]].path), "video").pictures(last + 1):
            if picture.frame in wanted:
                yield wanted[picture.frame], _checked(picture.pixels, size, footage.frames[wanted[picture.frame]])
        return
    for place in places:
        frame = footage.frames[place]
        yield place, _checked(image_file.read(frame.path).pixels, size, frame)


def read_frame(path: Path, index: int | None) -> Pixels:
    """One frame's RGB ``(h, w, 3)``: an image file's, or that of a video with this number, from 0.

    Raises:
        UserError: if it can't be read.
    """
    if index is None:
        return np.ascontiguousarray(image_file.read(path).pixels[..., :3])
    for picture in Source(str(path), "video").pictures(index + 1):
        if picture.frame == index:
            return np.ascontiguousarray(picture.pixels[..., :3])
    raise UserError(f"{path} has no frame {index}: give the video that was labelled")


def grey(pixels: Pixels) -> Pixels:
    """Luminance ``(h, w)`` of RGB ``(h, w, 3)``."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(np.rint(pixels.astype(np.float32) @ weights), dtype=np.uint8)


def read_depth(frame: Frame, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Depths ``(h, w)`` in metres of a frame that has them, NaN where nothing was measured.

    Args:
        size: width and height of the camera's images, which depths must have as well.

    Raises:
        UserError: if the file is no image of 16 bits, or has another size.
    """
    import cv2

    if frame.depth is None:
        return None
    width, height = image_file.size_of(frame.depth)
    if (width, height) != size:
        raise UserError(
            f"{frame.depth} has {width} x {height} pixels, and the images of the camera {frame.camera} {size[0]} x "
            f"{size[1]}: give depths that are registered to them"
        )
    values = cv2.imread(str(frame.depth), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise UserError(f"{frame.depth} is no image of one channel of 16 bits: give depths in millimetres as PNG")
    metres = values.astype(np.float64) / 1000.0
    return np.where(values > 0, metres, np.nan)


def _checked(pixels: Pixels, size: tuple[int, int], frame: Frame) -> Pixels:
    height, width = pixels.shape[:2]
    if (width, height) != size:
        raise UserError(
            f"{frame.name} has {width} x {height} pixels, and the camera {frame.camera} {size[0]} x {size[1]}: give "
            "a camera for each size of image"
        )
    return np.ascontiguousarray(pixels[..., :3])
