# SPDX-License-Identifier: GPL-3.0-or-later
"""Flat things drawn over keypoints while learning: robots carry boards, grippers and parcels that no rendering has.

What is behind them has to be told from the rest of the robot.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .procedural import Dice, procedural

SIZE = (0.15, 0.75)
"""Longer side, as a share of the extent of the keypoints."""

LAST = 0.5
"""How often the cover is at the last keypoint, where robots carry things."""

TILT = math.radians(65)
"""How far a cover turns away from the camera at most."""

BESIDE = 0.4
"""How far its middle is from the keypoint at most, as a share of its size."""

TEXTURE = 96
"""Pixels of a cover's picture along a side."""

LEAST = 3.0
"""Smaller covers, in pixels, hide nothing."""


def draw(rgb: Tensor, points: Tensor, share: float, dice: Dice) -> None:
    """Draw a cover over one keypoint of some of the images, in place.

    Args:
        rgb: ``(B, 3, H, W)`` in 0 … 1.
        points: keypoints in their pixels ``(B, J, 2)``, NaN where there is none.
        share: of the images.
    """
    height, width = rgb.shape[-2:]
    for image, own in zip(rgb, points.cpu().numpy().astype(float), strict=True):
        if dice.unit() >= share:
            continue
        inside = own[((own >= 0) & (own < (width, height))).all(1)]
        if len(inside) < 2:
            continue
        size = dice.uniform(*SIZE) * float(np.ptp(inside, axis=0).max())
        at = inside[-1] if dice.unit() < LAST else inside[dice.below(len(inside))]
        corners = _corners(dice, at, size)
        left, top, right, bottom = _box(corners, width, height)
        if size < LEAST or left >= right or top >= bottom:
            continue
        laid = _laid(_texture(dice), [(x - left, y - top) for x, y in corners], right - left, bottom - top)
        cover = torch.from_numpy(laid).permute(2, 0, 1).to(image).div_(255.0)
        image[:, top:bottom, left:right].lerp_(cover[:3], cover[3:])


def _corners(
    dice: Dice, at: np.ndarray[tuple[int, ...], np.dtype[np.float64]], size: float
) -> list[tuple[float, float]]:
    """A rectangle turned in space and seen in perspective: four corners, pixels, around near ``at``."""
    aspect = math.exp(dice.uniform(-0.6, 0.6))
    w, h = (size, size * aspect) if aspect < 1 else (size / aspect, size)
    turn = dice.uniform(-math.pi, math.pi) if dice.unit() < 0.5 else 0.2 * dice.normal()
    tilt, towards = dice.uniform(0.0, TILT), dice.uniform(-math.pi, math.pi)
    axis = np.array([math.cos(towards), math.sin(towards)])
    middle = at + BESIDE * size * np.array([dice.uniform(-1, 1), dice.uniform(-1, 1)])
    result = []
    for x, y in ((-w, -h), (w, -h), (w, h), (-w, h)):
        p = 0.5 * np.array([x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)])
        along = float(p @ axis)
        depth = along * math.sin(tilt) / (6.0 * size)
        p = (p + (math.cos(tilt) - 1.0) * along * axis) / (1.0 + depth)
        result.append((float(middle[0] + p[0]), float(middle[1] + p[1])))
    return result


def _box(corners: list[tuple[float, float]], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the corners span within the image, in whole pixels."""
    low, high = np.floor(np.min(corners, axis=0)), np.ceil(np.max(corners, axis=0)) + 1
    left, top = np.maximum(low, 0.0).tolist()
    right, bottom = np.minimum(high, (width, height)).tolist()
    return int(left), int(top), int(right), int(bottom)


def _texture(dice: Dice) -> Image.Image:
    """What a cover looks like: a checkerboard, a plain thing with an edge, or a picture drawn by program."""
    kind, light = dice.unit(), dice.uniform(0.35, 1.0)
    if kind < 0.35:
        image = _checkerboard(dice, light)
    elif kind < 0.75:
        image = Image.new("RGB", (TEXTURE, TEXTURE), dice.colour(0.8))
        ImageDraw.Draw(image).rectangle((0, 0, TEXTURE - 1, TEXTURE - 1), outline=dice.colour(), width=dice.below(9))
    else:
        image = Image.fromarray(procedural(dice, TEXTURE, TEXTURE).permute(1, 2, 0).numpy())
    image.putalpha(255)
    return image


def _checkerboard(dice: Dice, light: float) -> Image.Image:
    columns, rows = 3 + dice.below(9), 3 + dice.below(7)
    white, black = int(255 * light), int(90 * light * dice.unit())
    squares = (np.indices((rows, columns)).sum(0) % 2 * (white - black) + black).astype(np.uint8)
    edge = dice.below(12)
    image = Image.new("L", (TEXTURE, TEXTURE), white)
    inner = TEXTURE - 2 * edge
    image.paste(Image.fromarray(squares).resize((inner, inner), Image.Resampling.NEAREST), (edge, edge))
    return image.convert("RGB")


def _laid(
    texture: Image.Image, corners: list[tuple[float, float]], width: int, height: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The texture's corners at those of the image, clockwise from the top left: RGBA ``(H, W, 4)``."""
    n = float(texture.width)
    rows, values = [], []
    for (u, v), (x, y) in zip(((0.0, 0.0), (n, 0.0), (n, n), (0.0, n)), corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    laid = texture.transform(
        (width, height), Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BILINEAR
    )
    return np.array(laid)
