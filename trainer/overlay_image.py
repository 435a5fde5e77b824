# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws predicted keypoints on an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .checkpoint import ModelInfo

SURE = 0.5


def draw(
    image: NDArray[np.uint8], info: ModelInfo, points: Sequence[Sequence[float]], confidences: Sequence[float],
    *, names: bool = True,
) -> Image.Image:  # fmt: skip
    """The image with keypoints, their chain and their names; those of less than half confidence are left out.

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
            canvas.line([*points[i], *points[j]], fill=(255, 255, 255), width=line)
    for j, (u, v) in enumerate(points):
        if sure[j]:
            red, green, blue = (int(255 * c) for c in colorsys.hsv_to_rgb(j / len(points) * 0.92, 0.85, 1.0))
            canvas.ellipse([u - radius, v - radius, u + radius, v + radius], fill=(red, green, blue), outline=(0, 0, 0))
            if names:
                place, text = (u + 1.5 * radius, v - 1.5 * radius), info.keypoints[j]
                canvas.text(place, text, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
    return picture
