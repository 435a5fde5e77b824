# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of several sources, read beside the rest of the program."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...core.errors import UserError
from .image_sources import Picture, Source

AHEAD = 2
"""Pictures of files that are read ahead; of a webcam only the newest counts."""


@dataclass(frozen=True)
class Taken:
    """A picture, and when it came, in seconds since 1970."""

    picture: Picture
    time: float


class PictureFeed:
    """Reads pictures in a thread of its own, one source after the other; a file that can't be read is named, no more.

    Args:
        on_change: called from that thread whenever :meth:`take` or :attr:`ended` has something new to say.
    """

    def __init__(self, sources: Sequence[Source], on_change: Callable[[], None]) -> None:
        self._sources = list(sources)
        self._on_change = on_change
        self._changed = threading.Condition()
        self._waiting: deque[Taken] = deque()
        self._problem: Exception | None = None
        self._finished = self._stopped = False
        self._thread = threading.Thread(target=self._read, name="pictures", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self) -> Taken | None:
        """The next picture, or None where none waits.

        Raises:
            UserError: once all that came before it is taken, if a webcam can't be read, or no source at all.
        """
        with self._changed:
            if self._waiting:
                taken = self._waiting.popleft()
                self._changed.notify_all()
                return taken
            if self._problem is not None:
                raise self._problem
            return None

    @property
    def waiting(self) -> bool:
        """Whether :meth:`take` has something to give or to raise."""
        with self._changed:
            return bool(self._waiting) or self._problem is not None

    @property
    def ended(self) -> bool:
        """Whether everything was read and taken."""
        with self._changed:
            return self._finished and not self._waiting and self._problem is None

    def close(self, timeout: float = 2.0) -> None:
        """Stop reading; a camera is let go, if it answers within ``timeout`` seconds."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _read(self) -> None:
        try:
            read = 0
            for source in self._sources:
                try:
                    for picture in source.pictures():
                        read += 1
                        if not self._put(Taken(picture, time.time()), newest_only=source.kind == "webcam"):
                            return
                except UserError as problem:
                    # Something else may be found in the others.
                    if source.kind == "webcam" or (source is self._sources[-1] and not read):
                        raise
                    print(f"warning: {problem}", file=sys.stderr, flush=True)
        except Exception as problem:  # raised for whoever takes, who runs in another thread
            self._problem = problem
        with self._changed:
            self._finished = True
        self._on_change()

    def _put(self, taken: Taken, *, newest_only: bool) -> bool:
        with self._changed:
            if newest_only:
                self._waiting.clear()
            while len(self._waiting) >= AHEAD and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._waiting.append(taken)
        self._on_change()
        return True
