# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws labels of footage on their images, with the ellipses that keypoints lie in."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..inference.image_overlay import draw_names
from .labelling import FrameLabel, LabelledKeypoint

WIDTH = 720
"""Pixels of the larger side of what is drawn."""

QUALITY = 85
"""Of its JPEG."""

ELLIPSE = 2.45
"""Standard deviations: the ellipse holds a keypoint with 95 %."""

CORNERS = 48
COLOURS = {"marker": (53, 208, 79), "filter": (255, 160, 40), "smoother": (70, 160, 255), "model": (200, 120, 255)}


def draw_label(
    pixels: NDArray[np.uint8], label: FrameLabel, pairs: Sequence[tuple[int, int]], *, names: bool = True
) -> bytes:
    """The image as JPEG, with its keypoints in their source's colour, their ellipses and names, and what links them.

    Args:
        pixels: RGB ``(H, W, 3)``.
        pairs: places of keypoints that are linked.
    """
    picture = Image.fromarray(pixels)
    scale = min(1.0, WIDTH / max(picture.size))
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    canvas = ImageDraw.Draw(picture)
    radius = max(picture.size) / 240
    colour = COLOURS[label.source]
    places = [_place(k, scale) for k in label.keypoints]
    for a, b in pairs:
        start, end = places[a], places[b]
        if start is not None and end is not None:
            canvas.line([*start, *end], fill=(255, 255, 255), width=1)
    named = []
    for keypoint, place in zip(label.keypoints, places, strict=True):
        if place is None or keypoint.covariance is None:
            continue
        canvas.polygon(_ellipse(place, keypoint.covariance * scale**2), outline=colour)
        canvas.ellipse([c + s * radius for s in (-1, 1) for c in place], fill=colour, outline=(0, 0, 0))
        named.append((place, keypoint.name, colour))
    if names:
        draw_names(canvas, picture.size, named, radius)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _place(keypoint: LabelledKeypoint, scale: float) -> tuple[float, float] | None:
    if keypoint.uv is None or max(map(abs, keypoint.uv)) > 1e5:
        return None
    # A pixel's centre is a whole number.
    return (keypoint.uv[0] + 0.5) * scale - 0.5, (keypoint.uv[1] + 0.5) * scale - 0.5


def _ellipse(place: tuple[float, float], covariance: NDArray[np.float64]) -> list[tuple[float, float]]:
    values, vectors = np.linalg.eigh(covariance)
    axes = vectors * np.sqrt(np.clip(values, 0.0, None)) * ELLIPSE
    angles = np.arange(CORNERS) * 2 * math.pi / CORNERS
    around = place + np.stack([np.cos(angles), np.sin(angles)], 1) @ axes.T
    return [(float(u), float(v)) for u, v in around]
