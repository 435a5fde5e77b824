# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws on a picture where its keypoints are and where they were found."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...core.errors import one_line
from ...core.robot.visibility import SURE
from ..inference import image_overlay
from . import confidence

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]
Point = tuple[float, float]

WIDTH = 960
"""Pixels of the larger side of what is drawn."""

LEAST_PART = 0.4
"""Share of a picture's width and height that is shown at least."""

MARGIN = 1.5
"""How many times as large as all keypoints together what is shown should be."""

FINER = 2
"""Times as many pixels in each direction to draw on, so that lines come out smooth."""

QUALITY = 85
"""Of its JPEG."""

DOT = 2.6
"""Radius of a dot, in 400ths of the drawn picture's size."""

LONGEST = 32
"""Characters of a keypoint's name that are drawn."""

TRUE: Colour = (53, 208, 79)
FOUND: Colour = (255, 63, 180)
FAR: Colour = (255, 196, 0)
BLACK: Colour = (0, 0, 0)

LEGEND = (
    "Green rings: where the keypoints are. Pink dots: where the model found them, hollow below a confidence of "
    f"{SURE:g}. Arrows run from the truth to what was found, yellow beyond {confidence.FAR:g} % of the diagonal, "
    "and only these keypoints are named."
)


@dataclass(frozen=True)
class Compared:
    """The keypoints of one picture.

    Attributes:
        names: ``(J,)``.
        true, predicted: pixels ``(J, 2)``; the former NaN where unknown or outside.
        percent: errors ``(J,)``; NaN where unknown.
        confidences: ``(J,)``.
    """

    names: Sequence[str]
    true: Floats
    predicted: Floats
    percent: Floats
    confidences: Floats


def draw(image: NDArray[np.uint8], compared: Compared, width: int = WIDTH) -> bytes:
    """The part of the picture with the keypoints as JPEG, with truth and prediction.

    Args:
        image: RGB ``(H, W, 3)``.
        width: pixels of the larger side of what is drawn.
    """
    known = np.flatnonzero(~np.isnan(compared.percent)).tolist()
    left, top, right, bottom = part(np.concatenate([compared.true[known], compared.predicted[known]]), image.shape)
    picture = Image.fromarray(image[top:bottom, left:right]).convert("RGB")
    scale = width / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    large = picture.resize((size[0] * FINER, size[1] * FINER), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(large)
    factors = np.array(large.size) / np.array(picture.size)
    # A pixel's centre is a whole number.
    true, found = (
        ((p - (left, top) + 0.5) * factors - 0.5).tolist() for p in (compared.true, compared.predicted)
    )  # fmt: skip
    unit = max(large.size) / 400
    for j in known:
        colour = FAR if compared.percent[j] > confidence.FAR else FOUND
        _arrow(canvas, tuple(true[j]), tuple(found[j]), colour, unit)
    for j in known:
        _ring(canvas, tuple(true[j]), 3.4 * unit, TRUE, unit)
    for j in known:
        _dot(canvas, tuple(found[j]), DOT * unit, unit, filled=bool(compared.confidences[j] >= SURE))
    named = [
        (found[j], f"{_short(compared.names[j])} {compared.percent[j]:.0f} %", FAR)
        for j in known
        if compared.percent[j] > confidence.FAR
    ]
    image_overlay.draw_names(canvas, large.size, named, DOT * unit, max(large.size) / 36)
    buffer = io.BytesIO()
    large.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def part(points: Floats, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture with all the points and some of what is around them: as
    wide and high as the picture in proportion, and at least :data:`LEAST_PART` of it.

    Args:
        points: pixels ``(K, 2)``.
        shape: of the picture, ``(H, W, …)``.
    """
    whole = np.array([shape[1], shape[0]], float)
    inside = np.clip(points, 0, whole - 1)
    low, high = (inside.min(0), inside.max(0)) if len(inside) else (np.zeros(2), whole)
    share = min(1.0, max(LEAST_PART, MARGIN * float(((high - low) / whole).max())))
    size = np.maximum(1, np.round(whole * share))
    start = np.clip(np.round((low + high - size) / 2), 0, whole - size)
    left, top, right, bottom = (int(n) for n in (*start, *(start + size)))
    return left, top, right, bottom


def _short(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _arrow(canvas: ImageDraw.ImageDraw, start: Point, end: Point, colour: Colour, unit: float) -> None:
    length = math.dist(start, end)
    if length < 4 * DOT * unit:
        return
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    head, clear = min(7 * unit, length / 3), DOT * unit
    tip = (end[0] - along[0] * clear, end[1] - along[1] * clear)  # the dot is drawn over the end
    neck = (tip[0] - along[0] * head, tip[1] - along[1] * head)
    side = (-along[1] * head * 0.5, along[0] * head * 0.5)
    for width, shade in ((2.2 * unit, BLACK), (1.2 * unit, colour)):
        canvas.line([*start, *neck], fill=shade, width=max(1, round(width)))
    wings = [(neck[0] + side[0], neck[1] + side[1]), (neck[0] - side[0], neck[1] - side[1])]
    canvas.polygon([tip, *wings], fill=colour, outline=BLACK, width=max(1, round(0.5 * unit)))


def _ring(canvas: ImageDraw.ImageDraw, at: Point, radius: float, colour: Colour, unit: float) -> None:
    for more, width, shade in ((0.6 * unit, 2.4 * unit, BLACK), (0.0, 1.2 * unit, colour)):
        r = radius + more
        canvas.ellipse([at[0] - r, at[1] - r, at[0] + r, at[1] + r], outline=shade, width=max(1, round(width)))


def _dot(canvas: ImageDraw.ImageDraw, at: Point, radius: float, unit: float, *, filled: bool) -> None:
    box = [at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius]
    if filled:
        canvas.ellipse(box, fill=FOUND, outline=BLACK, width=max(1, round(0.5 * unit)))
    else:
        canvas.ellipse(box, outline=FOUND, width=max(1, round(1.0 * unit)))
