# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a .blend is whole: Blender itself takes a full disk for success where it compresses.

A .blend ends with a block called ``ENDB``. A compressed one is a row of Zstandard frames and, at its end, a table of
their lengths, as the seekable format of Zstandard has it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from .errors import UserError

ZSTD, GZIP, PLAIN = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"BLENDER"
TABLE, FOOTER = 0x184D2A5E, 0x8F92EAB1
"""Numbers that the table of frames begins and ends with."""

LAST_BLOCK = 64
"""Bytes at a plain file's end among which the name of its last block is, whatever the form of its blocks."""

MOST_FRAMES = 1 << 22


def is_whole(path: Path) -> bool:
    """Whether a file has a .blend's beginning and end, and is as long as it says.

    Raises:
        UserError: if it can't be read.
    """
    try:
        with open(path, "rb") as stream:
            return _ends(stream)
    except OSError as problem:
        raise UserError(f"The scene {path} can't be read ({problem.strerror}): choose another") from problem


def _ends(stream: BinaryIO) -> bool:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(8)
    if start.startswith(ZSTD):
        return _frames_fit(stream, size)
    if start.startswith(PLAIN):
        stream.seek(max(0, size - LAST_BLOCK))
        return b"ENDB" in stream.read()
    return start.startswith(GZIP)  # as Blender wrote before 3.0; its own reader tells whether all of it is there


def _frames_fit(stream: BinaryIO, size: int) -> bool:
    """Whether the table at the end is there, and its frames fill the rest of the file."""
    if size < 17:
        return False
    stream.seek(size - 9)
    count, flags, footer = struct.unpack("<IBI", stream.read(9))
    each = 12 if flags & 0x80 else 8
    table = 8 + each * count + 9
    if footer != FOOTER or count > MOST_FRAMES or table > size:
        return False
    stream.seek(size - table)
    start, length = struct.unpack("<II", stream.read(8))
    entries = stream.read(each * count)
    frames = sum(struct.unpack_from("<I", entries, each * i)[0] for i in range(count))
    return bool(start == TABLE and length == table - 8 and frames + table == size)
