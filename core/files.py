# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written whole or not at all, whoever writes them, and checked before they bear their names."""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import UserError

PREFIX = ".robot-keypoints-"
SUFFIX = ".part"

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk, a used-up quota and a limit on a file's size are told by."""

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)

Check = Callable[[Path], bool]
"""Whether a file that was just written is whole; for writers that don't tell what went wrong."""


class WriteError(UserError):
    """A file can't be written; nothing was changed."""

    def __init__(self, path: str | os.PathLike[str], problem: OSError) -> None:
        """Put into one sentence what went wrong and what to do.

        Args:
            path: of the file that was to be written.
            problem: what the system says.
        """
        self.path = Path(path)
        self.full = problem.errno in NO_ROOM
        """Whether room is all that is missing."""
        self.why = why = problem.strerror or str(problem)
        """What the system says."""
        if self.full:
            text = f"There is no room to write {self.path} ({why}): free some and try again"
        elif problem.errno in (errno.ENOENT, errno.ENOTDIR):
            text = f"{self.path} can't be written: there is no folder {self.path.parent}, make it or choose another"
        elif problem.errno == errno.ENAMETOOLONG:
            text = f"{self.path} can't be written ({why}): choose a shorter name"
        else:
            text = f"{self.path} can't be written ({why}): choose another place"
        super().__init__(text)


class Replacement:
    """A file in the making, for whatever writes files by their names.

    It is written under a temporary name beside the target, which can't be foreseen. :meth:`commit` flushes it to the
    disk, looks at it, and puts it into the target's place at once; until then, or if anything fails, what was there
    before stays as it was. A link in the target's place is replaced, not followed. As a context manager it is committed
    where the block ends without an exception; an ``OSError`` from the block is taken as the writer's.
    """

    def __init__(self, target: str | os.PathLike[str], check: Check | None = None, ending: str = "") -> None:
        """Begin a file beside the target.

        Args:
            target: the file to be written or replaced.
            check: looks at the new file before it is put in place.
            ending: of the temporary name, such as ``.mp4``, where the writer goes by it.

        Raises:
            WriteError: if no file can be written there.
        """
        self.target = Path(target)
        self._check = check
        self.path = self.target.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}{ending}")
        """What to write to: an empty file with the target's permissions."""
        try:
            self._mode = _mode(self.target)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS
            os.close(os.open(self.path, flags, 0o666 if self._mode is None else self._mode))
        except OSError as problem:
            raise WriteError(self.target, problem) from problem

    def commit(self) -> None:
        """Put the file in place.

        Raises:
            WriteError: if that can't be done, or the file is not whole; the target is as before.
        """
        try:
            _flush(self.path, self._mode)
            if self._check is not None and not self._check(self.path):
                raise OSError(errno.ENOSPC, "it came out cut off")
            os.replace(self.path, self.target)
        except OSError as problem:
            raise WriteError(self.target, problem) from problem
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind; the target is as before."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
            return
        self.discard()
        if isinstance(problem, OSError):
            raise WriteError(self.target, problem) from problem


def write_bytes(path: str | os.PathLike[str], data: bytes, check: Check | None = None) -> None:
    """Write a file, or replace it.

    Raises:
        WriteError: if that can't be done; what was there before stays as it was.
    """
    with Replacement(path, check) as temporary, open(temporary, "wb", opener=_no_link) as stream:
        stream.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """:func:`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """:func:`write_text` of indented JSON without NaN."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_json_line(path: str | os.PathLike[str], value: Any) -> None:
    """Add one JSON document as a line of its own, all of it or nothing.

    Raises:
        WriteError: if that can't be done, or a link stands where the file should.
    """
    line = (json.dumps(value, allow_nan=False) + "\n").encode("utf-8")
    try:
        with open_log(path) as stream:
            before = os.fstat(stream.fileno()).st_size
            try:
                written = stream.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                stream.truncate(before)
                raise
    except OSError as problem:
        raise WriteError(path, problem) from problem


def open_log(path: str | os.PathLike[str]) -> io.FileIO:
    """A file to add bytes to, without a buffer; a link is not followed.

    Raises:
        OSError: if it can't be opened.
    """
    return open(path, "ab", buffering=0, opener=_no_link)


def sweep(*folders: Path) -> None:
    """Remove what a process that was killed had begun to write into these folders."""
    for folder in folders:
        for path in (*folder.glob(f"{PREFIX}*"), *folder.glob(f".*{SUFFIX}")):  # the latter as earlier versions wrote
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)


def last_lines(path: str | os.PathLike[str], count: int) -> list[str]:
    """The last ``count`` lines that are not empty; none where the file can't be read."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 16384))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def _mode(target: Path) -> int | None:
    """Permissions that the file has and shall keep; None where there is none yet.

    Raises:
        OSError: if what stands there is no file, or must not be written.
    """
    try:
        found = target.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(found.st_mode)


def _no_link(path: str, flags: int) -> int:
    """Opens a file for :func:`open`; a link is not followed."""
    return os.open(path, flags | NO_LINKS, 0o666)


def _flush(path: Path, mode: int | None) -> None:
    """Have the system write a new file to the disk, and give it its permissions.

    Raises:
        OSError: if it is gone, or can't be written after all.
    """
    descriptor = os.open(path, os.O_RDWR | NO_LINKS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if mode is not None:
        os.chmod(path, mode)
