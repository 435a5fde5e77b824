# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a child process, read while it grows: see :mod:`..messages.job_progress`."""

from __future__ import annotations

import os
from pathlib import Path

from ..messages.job_progress import JobLine, JobReader

PIECE = 256 << 10
"""Bytes that are read at once, so that a window that reads them does not stand still."""

BACKLOG = 4 << 20
"""Bytes; of more that wait, the earlier ones are left out."""


class JobLog:
    """Reads on from where it was, whatever a child writes, in bounded time and memory.

    Attributes:
        at_end: whether all that had been written when it was last read is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at_end = False
        self._reader = JobReader()
        self._place = 0

    def news(self) -> list[JobLine]:
        """The next lines; none where there are none, or no file."""
        try:
            with open(self.path, "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                skips = size - self._place > BACKLOG
                if skips:
                    self._place, self._reader = size - BACKLOG, JobReader()
                stream.seek(self._place)
                data = stream.read(PIECE)
        except OSError:
            self.at_end = True
            return []
        self._place += len(data)
        self.at_end = self._place >= size
        return self._reader.read(data)[int(skips) :]  # the first line after a gap lacks its beginning

    def finish(self) -> list[JobLine]:
        """The last line, where the child has ended in the middle of it."""
        return self._reader.finish()
