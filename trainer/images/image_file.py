# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files, decoded in one way wherever they come from.

- **Upright**: a picture is turned as the camera noted (EXIF), as viewers do.
- **Eight bits**: of 16-bit grey, 65,535 is white; of 16-bit colours the upper eight bits are taken. Grey of 32 bits or
  of floating point has no white of its own: white is 1, 255 or 65,535, the least of these that nothing exceeds (a whole
  number is not measured by 1). TIFFs of 9 to 15 bits are white where all of their bits are set.
- **Bounded**: the size is known before anything is unpacked. A picture of more than :data:`KEPT_PIXELS` is reduced to
  a half, a quarter or an eighth of its width and height, JPEG while it is decoded; one of more than
  :data:`LARGEST_PIXELS` is refused.
- **One picture**: animations, pages and the previews in cameras' raw files are refused.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from ...core.errors import UserError
from ...core.input_files import open_regular

LARGEST_PIXELS = 1 << 28
"""A picture of more is not decoded; a telephone's have 200 million."""

KEPT_PIXELS = 1 << 26
"""A picture of more is reduced."""

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "AVIF", "JPEG2000")
"""What Pillow may read. It knows more, among them one that starts another program."""

ROWS = 256
"""Rows of deep grey that are converted at once."""

PAGES = 16
"""Pages of a TIFF that are looked at."""

RAW_TAG, SUBFILE_TAG, BITS_TAG, INTERPRETATION_TAG, ORIENTATION_TAG = 50706, 254, 258, 262, 274
"""TIFF's: version of a DNG, whether a page is a preview, bits per sample, whether 0 is white, how it was held."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""By EXIF's orientation."""

SIDEWAYS = tuple(TURNS[n] for n in (5, 6, 7, 8))
"""Turns that exchange width and height."""

Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS // 2  # Pillow refuses twice this number, and warns below
warnings.filterwarnings("ignore", module=r"PIL\.")  # of a damaged file; what matters of it is said in a sentence


Size = tuple[int, int]
"""Width and height."""


class PhotographError(UserError):
    """A picture that can't be used; the text is one sentence."""


@dataclass(frozen=True)
class Photograph:
    """A decoded picture.

    Attributes:
        pixels: RGB or RGBA ``(h, w, 3 or 4)``.
        width, height: of the picture in its file, upright; ``pixels`` has fewer where it was reduced.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Width and height of the picture."""
        return self.width, self.height

    @property
    def scale(self) -> tuple[float, float]:
        """Width and height of ``pixels`` over those of the picture."""
        return self.pixels.shape[1] / self.width, self.pixels.shape[0] / self.height


def read(
    path: str | os.PathLike[str], size: Size | None = None, *, enough: Size | None = None, most: int = LARGEST_PIXELS
) -> Photograph:
    """An image file.

    Args:
        size: width and height that are expected. A picture that has them only as it lies in its file, unturned, is
            not turned.
        enough: width and height to which a JPEG may be reduced.
        most: pixels that it may then have.

    Raises:
        PhotographError: if it is none, or can't be used.
    """
    try:
        with open_regular(path) as stream:
            return _decode(stream, str(path), size, enough, most)
    except FileNotFoundError as problem:
        raise PhotographError(f"There is no image at {path}: choose another") from problem
    except OSError as problem:
        raise PhotographError(f"{path} can't be read as an image ({problem.strerror}): choose another") from problem


def decode(data: bytes, most: int = LARGEST_PIXELS, name: str = "the image") -> Photograph:
    """An image file's bytes.

    Args:
        most: pixels that it may have.
        name: what an error calls it.

    Raises:
        PhotographError: if they are none, or can't be used.
    """
    return _decode(io.BytesIO(data), name, None, None, most)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file, upright; nothing is unpacked.

    Raises:
        PhotographError: if it is none.
    """
    try:
        with open_regular(path) as stream, _open(stream, str(path)) as image:
            width, height = image.size
            sideways = image.format != "TIFF" and _turn(image) in SIDEWAYS
            return (height, width) if sideways else (width, height)
    except OSError as problem:
        raise PhotographError(f"{path} can't be read as an image ({problem.strerror}): choose another") from problem


def _decode(stream: BinaryIO, name: str, size: Size | None, enough: Size | None, most: int) -> Photograph:
    with _open(stream, name) as image:
        width, height = image.size
        try:
            if enough is not None:
                image.draft(image.mode, enough)  # which works only once
            if not 0 < image.width * image.height <= most:
                raise PhotographError(f"{name} has {width} × {height} pixels: give one of {most:,} at most")
            _check_one(image, name)
            reduced = _reduced(image, name)
            width, height = image.size if image.format == "TIFF" else (width, height)  # turned by Pillow
            turn = _turn(image)
            colours = _colours(reduced, name)
        except (UserError, MemoryError):
            raise
        except Exception as problem:  # a foreign file can break any decoder in its own way
            raise PhotographError(_broken(name, problem)) from problem
    upright = (height, width) if turn in SIDEWAYS else (width, height)
    if turn is None or (size == (width, height) != upright):
        return Photograph(np.asarray(colours), width, height)
    return Photograph(np.asarray(colours.transpose(turn)), *upright)


def _open(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    begin = stream.read(16)
    if not begin:
        raise PhotographError(f"{name} is empty: choose another")
    if begin[4:8] == b"ftyp" and begin[8:12] not in (b"avif", b"avis"):
        raise PhotographError(f"{name} is a HEIC picture or a film, which isn't read as an image: save it as JPEG")
    Image.init()
    try:
        return Image.open(stream, formats=[f for f in FORMATS if f in Image.OPEN])
    except Image.DecompressionBombError as problem:
        raise PhotographError(f"{name} has more than {LARGEST_PIXELS:,} pixels: make it smaller") from problem
    except UnidentifiedImageError as problem:
        raise PhotographError(f"{name} can't be read as an image: choose another") from problem
    except MemoryError:
        raise
    except Exception as problem:  # a foreign file can break any decoder in its own way
        raise PhotographError(_broken(name, problem)) from problem


def _broken(name: str, problem: Exception) -> str:
    said = str(problem).lower()
    if "truncated" in said or "not enough data" in said or "end of file" in said:
        return f"{name} is cut off: it can't be read as an image, so copy it again, or choose another"
    return f"{name} is damaged: it can't be read as an image, so choose another"


def _check_one(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse what is more, or less, than one picture."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if image.format == "TIFF":
        raw = RAW_TAG in _tags(image) or _tags(image).get(SUBFILE_TAG, 0) & 1
        if raw or _begins(image, 8, b"CR"):
            raise PhotographError(f"{name} is a camera's raw file, whose preview is no picture: save it as JPEG")
        count = 1 + sum(1 for page in range(1, min(count, PAGES)) if not _is_preview(image, page))
        image.seek(0)
    if count > 1:
        raise PhotographError(f"{name} holds several pictures, as animations do: save the one that is meant by itself")


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return getattr(image, "tag_v2", {})


def _begins(image: ImageFile.ImageFile, place: int, text: bytes) -> bool:
    stream: Any = image.fp
    at = stream.tell()
    stream.seek(place)
    found = stream.read(len(text))
    stream.seek(at)
    return bool(found == text)


def _is_preview(image: ImageFile.ImageFile, page: int) -> bool:
    image.seek(page)
    return bool(_tags(image).get(SUBFILE_TAG, 0) & 1)


def _reduced(image: ImageFile.ImageFile, name: str) -> Image.Image:
    """The picture with at most :data:`KEPT_PIXELS`, unpacked; JPEG without ever being whole in memory."""
    width, height = image.size
    factor = 1
    while width * height > factor**2 * KEPT_PIXELS:
        factor *= 2
    image.draft(image.mode, (width // factor, height // factor))
    left = factor * image.width // width  # what the draft did not do
    image.load()
    return image if left <= 1 else _colours(image, name).reduce(left)


def _colours(image: Image.Image, name: str) -> Image.Image:
    """RGB, or RGBA where anything may be transparent."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_grey(image, name)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    transparent = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    wanted = "RGBA" if transparent else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _grey(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """Eight bits ``(h, w)`` of grey that has more; see the module."""
    strips = range(0, image.height, ROWS)

    def strip(top: int) -> NDArray[np.float32]:
        box = (0, top, image.width, min(top + ROWS, image.height))
        return np.asarray(image.crop(box)).astype(np.float32)

    white = _white(image, [(float(s.min()), float(s.max())) for s in map(strip, strips)], name)
    result = np.empty((image.height, image.width), np.uint8)
    for top in strips:
        result[top : top + ROWS] = np.rint(strip(top) * np.float32(255.0 / white))
    if _tags(image).get(INTERPRETATION_TAG) == 0:
        np.subtract(255, result, out=result)
    return result


def _white(image: Image.Image, ranges: Sequence[tuple[float, float]], name: str) -> float:
    least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
    bits = _tags(image).get(BITS_TAG, (16,))[0]
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 65535.0 if not 8 < bits < 16 else 2.0**bits - 1
    whites = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    white = next((w for w in whites if most <= w), None)
    if white is None or not least >= 0:  # not a number compares as false
        raise PhotographError(
            f"{name} has grey values from {least:g} to {most:g}, of which none is known to be white: "
            "save it with 8 or 16 bits"
        )
    return white


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How a picture has to be turned to be upright; Pillow has turned TIFFs already."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # what is damaged there tells nothing
        return None
