# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that one process at a time may write to.

The lock is the system's, on a file in the folder: it goes with the last process that holds the file open, however that
ends, and the file itself means nothing.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

from ..errors import UserError
from ..files import NO_LINKS, WriteError

NAME = ".lock"

TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""What systems say of a lock that somebody else holds."""

PATIENCE = 3.0
"""Seconds for the processes of a parent that was killed to end by themselves."""


class FolderLock:
    """Held from the beginning until :meth:`release`, and by every process that inherits :attr:`descriptor`."""

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        """Take it.

        Args:
            folder: exists already.
            patience: seconds to wait for another process that holds it.

        Raises:
            UserError: if another process holds it all the time.
            WriteError: if the folder can't be written.
        """
        path = folder / NAME
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o666)
        except OSError as problem:
            raise WriteError(path, problem) from problem
        end = time.monotonic() + patience
        while not try_lock(self.descriptor):
            if time.monotonic() > end:
                self.release()
                raise UserError(f"Another process is writing to {folder}: wait until it has ended, or end it")
            time.sleep(0.05)

    def release(self) -> None:
        """Give it up; doing so again changes nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def try_lock(descriptor: int) -> bool:
    """Lock a file unless another process has; whether it is ours now.

    Where a file system knows no locks it counts as ours: nobody could hold it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in TAKEN
    return True
