# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that somebody else wrote: only regular ones are opened, and what is read of them is bounded.

JSON and TOML may be UTF-8, with or without a byte order mark as Windows' editors write it, UTF-16 or UTF-32.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UserError

LFS = b"version https://git-lfs.github.com/"
"""How a Git LFS pointer begins, which stands for a file that was not downloaded."""

LARGEST_JSON = 256 << 20
"""Bytes of a JSON file; COCO's own keypoints of 118,287 photographs have 227 MiB."""

LARGEST_TABLE = LARGEST_TOML = 16 << 20
"""Bytes of a file that people write by hand."""

DEEPEST_TOML = 100
"""Tables and lists in one another: little enough for whoever walks through them."""


class RegularFile(io.BufferedReader):
    """Reads no more than there is: formats tell lengths, and memory would be taken for all that one claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next ``size`` bytes, or what is left."""
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes. Nothing is waited for: a pipe or a device is not opened.

    Raises:
        OSError: if it can't be read, or is no regular file; ``strerror`` says why.
    """
    try:
        found = os.stat(path)
    except ValueError as problem:
        raise OSError(errno.EINVAL, "its name has a character that no file's name has") from problem
    _check_regular(found)
    # What lies there may have become a pipe since.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, flags)
    try:
        _check_regular(os.fstat(descriptor))
        return RegularFile(io.FileIO(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(None, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "it is not a regular file")


def read_json(path: str | os.PathLike[str], mend: str, *, largest: int = LARGEST_JSON) -> Any:
    """A JSON file's value.

    Args:
        mend: what to do if it can't be used, the end of the sentence.
        largest: bytes that it may have.

    Raises:
        UserError: if it can't be read, is too large, or not JSON.
    """
    return _parsed(path, mend, _bytes(path, mend, largest))


def read_json_table(path: str | os.PathLike[str], mend: str, *, largest: int = LARGEST_TABLE) -> Any:
    """:func:`read_json` of what people write by hand: every number is a float, and no name may be there twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(n for n in names if names.count(n) > 1)
            raise UserError(f"{path} has {twice} twice in one place: {mend}")
        return table

    # A whole number of any length becomes one that can be checked.
    return _parsed(path, mend, _bytes(path, mend, largest), parse_int=float, object_pairs_hook=unique)


def _parsed(path: str | os.PathLike[str], mend: str, data: bytes, **options: Any) -> Any:
    try:
        return json.loads(data, **options)
    except RecursionError as problem:
        raise UserError(f"{path} is nested too deeply for JSON: {mend}") from problem
    except UnicodeDecodeError as problem:
        raise UserError(f"{path} is not JSON in UTF-8: {mend}") from problem
    except json.JSONDecodeError as problem:
        raise UserError(f"{path} is not valid JSON (line {problem.lineno}: {problem.msg}): {mend}") from problem
    except ValueError as problem:
        raise UserError(f"{path} is not valid JSON ({problem}): {mend}") from problem


def read_toml(path: str | os.PathLike[str], mend: str, *, largest: int = LARGEST_TOML) -> dict[str, Any]:
    """A TOML file's table; arguments and errors as those of :func:`read_json`."""
    data = _bytes(path, mend, largest)
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as problem:
        raise UserError(f"{path} is not valid TOML, which is text in UTF-8: save it so") from problem
    too_deep = f"{path} is nested too deeply for TOML: {mend}"
    try:
        table = tomllib.loads(text)
    except RecursionError as problem:
        raise UserError(too_deep) from problem
    except ValueError as problem:
        raise UserError(f"{path} is not valid TOML: {problem}") from problem
    level: list[Any] = [table]
    for _ in range(DEEPEST_TOML):
        level = [v for entry in level for v in (entry.values() if isinstance(entry, dict) else entry)]
        level = [v for v in level if isinstance(v, (dict, list))]
    if level:  # as by a dotted name of many words, which the reader itself takes
        raise UserError(too_deep)
    return table


def _bytes(path: str | os.PathLike[str], mend: str, largest: int) -> bytes:
    try:
        with open_regular(Path(path)) as stream:
            data = stream.read(largest + 1)
    except OSError as problem:
        raise UserError(f"{path} can't be read ({problem.strerror}): {mend}") from problem
    except ValueError as problem:  # a name with a zero byte
        raise UserError(f"{path!r} is no file's name: {mend}") from problem
    if len(data) > largest:
        raise UserError(f"{path} has more than {largest >> 20} MiB: {mend}")
    return data
