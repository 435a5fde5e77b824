# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder for one process's passing files, in memory where there is such a place.

A process that is killed leaves its folder behind. The next one to make a folder sweeps it away: the owner holds a lock
on a file in it for as long as it lives, and no longer.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO

from ...core.processes.folder_lock import try_lock

PREFIX = "robot_keypoints_frame_"
UNFINISHED = "robot_keypoints_making_"
LOCK = "owner"


class Scratch:
    """Close it to remove the folder."""

    def __init__(self, base: Path | None = None) -> None:
        """Make the folder.

        Args:
            base: where; the system's own choice where it is None.
        """
        memory = Path("/dev/shm")
        base = base or (memory if memory.is_dir() else Path(tempfile.gettempdir()))
        _sweep(base)
        made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=base))
        self._owner = open(made / LOCK, "w", encoding="utf-8")  # noqa: SIM115 - held until the end
        _lock(self._owner)
        # Only now can another process that sweeps see it.
        self.path = made.with_name(PREFIX + made.name.removeprefix(UNFINISHED))
        made.rename(self.path)

    def close(self) -> None:
        """Remove it with everything in it."""
        self._owner.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        try:
            with open(folder / LOCK, "r+", encoding="utf-8") as owner:
                orphaned = _lock(owner)
        except OSError:
            continue  # just being made, or somebody else's
        if orphaned:
            shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str]) -> bool:
    """Whether a lock was to be had; never on Windows, where a file that is open can't be removed anyway."""
    return sys.platform != "win32" and try_lock(file.fileno())
