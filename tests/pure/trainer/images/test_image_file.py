# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of image file is decoded to the same eight bits, or refused in one sentence."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.images.image_file import PhotographError

GREY = (np.arange(60).reshape(5, 12) * 4).astype(np.uint8)
COLOURS = np.stack([GREY, GREY[::-1], 255 - GREY], -1)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG of raw rows, each with its filter's byte; Pillow writes no 16-bit colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sixteen(pixels: np.ndarray, colour: int) -> bytes:
    deep = (pixels.astype(np.uint16) * 257).astype(">u2")
    return png(pixels.shape[1], len(pixels), 16, colour, b"".join(b"\0" + row.tobytes() for row in deep))


def grey_of(data: bytes) -> np.ndarray:
    pixels = image_file.decode(data).pixels
    assert pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(GREY), "PNG"),
        sixteen(GREY, 0),
        saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"),
        saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF", compression="tiff_lzw"),
        b"P5 12 5 65535\n" + (GREY.astype(np.uint16) * 257).astype(">u2").tobytes(),
        saved(Image.fromarray((GREY / np.float32(255)).astype(np.float32)), "TIFF"),
        saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
        saved(Image.fromarray(GREY.astype(np.float32) * 257), "TIFF"),
        saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        saved(Image.fromarray(GREY).convert("P"), "PNG"),
        saved(Image.fromarray(GREY), "GIF"),
        saved(Image.fromarray(GREY), "BMP"),
    ],
    ids=["8", "16", "tiff16", "lzw16", "pgm16", "float1", "float255", "float65535", "int32", "palette", "gif", "bmp"],
)  # fmt: skip
def test_grey_of_any_depth_is_the_same_picture(data: bytes) -> None:
    np.testing.assert_array_equal(grey_of(data), GREY)


def test_colours_of_16_bits_and_transparency_are_kept() -> None:
    np.testing.assert_array_equal(image_file.decode(sixteen(COLOURS, 2)).pixels, COLOURS)
    clear = np.concatenate([COLOURS, GREY[..., None]], -1)
    np.testing.assert_array_equal(image_file.decode(sixteen(clear, 6)).pixels, clear)
    np.testing.assert_array_equal(image_file.decode(saved(Image.fromarray(clear), "PNG")).pixels, clear)
    shaded = Image.fromarray(np.stack([GREY, 255 - GREY], -1), "LA")
    np.testing.assert_array_equal(image_file.decode(saved(shaded, "PNG")).pixels[..., 3], 255 - GREY)
    palette = Image.fromarray(GREY).convert("P")
    found = image_file.decode(saved(palette, "PNG", transparency=8)).pixels
    assert found.shape[2] == 4 and (found[..., 3] == np.where(GREY == 8, 0, 255)).all()
    bits = Image.fromarray(GREY > 100)
    np.testing.assert_array_equal(grey_of(saved(bits, "PNG")), np.where(GREY > 100, 255, 0))
    flat = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert image_file.decode(saved(flat, "TIFF")).pixels[0, 0].tolist() == [255, 0, 0]
    red = image_file.decode(saved(flat, "JPEG")).pixels[4, 4]
    assert red[0] > 240 and red[1] < 20 and red[2] < 20


def test_grey_whose_white_is_unknown_is_refused() -> None:
    for values in (GREY.astype(np.float32) - 1, GREY.astype(np.float32) * 1e6, np.full((4, 4), np.nan, np.float32)):
        with pytest.raises(PhotographError, match=r"grey values from .* to .*: save it with 8 or 16 bits"):
            image_file.decode(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_the_camera_noted(tmp_path: Path, form: str, orientation: int) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :16] = 255  # top left as it lies in the file
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(Image.fromarray(pixels), form, exif=exif)
    found = image_file.decode(data)
    assert (found.width, found.height) == ((32, 48) if orientation > 4 else (48, 32)) == found.pixels.shape[1::-1]
    corners = found.pixels[[4, 4, -4, -4], [4, -4, 4, -4], 0] > 128
    # 0 … 3: where the file's first row and first column meet, for each of EXIF's orientations.
    assert corners.nonzero()[0].tolist() == [[0], [1], [3], [2], [0], [1], [3], [2]][orientation - 1]
    (tmp_path / "p").write_bytes(data)
    assert image_file.size_of(tmp_path / "p") == (found.width, found.height)
    np.testing.assert_array_equal(image_file.read(tmp_path / "p").pixels, found.pixels)


def test_a_picture_of_200_million_pixels_is_read_smaller_and_one_of_more_than_the_limit_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_file, "KEPT_PIXELS", 3000)
    pixels = np.zeros((90, 121, 3), np.uint8)
    pixels[20:60, 40:80] = 255
    exif = Image.Exif()
    exif[274] = 6
    for form in ("JPEG", "PNG", "TIFF"):
        found = image_file.decode(saved(Image.fromarray(pixels), form, exif=exif))
        assert (found.width, found.height) == (90, 121) and found.pixels.shape == (61, 45, 3), form
        assert found.scale == (0.5, 61 / 121)
        white = np.argwhere(found.pixels[..., 0] > 128)
        # Turned clockwise: rows 40 … 80, columns 90 - 60 … 90 - 20; a half of that.
        assert abs(white.min(0) - [20, 15]).max() <= 1 and abs(white.max(0) - [39, 34]).max() <= 1, form
    with pytest.raises(PhotographError, match="the image has 121 × 90 pixels"):
        image_file.decode(saved(Image.fromarray(pixels), "PNG"), most=10000)


def test_a_large_jpeg_is_never_whole_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(np.zeros((90, 121, 3), np.uint8)), "JPEG")
    monkeypatch.setattr(image_file, "KEPT_PIXELS", 3000)
    loaded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> Any:
        loaded.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    image_file.decode(data)
    assert loaded and set(loaded) == {(61, 45)}


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(PhotographError, match=r"the image has more than 268,435,456 pixels: make it smaller"):
        image_file.decode(png(60000, 60000, 8, 2, b"\0" * 100))


def test_what_is_no_single_whole_picture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    whole = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")
    raw = {50706: (1, 4, 0, 0), 254: 1}
    cases = {
        "holds several pictures": [
            saved(frames[0], form, save_all=True, append_images=frames[1:]) for form in ("GIF", "WEBP", "TIFF", "PNG")
        ],
        "is cut off": [whole[: len(whole) // 2], saved(Image.fromarray(COLOURS), "BMP")[:-30], sixteen(GREY, 0)[:60]],
        "is empty": [b""],
        "can't be read as an image": [
            b"x", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0" * 99, b"P6 0 4 255\n",
        ],
        "is a HEIC picture": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"],
        "raw file": [saved(Image.fromarray(GREY), "TIFF", tiffinfo={key: value}) for key, value in raw.items()],
    }  # fmt: skip
    for sentence, all_data in cases.items():
        for number, data in enumerate(all_data):
            with pytest.raises(PhotographError, match=sentence):
                image_file.decode(data)
            file = tmp_path / f"{number}.jpg"
            file.write_bytes(data)
            with pytest.raises(UserError, match=sentence) as caught:
                image_file.read(file)
            assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_second_page_that_is_a_preview_does_no_harm() -> None:
    stream = io.BytesIO()
    small = Image.fromarray(GREY[:2, :2].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY).save(stream, "TIFF", save_all=True, append_images=[small])
    np.testing.assert_array_equal(grey_of(stream.getvalue()), GREY)


def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s.png"))
    refused: dict[str, str] = {}

    def read(path: Path) -> None:
        try:
            image_file.read(path)
        except UserError as problem:
            refused[path.name] = str(problem)

    # In threads, since a pipe nobody writes to would block for ever.
    paths = [tmp_path / n for n in ("pipe.png", "folder.png", "s.png", "missing.png", "a\0b.png")] + [Path("/dev/zero")]
    threads = [threading.Thread(target=read, args=(p,), daemon=True) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    listener.close()
    assert not any(t.is_alive() for t in threads)
    assert "(it is a folder)" in refused["folder.png"] and "There is no image" in refused["missing.png"]
    assert all("(it is not a regular file)" in refused[n] for n in ("pipe.png", "s.png", "zero"))
    assert "a character that no file's name has" in refused["a\0b.png"]
