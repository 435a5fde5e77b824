# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs and films."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import subjects_models
from PIL import Image
from subjects import Seed, command


def picture() -> Image.Image:
    """Something to look at, 64 × 48 pixels."""
    rows, columns = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([rows * 5, columns * 3, (rows + columns) * 2], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as the content of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


class Images:
    """``predict`` on a photograph from somewhere."""

    def __init__(self, scratch: Path) -> None:
        self._model = subjects_models.write_model(scratch / "model.safetensors", subjects_models.stick_info())
        subjects_models.load_once(self._model)

    def seeds(self) -> Sequence[Seed]:
        image = picture()
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        turned = image.getexif()
        turned[0x0112] = 6
        frames = [image.rotate(90 * i) for i in range(1, 4)]
        files = {
            "a.png": encoded(image, "PNG"), "b.png": encoded(image.convert("P"), "PNG", transparency=3),
            "c.png": encoded(Image.fromarray(grey * 257), "PNG"),
            "d.jpg": encoded(image, "JPEG", exif=turned.tobytes()),
            "e.jpg": encoded(image.convert("CMYK"), "JPEG", progressive=True), "f.gif": encoded(image, "GIF"),
            "g.gif": encoded(image, "GIF", save_all=True, append_images=frames), "h.webp": encoded(image, "WEBP"),
            "i.tif": encoded(image, "TIFF", compression="tiff_lzw"),
            "j.tif": encoded(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"),
            "k.tif": encoded(image, "TIFF", save_all=True, append_images=frames), "l.bmp": encoded(image, "BMP"),
            "m.ppm": encoded(image, "PPM"), "n.png": encoded(image.convert("1"), "PNG"),
        }  # fmt: skip
        several = ("g.gif", "k.tif")  # are refused
        return [Seed(name, {name: data}, valid=name not in several) for name, data in files.items()]

    def attempt(self, entry: Path) -> None:
        command("predict", self._model, entry, "--json")


class Films:
    """``predict`` on a film from somewhere."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._model = subjects_models.write_model(scratch / "model.safetensors", subjects_models.stick_info())
        subjects_models.load_once(self._model)

    def seeds(self) -> Sequence[Seed]:
        return [self._film(name, code) for name, code in (("a.mp4", "mp4v"), ("b.avi", "MJPG"))]

    def attempt(self, entry: Path) -> None:
        command("predict", self._model, entry, "--json", "--frames", "20")

    def _film(self, name: str, code: str) -> Seed:
        path = self._scratch / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10.0, (64, 48))
        assert writer.isOpened(), code
        image = np.ascontiguousarray(np.asarray(picture())[..., ::-1])
        for shift in range(5):
            writer.write(np.roll(image, 3 * shift, axis=1))
        writer.release()
        return Seed(name, {name: path.read_bytes()})
