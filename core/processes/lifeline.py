# SPDX-License-Identifier: GPL-3.0-or-later
"""In a child process: end with the parent.

Every child holds a pipe from its parent on stdin. The pipe carries nothing: it closes when the parent closes it
or dies, by whatever cause and on every system, and the child then ends. The standard library is enough here, so
that a process can watch before it loads anything that takes long.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable

if sys.platform != "win32":
    import fcntl

COMMAND = "robot_keypoints"
"""``blender --background --command robot_keypoints …`` starts a run's other processes in Blender."""

CUT_OFF = 3
"""Exit code of a process whose parent is gone."""

_lock = threading.Lock()
_ending: tuple[Callable[[], None], float] = (lambda: None, 0.0)
_watching = False


def guard() -> None:
    """End this process at once when stdin closes, if that is a pipe, until :func:`end_with_parent` says otherwise.

    For the seconds in which libraries are loaded and there is nothing to lose yet. A library that is being loaded can
    keep every thread of Python waiting for long, so where the system can, it is told to end the process by itself.
    """
    if has_parent_pipe():
        _signal_at_close(True)
        _watch()


def end_with_parent(on_end: Callable[[], None], grace: float = 1.5) -> None:
    """When stdin closes, call ``on_end`` once, and exit for certain ``grace`` seconds later."""
    global _ending
    with _lock:
        _ending = (on_end, grace)
    if has_parent_pipe():
        _signal_at_close(False)
    _watch()


def _watch() -> None:
    global _watching
    with _lock:
        if _watching:
            return
        _watching = True

    def watch() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass  # a stdin that can't be read is a parent that is gone
        with _lock:
            on_end, grace = _ending
        on_end()
        time.sleep(grace)
        os._exit(CUT_OFF)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def has_parent_pipe() -> bool:
    """Whether stdin is a pipe, as a parent that watches over its children gives it, and not a terminal or nothing."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _signal_at_close(wanted: bool) -> None:
    """Have the system send SIGIO, which ends a process that does not handle it, when something happens to stdin."""
    if sys.platform != "win32":
        flags = fcntl.fcntl(0, fcntl.F_GETFL)
        try:
            fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC)
        except OSError:
            return  # the thread watches all the same
