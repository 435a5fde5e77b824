# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a video of frames with their keypoints drawn on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core.errors import UserError
from ...core.files import Replacement
from .image_sources import opencv

MEASURED = 10
"""Frames of a webcam that are kept until their rate is known."""


class VideoOverlay:
    """An MPEG-4 file, under its name only once it is whole. Frames of another size are fitted to the first one's."""

    def __init__(self, path: Path, rate: float) -> None:
        """Begin a video; the file is opened with the first picture.

        Args:
            path: ends with ``.mp4``.
            rate: frames per second; 0 measures how fast they come.
        """
        self.path = path
        self._rate = rate
        self._replacement: Replacement | None = None
        self._writer: Any = None
        self._size = (0, 0)
        self._count = 0
        self._waiting: list[NDArray[np.uint8]] = []
        self._begun = 0.0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """One more frame, RGB ``(H, W, 3)``.

        Raises:
            UserError: if no video can be written.
        """
        if self._writer is not None:
            self._writer.write(np.ascontiguousarray(_even(frame, self._size)[..., ::-1]))
            self._count += 1
            return
        self._begun = self._begun or time.monotonic()
        self._waiting.append(frame)
        if self._rate or len(self._waiting) > MEASURED:
            self._start()

    def close(self) -> None:
        """Finish the file; nothing is left of a video without frames.

        Raises:
            WriteError: if it is not whole, as on a full disk, of which OpenCV says nothing; it is not there then.
        """
        if self._writer is None and self._waiting:
            self._start()
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        if self._replacement is not None:
            self._replacement.commit()
            self._replacement = None

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._waiting.clear()
        if self._replacement is not None:
            self._replacement.discard()
            self._replacement = None

    def _start(self) -> None:
        cv2 = opencv()
        height, width, _ = self._waiting[0].shape
        self._size = width, height
        passed = time.monotonic() - self._begun
        rate = _countable(self._rate or max(1.0, (len(self._waiting) - 1) / max(passed, 1e-3)))
        code, size = cv2.VideoWriter_fourcc(*"mp4v"), (width + width % 2, height + height % 2)
        self._replacement = Replacement(self.path, self._is_whole, ending=".mp4")
        writer = cv2.VideoWriter(str(self._replacement.path), code, rate, size)
        if not writer.isOpened():
            self.abandon()
            raise UserError(f"No video can be written to {self.path}: choose another folder for --overlay")
        self._writer = writer
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self.add(frame)

    def _is_whole(self, path: Path) -> bool:
        """Whether the last frame, too, comes out of the file again."""
        cv2 = opencv()
        capture = cv2.VideoCapture(str(path))
        try:
            if round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) != self._count:
                return False
            capture.set(cv2.CAP_PROP_POS_FRAMES, self._count - 1)
            return bool(capture.read()[0])
        finally:
            capture.release()


def _even(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame of ``size``, with its last column and row again where there is an odd number of them: an encoder would
    drop them."""
    if frame.shape[1::-1] != size:
        frame = np.asarray(Image.fromarray(frame).resize(size))
    return np.pad(frame, ((0, size[1] % 2), (0, size[0] % 2), (0, 0)), mode="edge")


def _countable(rate: float) -> float:
    """Frames per second with as many digits as MPEG-4 can keep, which counts to 65,535 in a second at most."""
    return next((round(rate, digits) for digits in (3, 2, 1) if rate * 10**digits < 65535), float(round(rate)))
