# SPDX-License-Identifier: GPL-3.0-or-later
"""The photograph that a pose is found in: an image file, or one frame of a sequence or a movie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import imbuf  # type: ignore[import-not-found]
import numpy as np

from ...core.errors import UserError
from . import viewport_capture


@dataclass(frozen=True)
class Picture:
    """What is sent: ``file`` with an encoded image, or ``rgb`` rows, top first.

    Attributes:
        path: the image's file, the first one of a sequence.
        frame: which one of several; 1 for an image.
        frames: how many there are.
    """

    encoding: str
    width: int
    height: int
    data: bytes
    path: Path
    frame: int = 1
    frames: int = 1


def block(path: str) -> bpy.types.Image:
    """The image block of a file; loaded if it isn't.

    Raises:
        UserError: if it is no image.
    """
    if not path:
        raise UserError("No photograph is chosen: open one first")
    file = Path(bpy.path.abspath(path))
    if not file.is_file():
        raise UserError(f"There is no image at {file}: choose another")
    image = viewport_capture.find_image(file)
    if image is None:
        try:
            image = bpy.data.images.load(str(file))
        except RuntimeError as problem:
            raise UserError(f"{file} can't be opened as an image: choose another") from problem
    # A sequence has no size before one of its frames was drawn.
    if image.source != "SEQUENCE" and not (image.size[0] and image.size[1]):
        if not image.users:
            bpy.data.images.remove(image)
        raise UserError(f"{file} can't be opened as an image: choose another")
    return image


def moving(path: str) -> bool:
    """Whether the chosen photograph has several frames. Cheap: panels ask while they draw."""
    image = viewport_capture.find_image(Path(bpy.path.abspath(path))) if path else None
    return image is not None and image.source in ("MOVIE", "SEQUENCE")


def read(scene: bpy.types.Scene, path: str) -> Picture:
    """The photograph, or the frame of it that the scene's current frame shows.

    Raises:
        UserError: if it can't be read.
    """
    image = block(path)
    file = Path(bpy.path.abspath(path))
    if image.source == "MOVIE":
        width, height = image.size
        frames = image.frame_duration
        frame = frame_of(scene, image, frames)
        return Picture("rgb", width, height, _movie_frame(image, frame), file, frame, frames)
    if image.source == "SEQUENCE":
        files = sequence(file)
        frame = frame_of(scene, image, len(files))
        return Picture("file", *_size(files[frame - 1]), _bytes(files[frame - 1]), file, frame, len(files))
    return Picture("file", *_size(file), _bytes(file), file)


def current(scene: bpy.types.Scene, path: str) -> int:
    """The frame, from 1, that :func:`read` would give."""
    image = block(path)
    if image.source == "MOVIE":
        return frame_of(scene, image, int(image.frame_duration))
    return frame_of(scene, image, len(sequence(Path(bpy.path.abspath(path))))) if image.source == "SEQUENCE" else 1


def sequence(file: Path) -> list[Path]:
    """The numbered files that one of them belongs to, in order, from the first; itself alone where it has no number."""
    matched = re.fullmatch(r"(.*?)(\d+)(\D*)", file.name)
    if matched is None:
        return [file]
    before, digits, after = matched.groups()
    pattern = re.compile(re.escape(before) + rf"(\d{{{len(digits)}}})" + re.escape(after))
    numbered = {int(m[1]): p for p in file.parent.iterdir() if (m := pattern.fullmatch(p.name))}
    return [numbered[n] for n in sorted(numbered)] or [file]


def frame_of(scene: bpy.types.Scene, image: bpy.types.Image, frames: int) -> int:
    """Which frame, from 1, of an image with several the camera's background shows at the scene's current frame."""
    start, offset, cyclic = 1, 0, False
    slot = background(scene, image)
    if slot is not None:
        user = slot.image_user
        start, cyclic = user.frame_start, user.use_cyclic
        offset = user.frame_offset - (_first(image) - 1)
    number = scene.frame_current - start + 1
    if cyclic:
        number = (number - 1) % frames + 1
    return int(max(1, min(frames, max(1, min(frames, number)) + offset)))


def background(scene: bpy.types.Scene, image: bpy.types.Image) -> Any:
    """The scene camera's background that shows an image, or None."""
    camera = scene.camera
    if camera is None or camera.type != "CAMERA":
        return None
    return next((b for b in camera.data.background_images if b.image == image), None)


def show(scene: bpy.types.Scene, path: str, alone: bool = False) -> None:
    """Show the photograph in the scene's camera's view, half transparent before the rig so that both are seen.

    One that is shown transparently already keeps its opacity and its place before or behind the rig.

    Args:
        alone: whether it is to hide the rig.

    Raises:
        UserError: if it is no image.
    """
    image = block(path)
    known = background(scene, image)
    display = (1.0, "FRONT") if alone else (0.5, "FRONT")
    if not alone and known is not None and (known.alpha < 1.0 or known.display_depth == "BACK"):
        display = (known.alpha, known.display_depth)
    viewport_capture.put_behind_camera(scene, image)
    slot = background(scene, image)
    slot.alpha, slot.display_depth = display
    render = scene.render
    # A fitted picture would not know of pixels that aren't square.
    slot.frame_method = "FIT" if render.pixel_aspect_x == render.pixel_aspect_y else "STRETCH"
    if image.source in ("MOVIE", "SEQUENCE") and known is None:
        user = slot.image_user
        user.frame_start, user.use_auto_refresh, user.use_cyclic = 1, True, False
        files = sequence(Path(bpy.path.abspath(path)))
        user.frame_duration = image.frame_duration if image.source == "MOVIE" else len(files)
        user.frame_offset = _first(image) - 1


def _first(image: bpy.types.Image) -> int:
    """The number of a sequence's first file, by which Blender counts its frames; 1 for a movie."""
    if image.source != "SEQUENCE":
        return 1
    first = sequence(Path(bpy.path.abspath(image.filepath)))[0]
    digits = re.findall(r"\d+", first.name)
    return int(digits[-1]) if digits else 1


def _size(file: Path) -> tuple[int, int]:
    try:
        picture = imbuf.load(str(file))
    except (OSError, ValueError) as problem:
        raise UserError(f"{file} can't be opened as an image: choose another") from problem
    width, height = picture.size
    picture.free()
    return int(width), int(height)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise UserError(f"{file} can't be read ({problem.strerror}): choose another image") from problem


def _movie_frame(image: bpy.types.Image, frame: int) -> bytes:
    """RGB rows of a frame, top first. Blender only gives the frame that it has drawn last, so it is made to."""
    if bpy.app.background:
        raise UserError("A movie's frames can't be read without a window: open Blender's, or use an image sequence")
    image.gl_free()
    if image.gl_load(frame=frame):
        raise UserError(f"Frame {frame} of {image.name} can't be read: convert the movie, or use an image sequence")
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    rows = pixels.reshape(height, width, image.channels)[::-1, :, :3]
    return (rows * 255.0 + 0.5).astype(np.uint8).tobytes()
