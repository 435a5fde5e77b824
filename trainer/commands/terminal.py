# SPDX-License-Identifier: GPL-3.0-or-later
"""What any command needs of the terminal, pipe or file that its words go to: letters, room, and a reader."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from ...core.files import NO_ROOM

READER_GONE = 128 + 13
"""Exit code where whoever read the output has ended, as ``head`` does: what a shell says of SIGPIPE."""

DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What the system says of places that the user chose and may not use."""


def guarded(command: Callable[[], int]) -> int:
    """Run a command, and answer for what it writes.

    A letter that the output can't take is written as an escape. Where the reader is gone, the command ends without a
    word, and with a sentence where there is no room or the terminal is gone.

    Returns:
        the command's exit code, :data:`READER_GONE`, or 2 where its words could not be written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        return code
    except OSError as problem:
        if not of_output(problem):
            raise
        _silence()
        if isinstance(problem, BrokenPipeError):
            return READER_GONE
        with suppress(OSError):
            print(f"error: The output can't be written ({problem.strerror}): send it elsewhere", file=sys.stderr)
        return 2


def of_output(problem: BaseException) -> bool:
    """Whether this is of stdout or stderr: files are named in what goes wrong with them."""
    return isinstance(problem, OSError) and problem.filename is None and problem.errno in (
        *NO_ROOM, errno.EPIPE, errno.EIO,
    )  # fmt: skip


def _silence() -> None:
    """Have nothing more written to stdout: the interpreter would complain when it flushes what is left."""
    with suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
