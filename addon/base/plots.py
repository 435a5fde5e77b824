# SPDX-License-Identifier: GPL-3.0-or-later
"""Small plots as RGBA arrays: histograms of priors and posteriors, and curves of a training. No bpy here.

Arrays are ``(height, width, 4)`` float32 in display sRGB with the bottom row first, as Blender keeps its pixels.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Colour = tuple[float, float, float, float]

BACKGROUND: Colour = (0.105, 0.105, 0.105, 1.0)
GRID: Colour = (1.0, 1.0, 1.0, 0.09)
PRIOR: Colour = (0.62, 0.62, 0.62, 0.40)
PRIOR_LINE: Colour = (0.80, 0.80, 0.80, 0.85)
LESS: Colour = (0.29, 0.48, 0.71, 1.0)
SAME: Colour = (0.36, 0.62, 0.88, 1.0)
MORE: Colour = (0.95, 0.60, 0.23, 1.0)
MEAN: Colour = (0.95, 0.60, 0.23, 1.0)
MEDIAN: Colour = (0.36, 0.72, 0.92, 1.0)
GREEN: Colour = (0.42, 0.80, 0.42, 1.0)
AMBER: Colour = (0.96, 0.72, 0.26, 1.0)
RED: Colour = (0.92, 0.33, 0.31, 1.0)
GREY: Colour = (0.50, 0.50, 0.50, 1.0)


def keypoint_colour(index: int, count: int) -> Colour:
    """Evenly spread, bright colours for ``count`` keypoints."""
    r, g, b = colorsys.hsv_to_rgb((index / max(count, 1) + 0.02) % 1.0, 0.72, 1.0)
    return (r, g, b, 1.0)


class Canvas:
    """An image to draw on; coordinates are pixels from the bottom left corner, edges are anti-aliased."""

    def __init__(self, width: int, height: int, background: Colour = (0.0, 0.0, 0.0, 0.0)) -> None:
        self.pixels: Image = np.empty((height, width, 4), np.float32)
        self.pixels[:] = background
        self.width, self.height = width, height

    def blend(self, coverage: NDArray[np.float64], colour: Colour) -> None:
        """Lay ``colour`` over the image where ``coverage`` ``(height, width)`` says."""
        alpha = (coverage * colour[3])[..., None]
        below = self.pixels[..., 3:4]
        result = alpha + below * (1 - alpha)
        mixed = np.asarray(colour[:3]) * alpha + self.pixels[..., :3] * below * (1 - alpha)
        self.pixels[..., :3] = np.where(result > 0, mixed / np.maximum(result, 1e-6), 0)
        self.pixels[..., 3:4] = result

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.blend(np.outer(_overlap(y0, y1, self.height), _overlap(x0, x1, self.width)), colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        xs, ys = np.arange(self.width) + 0.5, np.arange(self.height) + 0.5
        distance = np.hypot(xs[None, :] - x, ys[:, None] - y)
        self.blend(np.clip(radius + 0.5 - distance, 0, 1), colour)

    def polyline(self, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        """Line segments with round ends."""
        coverage = np.zeros((self.height, self.width))
        reach = width / 2 + 1
        for (ax, ay), (bx, by) in pairwise(points):
            left, right = (int(max(0, f)) for f in (min(ax, bx) - reach, max(ax, bx) + reach + 1))
            low, high = (int(max(0, f)) for f in (min(ay, by) - reach, max(ay, by) + reach + 1))
            x = np.arange(left, min(right, self.width)) + 0.5
            y = np.arange(low, min(high, self.height)) + 0.5
            if not len(x) or not len(y):
                continue
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            t = ((x[None, :] - ax) * dx + (y[:, None] - ay) * dy) / (length or 1.0)
            t = np.clip(t, 0, 1)
            distance = np.hypot(x[None, :] - ax - t * dx, y[:, None] - ay - t * dy)
            part = coverage[low : low + len(y), left : left + len(x)]
            np.maximum(part, np.clip(width / 2 + 0.5 - distance, 0, 1), out=part)
        self.blend(coverage, colour)


def _overlap(low: float, high: float, count: int) -> NDArray[np.float64]:
    """How much of each pixel of a row lies between ``low`` and ``high``."""
    edge = np.arange(count)
    return np.asarray(np.clip(np.minimum(high, edge + 1.0) - np.maximum(low, edge), 0.0, 1.0))


def bar_heights(prior: Sequence[float], posterior: Sequence[float] | None) -> tuple[list[float], list[float]]:
    """Bar heights, 0 … 1, of prior and posterior concentrations ``(K,)``; both share one scale.

    The scale keeps room for two and a half times the uniform share, so bars don't jump while they grow.
    """
    p = np.asarray(prior, dtype=np.float64) / np.sum(prior)
    q = p if posterior is None else np.asarray(posterior, dtype=np.float64) / np.sum(posterior)
    top = max(2.5 / len(p), float(p.max()) * 1.06, float(q.max()) * 1.06)
    return (p / top).tolist(), (q / top).tolist()


def histogram(prior: Sequence[float], posterior: Sequence[float] | None, width: int, height: int) -> Image:
    """Prior in grey and posterior in colour, by bin: orange where drawn more often than at first, blue where less."""
    canvas = Canvas(width, height, BACKGROUND)
    before, after = bar_heights(prior, posterior)
    margin = max(2.0, width / 60)
    inner, tall = width - 2 * margin, height - 2 * margin
    for quarter in range(1, 4):
        y = margin + tall * quarter / 4
        canvas.rectangle(margin, y - 0.5, width - margin, y + 0.5, GRID)
    step = inner / len(before)
    gap = min(2.0, step * 0.12)
    for k, (b, a) in enumerate(zip(before, after, strict=True)):
        x0, x1 = margin + k * step, margin + (k + 1) * step
        canvas.rectangle(x0 + gap / 2, margin, x1 - gap / 2, margin + b * tall, PRIOR)
        if posterior is not None:
            canvas.rectangle(x0 + gap, margin, x1 - gap, margin + a * tall, _change_colour(a / b))
    outline = []
    for k, b in enumerate(before):
        outline += [(margin + k * step, margin + b * tall), (margin + (k + 1) * step, margin + b * tall)]
    canvas.polyline(outline, 1.4, PRIOR_LINE)
    return canvas.pixels


def _change_colour(ratio: float) -> Colour:
    amount = max(-1.0, min(1.0, math.log2(max(ratio, 1e-3))))
    target = MORE if amount > 0 else LESS
    weight = abs(amount)
    r, g, b, a = (s + (t - s) * weight for s, t in zip(SAME, target, strict=True))
    return (r, g, b, a)


@dataclass(frozen=True)
class Curve:
    """One curve: values over positions (the number of images)."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: Colour


def nice_limits(values: Sequence[float]) -> tuple[float, float]:
    """The decade steps (1, 2, 5, 10 …) around positive values."""
    low, high = min(values), max(values)
    below = max((t for t in _steps() if t <= low * 0.999), default=low / 2)
    above = min((t for t in _steps() if t >= high * 1.001), default=high * 2)
    return below, above


def grid_values(low: float, high: float) -> list[float]:
    """The decade steps between two limits, both included."""
    return [t for t in _steps() if low * 0.999 <= t <= high * 1.001]


def _steps() -> list[float]:
    return [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]


def curves(data: Sequence[Curve], width: int, height: int) -> Image:
    """Curves with a logarithmic y axis; grid lines at 1, 2, 5, 10 …"""
    canvas = Canvas(width, height, BACKGROUND)
    values = [y for curve in data for y in curve.y if y > 0]
    margin = max(3.0, width / 50)
    inner, tall = width - 2 * margin, height - 2 * margin
    if not values:
        return canvas.pixels
    low, high = nice_limits(values)
    right = max(x for curve in data for x in curve.x) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        level = math.log(max(y, low) / low) / math.log(high / low)
        return margin + inner * x / right, margin + tall * level

    for step in grid_values(low, high):
        y = place(0.0, step)[1]
        canvas.rectangle(margin, y - 0.5, width - margin, y + 0.5, GRID)
    for curve in data:
        points = [place(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y > 0]
        if len(points) > 1:
            canvas.polyline(points, 2.0, curve.colour)
        if points:
            canvas.disc(*points[-1], 3.2, curve.colour)
    return canvas.pixels


def dot(colour: Colour, size: int = 32) -> Image:
    """A round mark in the middle of a small transparent square."""
    canvas = Canvas(size, size)
    canvas.disc(size / 2, size / 2, size * 0.27, colour)
    return canvas.pixels


SPARKS = "▁▂▃▄▅▆▇█"


def spark(concentration: Sequence[float], most: int = 16) -> str:
    """A histogram as text of at most ``most`` characters: many bins are put together, few are drawn wider."""
    p = np.asarray(concentration, dtype=np.float64)
    p = p / p.sum()
    groups = np.array_split(p, min(most, len(p)))
    means = np.array([g.mean() for g in groups])
    top = max(float(means.max()), 2.0 / len(p))
    wide = max(1, most // len(groups))
    return "".join(wide * SPARKS[min(len(SPARKS) - 1, int(m / top * len(SPARKS)))] for m in means)
