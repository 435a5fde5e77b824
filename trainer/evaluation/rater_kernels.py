# SPDX-License-Identifier: GPL-3.0-or-later
"""How far several people's annotations of a photograph lie apart, drawn on it as Gaussian kernels
[Heindl2019, Fig. 6b]."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...core import files
from ...core.errors import UserError, one_line
from ..inference import image_overlay
from .rater_spread import Ratings
from .run_pictures import keypoint_colours

Floats = NDArray[np.float64]

WIDTH = 1280
"""Pixels of the larger side of what is drawn."""

LEAST_DEVIATION = 0.5
"""Pixels of the photograph: a standard deviation that is less is drawn as this much, to be seen."""

FARTHEST = 1e6
"""Pixels; whatever is annotated beyond has no finite spread."""

BRIGHTNESS = 0.5
"""Of the photograph below the kernels, which is grey."""

COVER = 0.9
"""Of a kernel's middle."""

SUFFIX = ".png"

LEGEND = (
    "Each keypoint's Gaussian kernel has the mean and the covariance of what the people annotated (a standard "
    f"deviation is drawn as {LEAST_DEVIATION:g} pixels at least); the dots are the people's own places."
)


def check_path(path: Path) -> None:
    """Refuse, before anything is computed, a file that could not be written.

    Raises:
        UserError: saying why.
    """
    if path.suffix.lower() != SUFFIX:
        raise UserError(f"{path} does not end with {SUFFIX}: choose another name for --raters-plot")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"{path} can't be written: choose a file in a folder that is there for --raters-plot")


def most_annotated(ratings: Ratings, count: int) -> list[int]:
    """The photographs with the most annotations of keypoints that at least two people annotated, most first."""
    numbers = np.where(ratings.counts >= 2, ratings.counts, 0).sum(1)
    return [int(i) for i in np.argsort(-numbers, kind="stable")[:count]]


def kernels(points: Floats) -> tuple[Floats, Floats]:
    """Mean ``(J, 2)`` and covariance ``(J, 2, 2)`` of people's places ``(R, J, 2)``, pixels.

    The covariance is over n − 1 and has :data:`LEAST_DEVIATION` along each of its axes at least. Both are NaN where
    fewer than two annotated a keypoint.
    """
    points, places = np.clip(points, -FARTHEST, FARTHEST), points.shape[1]
    means, covariances = np.full((places, 2), np.nan), np.full((places, 2, 2), np.nan)
    for j in range(places):
        known = points[~np.isnan(points[:, j]).any(-1), j]
        if len(known) >= 2:
            variances, axes = np.linalg.eigh(np.cov(known.T))
            means[j] = known.mean(0)
            covariances[j] = (axes * np.maximum(variances, LEAST_DEVIATION**2)) @ axes.T
    return means, covariances


def draw(image: NDArray[np.uint8], points: Floats, names: Sequence[str]) -> bytes:
    """The photograph in grey with a kernel for each keypoint, as PNG, :data:`WIDTH` pixels large.

    Args:
        image: RGB ``(H, W, 3)``.
        points: people's places ``(R, J, 2)``, pixels of the image; NaN where one did not annotate.
        names: of the keypoints ``(J,)``.
    """
    picture = Image.fromarray(image).convert("L")
    scale = WIDTH / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    grey = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), np.float64) * BRIGHTNESS
    canvas = np.repeat(grey[..., None], 3, axis=-1)
    factors = np.array(size) / np.array(picture.size)
    means, covariances = kernels(points)
    colours = 255.0 * keypoint_colours(len(names))
    shown = np.flatnonzero(~np.isnan(means[:, 0])).tolist()
    # A pixel's centre is a whole number.
    middles, places = ((p + 0.5) * factors - 0.5 for p in (means, points))
    for j in shown:
        _lay(canvas, middles[j], covariances[j] * np.outer(factors, factors), colours[j])
    result = Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))
    pencil = ImageDraw.Draw(result)
    radius = max(size) / 1280  # small, so that they don't hide the kernels of people who agree
    for j in shown:
        for u, v in places[~np.isnan(places[:, j]).any(-1), j].tolist():
            pencil.ellipse([u - radius, v - radius, u + radius, v + radius], fill=(255, 255, 255))
    entries = [
        (middles[j].tolist(), one_line(names[j])[:32], tuple(int(c) for c in colours[j])) for j in shown
    ]  # fmt: skip
    image_overlay.draw_names(pencil, size, entries, 8 * radius)
    buffer = io.BytesIO()
    result.save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, ratings: Ratings) -> str:
    """Draw the photograph with the most annotations into a PNG file, whole or not at all; which one it is.

    Raises:
        UserError: if the photograph can't be read or the file not be written.
    """
    i = most_annotated(ratings, 1)[0]
    files.write_bytes(path, draw(ratings.items[i].picture().pixels, ratings.points[:, i], ratings.names))
    return ratings.items[i].name


def _lay(canvas: Floats, mean: Floats, covariance: Floats, colour: Floats) -> None:
    """Lay one kernel over the part of the canvas ``(H, W, 3)`` that lies within four standard deviations."""
    height, width, _ = canvas.shape
    reach = 4 * np.sqrt(np.diag(covariance))
    low = np.clip(np.floor(mean - reach), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(mean + reach) + 1, 0, (width, height)).astype(int)
    if (high <= low).any():
        return
    u, v = np.meshgrid(np.arange(low[0], high[0]) - mean[0], np.arange(low[1], high[1]) - mean[1])
    inverse = np.linalg.inv(covariance)
    distances = inverse[0, 0] * u**2 + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v**2
    cover = COVER * np.exp(-0.5 * distances)[..., None]
    part = canvas[low[1] : high[1], low[0] : high[0]]
    part += cover * (colour - part)
