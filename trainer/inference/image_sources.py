# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pictures come from: image files, folders and patterns of them, video files, and a webcam."""

from __future__ import annotations

import glob
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.input_files import open_regular
from ..images import image_file
from ..images.image_file import Photograph

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ogv")
SURELY = 0.95
"""A video of fewer than this share of the frames that its file tells of has broken off."""

CONTAINER = re.compile(
    rb".{4}(ftyp|moov|mdat|free|skip|wide|pnot|uuid)|RIFF.{4}AVI |\x1aE\xdf\xa3|\x00\x00\x01[\xb0-\xbf]"
    rb"|\x00\x00\x00\x01|G.{187}G|.{4}G.{191}G|0&\xb2u|OggS",
    re.DOTALL,
)
"""How a video file begins: MP4 and QuickTime, AVI, Matroska, MPEG and its streams, Windows Media, Ogg. FFmpeg takes
others as well, among them lists of files to be played, which would read whatever a stranger has written into them."""

MOST_PIXELS = image_file.KEPT_PIXELS
"""Of a video's frame."""

WEBCAM = re.compile(r"webcam:([0-9]+)")


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        source: the file's name, or ``webcam:N``.
        pixels: RGB or RGBA ``(h, w, 3 or 4)``.
        frame, seconds: number and time of a video's frame, from 0; None for an image. A damaged video may know no time.
        size: width and height of a picture that ``pixels`` is a smaller copy of; None where it is the picture.
    """

    source: str
    pixels: NDArray[np.uint8]
    frame: int | None = None
    seconds: float | None = None
    size: tuple[int, int] | None = None

    @property
    def photograph(self) -> Photograph:
        """The picture as :mod:`.image_file` has it, without its source."""
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
            read = image_file.read(self.name)
            yield Picture(self.name, read.pixels, size=(read.width, read.height))
            return
        found = WEBCAM.fullmatch(self.name)
        cv2, capture = opencv(), self._open(None if found is None else int(found[1]))
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
                time_known = seconds if math.isfinite(seconds) else None
                yield Picture(self.name, np.ascontiguousarray(pixels[..., ::-1]), number, time_known)
                number += 1
            if number == 0 and found is not None:
                raise UserError(f"There is no webcam {found[1]}: connect one, or choose another number")
            if number == 0:
                raise UserError(f"{self.name} can't be read as a video: choose another")
            announced = capture.get(cv2.CAP_PROP_FRAME_COUNT) if found is None else 0.0
            # Some kinds of file only tell about how many there are.
            if number != frames and number < SURELY * announced:
                raise UserError(
                    f"{self.name} breaks off after {number} of {announced:.0f} frames: copy it again, or choose another"
                )
        finally:
            capture.release()

    def _open(self, webcam: int | None) -> Any:
        """OpenCV's capture, which turns what a telephone that was held sideways has filmed.

        Raises:
            UserError: if a file is no regular one, no video or has too large frames, or OpenCV is missing.
        """
        cv2 = opencv()
        if webcam is not None:
            return cv2.VideoCapture(webcam)
        try:
            with open_regular(self.name) as stream:
                known = CONTAINER.match(stream.read(512))
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or problem
            raise UserError(f"{self.name} can't be read as a video ({why}): choose another") from problem
        if known is None:
            raise UserError(f"{self.name} can't be read as a video (its kind is not known): choose another")
        capture = cv2.VideoCapture(self.name)
        width, height = (round(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MOST_PIXELS:
            capture.release()
            raise UserError(f"{self.name} has {width} × {height} pixels: give a video of {MOST_PIXELS:,} at most")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture

    def rate(self) -> float:
        """Frames per second as a video file says; 0 where it does not."""
        if self.kind != "video":
            return 0.0
        try:
            rate = self.video_facts()[0]
        except UserError:  # said when its pictures are wanted
            return 0.0
        return rate if 0 < rate < 1000 else 0.0

    def video_facts(self) -> tuple[float, int, tuple[int, int]]:
        """Frames per second, number of frames, and their width and height, as a video file says.

        Raises:
            UserError: if it can't be read.
        """
        cv2, capture = opencv(), self._open(None)
        try:
            properties = (
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
            )
            facts = (float(capture.get(p)) for p in properties)
            rate, count, width, height = (f if math.isfinite(f) else 0.0 for f in facts)
        finally:
            capture.release()
        return rate, max(0, round(count)), (round(width), round(height))


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
            inside = _images(path)
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


def _images(folder: Path) -> list[Path]:
    """Images in a folder, without what is hidden: macOS keeps a ``._`` file beside each file on foreign disks.

    Raises:
        UserError: if it can't be read.
    """
    try:
        names = sorted(n for n in os.listdir(folder) if not n.startswith("."))
    except OSError as problem:
        raise UserError(f"The folder {folder} can't be read ({problem.strerror}): choose another") from problem
    paths = (folder / name for name in names)
    return [p for p in paths if p.suffix.lower() in IMAGES and p.is_file()]


def _file(path: Path) -> Source:
    return Source(str(path), "video" if path.suffix.lower() in VIDEOS else "image")


def opencv() -> Any:
    """OpenCV.

    Raises:
        UserError: if it is not installed.
    """
    # What it would say of a damaged video is said in a sentence.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as problem:
        raise UserError("Videos and webcams need OpenCV: run pip install opencv-python-headless") from problem
    return cv2
