# SPDX-License-Identifier: GPL-3.0-or-later
"""What wears a surface, as two seamless pictures: dirt and scratches, and stickers.

Both hold ranks rather than shades: where a rank exceeds one minus the amount, there is a scratch or a sticker. So one
picture serves for any amount, and the amount is the share of the surface that is covered. Looking a picture up costs
Cycles a fraction of what noise computed for every ray does.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEAR = "Keypoints Wear"
STICKERS = "Keypoints Stickers"
SIZE = 512

MOST_STICKERS = 0.62
"""Stickers are laid until this share is covered."""
SCRATCHES = 420
SCRATCHED = 0.24
"""The share that scratches cover where they are strongest."""


def wear_image() -> bpy.types.Image:
    """Red: rank of cleanness: dirt where it is below the amount. Green: rank of scratches, zero beside them. Blue: how
    thick dirt is where it is."""
    found = _existing(WEAR)
    if found is not None:
        return found
    rng = np.random.default_rng(0)
    pixels = np.ones((SIZE, SIZE, 4))
    patches, grain = _noise(rng, 1.7), _noise(rng, 0.8)
    pixels[..., 0] = _ranks(patches + 0.25 * grain)
    pixels[..., 1] = _scratches(rng)
    pixels[..., 2] = 0.35 + 0.65 * _ranks(grain + 0.5 * _noise(rng, 1.4))
    return _image(WEAR, pixels, is_data=True)


def sticker_image() -> bpy.types.Image:
    """Red, green, blue: the sticker's colours, display sRGB. Alpha: its rank, zero where there is none."""
    found = _existing(STICKERS)
    if found is not None:
        return found
    image = _image(STICKERS, _stickers(np.random.default_rng(1)), is_data=False)
    image.alpha_mode = "CHANNEL_PACKED"
    return image


def _existing(name: str) -> bpy.types.Image | None:
    found = bpy.data.images.get(name)
    return found if found is not None and tuple(found.size) == (SIZE, SIZE) else None


def _image(name: str, pixels: Floats, is_data: bool) -> bpy.types.Image:
    image = bpy.data.images.new(name, SIZE, SIZE, alpha=True, is_data=is_data)
    image.alpha_mode = "CHANNEL_PACKED"  # before the pixels, or they would be multiplied
    image.pixels.foreach_set(pixels.astype(np.float32).ravel())
    image.update()
    image.pack()
    return image


def _noise(rng: np.random.Generator, exponent: float) -> Floats:
    """Seamless noise of unit variance, whose amplitude falls with frequency to the power of ``exponent``."""
    y, x = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    frequency = np.hypot(x, y) * SIZE
    spectrum = np.fft.fft2(rng.normal(size=(SIZE, SIZE))) / np.maximum(frequency, 1.0) ** exponent
    spectrum[frequency < 3] = 0.0  # or one half of the picture would be dirty and the other clean
    field = np.fft.ifft2(spectrum).real
    return np.asarray(field / field.std())


def _ranks(field: Floats) -> Floats:
    """The share of values that are smaller, by value."""
    return np.asarray(field.ravel().argsort().argsort().reshape(field.shape) / field.size)


def _scratches(rng: np.random.Generator) -> Floats:
    """Bundles of slightly bent lines, the longest and deepest first."""
    rank = np.zeros((SIZE, SIZE))
    covered = 0
    for number in range(SCRATCHES):
        if number % 6 == 0:
            middle, direction = rng.random(2) * SIZE, rng.random() * np.pi
        start = middle + rng.normal(0.0, 0.05 * SIZE, 2)
        angle = direction + rng.normal(0.0, 0.25)
        length = SIZE * rng.uniform(0.04, 0.35) * (1.0 - 0.5 * number / SCRATCHES)
        width = rng.choice((1.0, 1.5, 2.5), p=(0.5, 0.35, 0.15))
        t = np.arange(-0.5, 0.5, 0.4 / length)
        bend = rng.normal(0.0, 0.25) * (t**2)
        along, across = t * length, bend * length
        taper = width * (1.0 - (2.0 * t) ** 4)
        level = 1.0 - covered / rank.size / SCRATCHED
        if level <= 0.0:
            break
        for offset in np.arange(-width / 2, width / 2 + 0.4, 0.45):
            inside = np.abs(offset) <= taper / 2 + 0.25
            y = start[0] + np.sin(angle) * along + np.cos(angle) * (across + offset)
            x = start[1] + np.cos(angle) * along - np.sin(angle) * (across + offset)
            cell = (y[inside].astype(int) % SIZE, x[inside].astype(int) % SIZE)
            rank[cell] = np.maximum(rank[cell], level)
        covered = int(np.count_nonzero(rank))
    return rank


def _stickers(rng: np.random.Generator) -> Floats:
    """Labels, discs and strips with borders and lines like those of print; each lies under all that came before."""
    pixels = np.zeros((SIZE, SIZE, 4))
    covered = 0.0
    while covered < MOST_STICKERS:
        middle, angle = rng.random(2) * SIZE, rng.random() * np.pi
        half = SIZE * np.exp(rng.uniform(np.log(0.03), np.log(0.1), 2))
        near = np.arange(-int(np.hypot(*half)) - 2, int(np.hypot(*half)) + 3)
        # The picture repeats: what leaves it on one side comes in again on the other.
        window = np.ix_(*((int(m) + near) % SIZE for m in middle))
        dy, dx = near[:, None] - middle[0] % 1, near[None, :] - middle[1] % 1
        u = (np.cos(angle) * dx + np.sin(angle) * dy) / half[0]
        w = (np.cos(angle) * dy - np.sin(angle) * dx) / half[1]
        round_ = rng.random() < 0.3
        radius = np.hypot(u, w) if round_ else np.maximum(np.abs(u), np.abs(w))
        paper, ink = _bright(rng), _bright(rng) * rng.uniform(0.0, 0.6)
        lines = (np.abs(u) < 0.7) & (np.abs(w) < 0.65) & (np.sin(w * rng.uniform(6.0, 16.0)) > 0.3)
        lines &= np.sin(u * rng.uniform(8.0, 30.0) + 5.0 * np.floor(w * 3.0)) > -0.5
        printed = lines if rng.random() < 0.6 else (radius < rng.uniform(0.3, 0.7))
        printed |= (radius > 0.88) & (rng.random() < 0.5)
        part = pixels[window]
        free = (radius <= 1.0) & (part[..., 3] == 0.0)
        part[free, :3] = np.where(printed[..., None], ink, paper)[free]
        part[free, 3] = 1.0 - covered
        pixels[window] = part
        covered = np.count_nonzero(pixels[..., 3]) / SIZE**2
    return pixels


def _bright(rng: np.random.Generator) -> Floats:
    """White, yellow, or any lively colour."""
    kind = rng.random()
    if kind < 0.35:
        return rng.uniform(0.85, 1.0) * np.ones(3)
    if kind < 0.5:
        return np.array([0.98, 0.8, 0.1])
    colour = rng.random(3)
    return np.asarray(0.1 + 0.9 * (colour - colour.min()) / (np.ptp(colour) + 1e-9))
