# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws predicted keypoints on an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...core.robot.visibility import SURE
from ..networks.model_file import ModelInfo

Box = tuple[float, float, float, float]


def draw_keypoints(
    image: NDArray[np.uint8], info: ModelInfo, points: Sequence[Sequence[float]], confidences: Sequence[float],
    *, names: bool = True,
) -> Image.Image:  # fmt: skip
    """The image with keypoints, their chain and their names; those of less than half confidence are left out.

    Sizes of dots, lines and letters go with the image's.

    Args:
        image: RGB or RGBA ``(H, W, 3 or 4)``.
        points: pixels ``(J, 2)``.
    """
    picture = Image.fromarray(image).convert("RGB")
    canvas = ImageDraw.Draw(picture)
    size = max(picture.size)
    radius, line = max(2.0, size / 160), max(1, round(size / 250))
    index = {name: i for i, name in enumerate(info.keypoints)}
    sure = [c >= SURE for c in confidences]
    for a, b in info.skeleton:
        i, j = index[a], index[b]
        if sure[i] and sure[j]:
            canvas.line([*points[i], *points[j]], fill=(0, 0, 0), width=line + max(2, line // 2))
            canvas.line([*points[i], *points[j]], fill=(255, 255, 255), width=line)
    colours = [
        tuple(int(255 * c) for c in colorsys.hsv_to_rgb(j / len(points) * 0.92, 0.85, 1.0)) for j in range(len(points))
    ]
    edge = max(1, round(radius / 4))
    for j, (u, v) in enumerate(points):
        if sure[j]:
            box = [u - radius, v - radius, u + radius, v + radius]
            canvas.ellipse(box, fill=colours[j], outline=(0, 0, 0), width=edge)
    if names:
        shown = [j for j in range(len(points)) if sure[j]]
        draw_names(canvas, picture.size, [(points[j], info.keypoints[j], colours[j]) for j in shown], radius)
    return picture


def draw_names(
    canvas: ImageDraw.ImageDraw, size: tuple[int, int], entries: Sequence[tuple[Sequence[float], str, tuple[int, ...]]],
    radius: float, letters: float = 0.0,
) -> None:  # fmt: skip
    """Names in their dots' colours: beside them where there is room, else further down or up, with a thin line.

    Args:
        size: width and height of the picture, pixels.
        entries: place, name and colour of each.
        radius: of the dots, pixels.
        letters: size of the letters, pixels; 0 goes with the picture.
    """
    font = ImageFont.load_default(size=letters or max(9.0, max(size) / 50))
    stroke = max(1, round(max(size) / 500))
    taken: list[Box] = []
    for (u, v), text, colour in sorted(entries, key=lambda e: e[0][1]):
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font, stroke_width=stroke)
        width, height = right - left, bottom - top
        x = u + 2.0 * radius
        if x + width > size[0]:
            x = u - 2.0 * radius - width
        x = min(max(x, 0.0), max(0.0, size[0] - width))
        home = min(max(v - height / 2, 0.0), max(0.0, size[1] - height))
        y = next((y for y in _heights(home, height, size[1]) if _free((x, y, x + width, y + height), taken)), home)
        taken.append((x, y, x + width, y + height))
        if abs(y - home) > height / 2:
            canvas.line([u, v, x if x > u else x + width, y + height / 2], fill=colour, width=max(1, stroke // 2))
        pale = tuple((c + 255) // 2 for c in colour)  # pure blue can hardly be read
        canvas.text((x - left, y - top), text, font=font, fill=pale, stroke_width=stroke, stroke_fill=(0, 0, 0))


def _heights(home: float, height: float, limit: int) -> list[float]:
    """Places for a line of text, the nearest first."""
    steps = [home + n * sign * 0.5 * height for n in range(40) for sign in (1, -1)]
    return [y for y in steps if 0 <= y <= max(0.0, limit - height)]


def _free(box: Box, taken: Sequence[Box]) -> bool:
    return all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in taken)
