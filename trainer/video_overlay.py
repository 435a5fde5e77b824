# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a video of frames with their keypoints drawn on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from .picture_sources import opencv

MEASURED = 10
"""Frames of a webcam that are kept until their rate is known."""


class VideoOverlay:
    """An MPEG-4 file, under its name only once it is whole."""

    def __init__(self, path: Path, rate: float) -> None:
        """
        Args:
            path: ends with ``.mp4``.
            rate: frames per second; 0 measures how fast they come.
        """
        self.path = path
        self._rate = rate
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
        self._writer: Any = None
        self._waiting: list[NDArray[np.uint8]] = []
        self._begun = 0.0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """One more frame, RGB ``(H, W, 3)``, all of one size."""
        if self._writer is not None:
            self._writer.write(np.ascontiguousarray(frame[..., ::-1]))
            return
        self._begun = self._begun or time.monotonic()
        self._waiting.append(frame)
        if self._rate or len(self._waiting) > MEASURED:
            self._start()

    def close(self) -> None:
        """Finish the file; nothing is left of a video without frames."""
        if self._writer is None and self._waiting:
            self._start()
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            os.replace(self._temporary, self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._waiting.clear()
        self._temporary.unlink(missing_ok=True)

    def _start(self) -> None:
        cv2 = opencv()
        height, width, _ = self._waiting[0].shape
        passed = time.monotonic() - self._begun
        rate = _countable(self._rate or max(1.0, (len(self._waiting) - 1) / max(passed, 1e-3)))
        code = cv2.VideoWriter_fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._temporary), code, rate, (width, height))
        if not self._writer.isOpened():
            self._writer = None
            raise UserError(f"No video can be written to {self.path}: choose another folder for --overlay")
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self.add(frame)


def _countable(rate: float) -> float:
    """Frames per second with as many digits as MPEG-4 can keep, which counts to 65,535 in a second at most."""
    return next((round(rate, digits) for digits in (3, 2, 1) if rate * 10**digits < 65535), float(round(rate)))
