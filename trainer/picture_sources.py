# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pictures come from: image files, folders and patterns of them, video files, and a webcam."""

from __future__ import annotations

import glob
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from . import photograph
from .photograph import Photograph

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ogv")
WEBCAM = re.compile(r"webcam:([0-9]+)")


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        source: the file's name, or ``webcam:N``.
        pixels: RGB or RGBA ``(h, w, 3 or 4)``.
        frame, seconds: number and time of a video's frame, from 0; None for an image.
        size: width and height of a picture that ``pixels`` is a smaller copy of; None where it is the picture.
    """

    source: str
    pixels: NDArray[np.uint8]
    frame: int | None = None
    seconds: float | None = None
    size: tuple[int, int] | None = None

    @property
    def photograph(self) -> Photograph:
        """The same without its source."""
        height, width = self.pixels.shape[:2]
        return Photograph(self.pixels, *(self.size or (width, height)))


@dataclass(frozen=True)
class Source:
    """A file, or a webcam.

    Attributes:
        name: the file's name, or ``webcam:N``.
        kind: ``image``, ``video`` or ``webcam``.
    """

    name: str
    kind: str

    def pictures(self, frames: int | None = None) -> Iterator[Picture]:
        """All pictures, of a video or webcam ``frames`` at most.

        Raises:
            UserError: if it can't be read.
        """
        if self.kind == "image":
            read = photograph.read(self.name)
            yield Picture(self.name, read.pixels, size=(read.width, read.height))
            return
        cv2 = opencv()
        found = WEBCAM.fullmatch(self.name)
        capture = cv2.VideoCapture(int(found[1]) if found is not None else self.name)
        begin = time.monotonic()
        try:
            number = 0
            while frames is None or number < frames:
                # Frames are RGB in this project and BGR in OpenCV.
                there, pixels = capture.read() if capture.isOpened() else (False, None)
                if not there or pixels is None:
                    break
                live = time.monotonic() - begin
                seconds = live if found is not None else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
                yield Picture(self.name, np.ascontiguousarray(pixels[..., ::-1]), number, seconds)
                number += 1
            if number == 0 and found is not None:
                raise UserError(f"There is no webcam {found[1]}: connect one, or choose another number")
            if number == 0:
                raise UserError(f"{self.name} can't be read as a video: choose another")
        finally:
            capture.release()

    def rate(self) -> float:
        """Frames per second as a video file says; 0 where it does not."""
        if self.kind != "video":
            return 0.0
        cv2 = opencv()
        capture = cv2.VideoCapture(self.name)
        try:
            rate = float(capture.get(cv2.CAP_PROP_FPS))
        finally:
            capture.release()
        return rate if 0 < rate < 1000 else 0.0


def find(given: Sequence[str]) -> list[Source]:
    """What the words of a command line mean.

    Args:
        given: files, folders (the images in them, by name), patterns such as ``'shots/*.png'``, ``webcam:0``.

    Raises:
        UserError: if one of them means nothing.
    """
    result: list[Source] = []
    for word in given:
        if WEBCAM.fullmatch(word):
            result.append(Source(word, "webcam"))
            continue
        path = Path(word)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES and p.is_file())
            if not inside:
                raise UserError(f"There are no images in {word}: choose another folder")
            result += [_file(p) for p in inside]
        elif path.exists() or not glob.has_magic(word):
            result.append(_file(path))
        else:
            matched = sorted(p for p in map(Path, glob.glob(word, recursive=True)) if p.is_file())
            if not matched:
                raise UserError(f"No file matches {word}: choose others")
            result += [_file(p) for p in matched]
    return result


def _file(path: Path) -> Source:
    return Source(str(path), "video" if path.suffix.lower() in VIDEOS else "image")


def opencv() -> Any:
    """OpenCV.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import cv2
    except ImportError as problem:
        raise UserError("Videos and webcams need OpenCV: run pip install opencv-python-headless") from problem
    return cv2
