# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that lie on a robot's surfaces: found and looked at, but decoded by Blender."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import IO

from ..input_files import LFS
from .file_source import image

MOST_PIXELS = 1 << 26
"""How many pixels the largest texture has that is loaded (8192²): Blender takes up to 16 bytes for each."""

HEAD = 1 << 18
"""Bytes of a file in which its size must be found; a JPEG's camera data may come before it."""

NOT_FOUND = "was not found"


def located(name: str, mesh: Path) -> tuple[str, str, str]:
    """Path of an image that a mesh file names; or its name and what is wrong with it, after the name in a sentence."""
    path = image(name, mesh)
    if path is None:
        return "", name, NOT_FOUND
    wrong = problem(path)
    return ("", name, wrong) if wrong else (str(path), "", "")


def problem(texture: Path | bytes) -> str:
    """What is wrong with an image, after its name in a sentence; empty if nothing is."""
    try:
        with BytesIO(texture) if isinstance(texture, bytes) else open(texture, "rb") as stream:
            if stream.read(len(LFS)) == LFS:
                return "is a Git LFS pointer: run 'git lfs pull'"
            size = size_of(stream, "" if isinstance(texture, bytes) else texture.suffix.lower())
    except OSError as trouble:
        return f"can't be read ({trouble.strerror})"
    if size is None:
        return "can't be read as an image: save it as PNG or JPEG"
    width, height = size
    if width * height > MOST_PIXELS:
        return f"has {width}×{height} pixels: save it with fewer"
    return ""


def size_of(stream: IO[bytes], ending: str = "") -> tuple[int, int] | None:
    """Width and height of an image from its file's header, or None if it is none that is shown: PNG, JPEG, WebP, BMP,
    TIFF, and by its ending TGA.
    """
    stream.seek(0)
    head = stream.read(HEAD)
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            size = struct.unpack_from(">II", head, 16)
        elif head.startswith(b"\xff\xd8"):
            return _jpeg(head)
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp(head)
        elif head.startswith(b"BM"):
            size = struct.unpack_from("<ii", head, 18)
        elif head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(head, stream)
        elif ending == ".tga":
            size = struct.unpack_from("<HH", head, 12)
        else:
            return None
    except struct.error:
        return None
    return (abs(size[0]), abs(size[1])) if all(size) else None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        kind = head[at + 1]
        if kind == 0xFF:  # fill
            at += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return (width, height) if width and height else None
        at += 2 if kind == 0x01 or 0xD0 <= kind <= 0xD7 else 2 + struct.unpack_from(">H", head, at + 2)[0]
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[12:16] == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(head: bytes, stream: IO[bytes]) -> tuple[int, int] | None:
    order = "<" if head[:2] == b"II" else ">"
    stream.seek(struct.unpack_from(order + "I", head, 4)[0])  # of the directory, which may come last
    directory = stream.read(HEAD)
    found = {}
    for number in range(struct.unpack_from(order + "H", directory)[0]):
        tag, kind = struct.unpack_from(order + "HH", directory, 2 + 12 * number)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), directory, 10 + 12 * number)[0]
    return (found[256], found[257]) if len(found) == 2 and all(found.values()) else None
