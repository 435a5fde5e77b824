# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of images by their headers, as Pillow writes them, and what is wrong with others."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image
from robot_keypoints.core.meshes import textures
from robot_keypoints.core.meshes.textures import problem, size_of
from shapes import PIXEL


def written(kind: str, size: tuple[int, int] = (37, 5), **more: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (9, 99, 200)).save(stream, kind, **more)
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind, more",
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"x" * 60_000}), ("BMP", {}),
     ("TIFF", {}), ("TIFF", {"big_tiff": False, "compression": "raw"}), ("WEBP", {}), ("WEBP", {"lossless": True}),
     ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}), ("TGA", {})],
)  # fmt: skip
def test_sizes_of_every_kind(kind: str, more: dict[str, object]) -> None:
    data = written(kind, **more)
    assert size_of(io.BytesIO(data), f".{kind.lower()}") == (37, 5)
    for length in (0, 3, 10, 17):
        assert size_of(io.BytesIO(data[:length]), f".{kind.lower()}") in (None, (37, 5))


def test_images_that_are_shown_have_nothing_wrong(tmp_path: Path) -> None:
    assert not problem(PIXEL)
    (tmp_path / "a.tga").write_bytes(written("TGA"))
    assert not problem(tmp_path / "a.tga")


@pytest.mark.parametrize(
    "data, words",
    [
        (PIXEL[:16] + struct.pack(">II", 100_000, 100_000) + PIXEL[24:], "100000×100000 pixels"),
        (PIXEL[:16] + struct.pack(">II", 0, 1) + PIXEL[24:], "as an image"),
        (b"", "as an image"),
        (b"no image", "as an image"),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 1000, "as an image"),
        (b"MM\0*" + struct.pack(">I", 2**32 - 1), "as an image"),
        (b"\xabKTX 20\xbb\r\n\x1a\n" + b"\0" * 100, "as an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in problem(data)
    (tmp_path / "a.png").write_bytes(data)
    assert words in problem(tmp_path / "a.png")


def test_an_image_that_is_gone_or_not_for_everyone(tmp_path: Path) -> None:
    assert "can't be read" in problem(tmp_path / "gone.png")
    assert textures.located("gone.png", tmp_path / "a.obj") == ("", "gone.png", "was not found")
