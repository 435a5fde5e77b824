# SPDX-License-Identifier: GPL-3.0-or-later
"""A .blend that is cut off is told from one that is whole."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from robot_keypoints.core import blend_file
from robot_keypoints.core.errors import UserError


def compressed(*frames: bytes, checksums: bool = False) -> bytes:
    """Frames as Blender writes them, and the table of their lengths."""
    entries = b"".join(struct.pack("<II", len(f), 9) + (bytes(4) if checksums else b"") for f in frames)
    footer = struct.pack("<IBI", len(frames), 0x80 if checksums else 0, blend_file.FOOTER)
    return b"".join(frames) + struct.pack("<II", blend_file.TABLE, len(entries) + len(footer)) + entries + footer


FRAMES = (blend_file.ZSTD + bytes(50), blend_file.ZSTD + bytes(range(70)))
PLAIN = b"BLENDER-v405" + bytes(200) + b"ENDB" + bytes(20)


@pytest.mark.parametrize(
    "data", [compressed(*FRAMES), compressed(*FRAMES, checksums=True), PLAIN], ids=["frames", "checksums", "plain"]
)
def test_what_is_whole_and_what_is_cut_off(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "scene.blend"
    path.write_bytes(data)
    assert blend_file.is_whole(path)
    for length in range(len(data) - 20):
        path.write_bytes(data[:length])
        assert not blend_file.is_whole(path)


def test_a_table_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    whole = compressed(*FRAMES)
    path.write_bytes(whole[:-9] + struct.pack("<IBI", 2**32 - 1, 0, blend_file.FOOTER))
    assert not blend_file.is_whole(path)
    path.write_bytes(whole[:60] + whole[70:])
    assert not blend_file.is_whole(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        blend_file.is_whole(tmp_path / "scene.blend")
