# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures drawn by program: backgrounds, and lines and shapes in front. All chance comes from a :class:`Dice`."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

Colour = tuple[int, int, int]


class Dice:
    """Plain random numbers from a torch generator, drawn in blocks because one at a time is slow."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self._block: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._block:
            self._block = torch.rand(256, generator=self.generator).tolist()
        return self._block.pop()

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def normal(self) -> float:
        """Normal with mean 0 and standard deviation 1, by Box and Muller."""
        return math.sqrt(-2.0 * math.log(1.0 - self.unit())) * math.cos(math.tau * self.unit())

    def below(self, count: int) -> int:
        """A whole number in 0 … count - 1."""
        return min(int(self.unit() * count), count - 1)

    def colour(self, grey: float = 0.5) -> Colour:
        """A display-sRGB colour, nearly grey with the probability ``grey``."""
        if self.unit() < grey:
            value = self.uniform(5, 250)
            r, g, b = (min(max(int(value + self.uniform(-14, 14)), 0), 255) for _ in range(3))
        else:
            r, g, b = (self.below(256) for _ in range(3))
        return (r, g, b)


def mixed(*numbers: int) -> int:
    """A seed that follows from several numbers, none of them negative."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def procedural(dice: Dice, width: int, height: int) -> Tensor:
    """One background ``(3, H, W)`` uint8."""
    kinds = (_noise, _gradient, _stripes, _blobs, _room)
    picture = kinds[dice.below(len(kinds))](dice, width, height)
    if dice.unit() < 0.3:
        other = kinds[dice.below(len(kinds))](dice, width, height)
        mask = _field(dice, width, height, 1, dice.below(4) + 2)
        soft = torch.sigmoid((mask - mask.median()) * dice.uniform(4, 40))
        picture = picture * soft + other * (1 - soft)
    if dice.unit() < 0.3:
        picture = picture + _field(dice, width, height, 1, max(width, height) // 2) * dice.uniform(5, 50)
    image = Image.fromarray(picture.clamp(0, 255).byte().permute(1, 2, 0).numpy())
    if dice.unit() < 0.6:
        _clutter(dice, image, 4 + dice.below(40))
    if dice.unit() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(dice.uniform(0.5, 2.5)))
    return to_tensor(image)


def shapes(dice: Dice, width: int, height: int, count: int) -> Tensor:
    """``count`` lines and primitives on nothing, ``(4, H, W)`` uint8 RGBA with straight alpha."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    _clutter(dice, image, count, largest=0.16)
    return to_tensor(image)


def to_tensor(image: Image.Image) -> Tensor:
    """Its bytes as ``(C, H, W)`` uint8."""
    channels = len(image.getbands())
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.view(image.height, image.width, channels).permute(2, 0, 1).contiguous()


def _field(dice: Dice, width: int, height: int, channels: int, cell: int) -> Tensor:
    """Smooth noise ``(channels, H, W)`` of about unit variance with features of ``cell`` pixels."""
    rows, columns = max(2, height // cell + 2), max(2, width // cell + 2)
    coarse = torch.randn(1, channels, rows, columns, generator=dice.generator)
    return F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)[0]


def _colour(dice: Dice) -> Tensor:
    return torch.tensor(dice.colour(), dtype=torch.float32).view(3, 1, 1)


def _noise(dice: Dice, width: int, height: int) -> Tensor:
    """Noise at several scales, as on stone, soil or foliage."""
    picture = _colour(dice).expand(3, height, width).clone()
    falloff = dice.uniform(0.3, 1.1)
    strength = dice.uniform(10, 70)
    coloured = 3 if dice.unit() < 0.4 else 1
    cell = max(width, height) // (1 + dice.below(4))
    while cell >= 2:
        picture += _field(dice, width, height, coloured, cell) * strength
        strength *= falloff
        cell //= 3
    return picture


def _ramp(dice: Dice, width: int, height: int) -> Tensor:
    """Coordinates along a random direction ``(1, H, W)``, pixels."""
    angle = dice.uniform(0, math.tau)
    y, x = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    return (x * math.cos(angle) + y * math.sin(angle))[None].float()


def _gradient(dice: Dice, width: int, height: int) -> Tensor:
    ramp = _ramp(dice, width, height)
    if dice.unit() < 0.3:
        y, x = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
        ramp = torch.hypot(x - dice.uniform(0, width), y - dice.uniform(0, height))[None]
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min()).clamp_min(1e-6)
    return _colour(dice) * ramp + _colour(dice) * (1 - ramp)


def _stripes(dice: Dice, width: int, height: int) -> Tensor:
    """Stripes, tiles or checkers with a little dirt."""
    period = dice.uniform(6, max(width, height) / 2)
    duty = dice.uniform(-0.9, 0.9)
    wave = (torch.sin(_ramp(dice, width, height) * (math.tau / period)) > duty).float()
    if dice.unit() < 0.5:
        other = (torch.sin(_ramp(dice, width, height) * (math.tau / period)) > duty).float()
        wave = (wave - other).abs() if dice.unit() < 0.6 else wave * other
    dirt = _field(dice, width, height, 1, max(3, int(period))) * dice.uniform(0, 25)
    return _colour(dice) * wave + _colour(dice) * (1 - wave) + dirt


def _blobs(dice: Dice, width: int, height: int) -> Tensor:
    """Flat patches of a few colours with crisp or soft borders."""
    picture = _colour(dice).expand(3, height, width)
    for _ in range(2 + dice.below(4)):
        field = _field(dice, width, height, 1, 4 + dice.below(max(width, height) // 2))
        mask = torch.sigmoid((field - dice.uniform(0.0, 0.8)) * dice.uniform(3, 60))
        picture = picture * (1 - mask) + _colour(dice) * mask
    return picture


def _room(dice: Dice, width: int, height: int) -> Tensor:
    """A floor and a wall, each with its shade and its texture."""
    horizon = dice.uniform(0.15, 0.75) * height + (_ramp(dice, width, height) * dice.uniform(-0.08, 0.08))
    floor = (torch.arange(height).view(1, -1, 1) > horizon).float()
    surface = (_gradient, _noise, _stripes)
    wall = surface[dice.below(2)](dice, width, height)
    ground = surface[dice.below(3)](dice, width, height)
    return wall * (1 - floor) + ground * floor


def _clutter(dice: Dice, image: Image.Image, count: int, largest: float = 0.5) -> None:
    """Beams, boxes, discs, cables and frames, as stand about in a workshop; drawn in place."""
    draw = ImageDraw.Draw(image)
    w, h = image.size
    size = max(w, h)
    for _ in range(count):
        x, y = dice.uniform(-0.1, 1.1) * w, dice.uniform(-0.1, 1.1) * h
        extent = size * 0.02 * (largest / 0.02) ** dice.unit()
        fill = dice.colour()
        edge = dice.colour() if dice.unit() < 0.4 else None
        kind = dice.below(6)
        if kind == 0:  # a beam: a long rectangle at any angle, often upright
            angle = dice.uniform(0, math.pi) if dice.unit() < 0.6 else math.pi / 2 * dice.below(2)
            length, thick = extent * dice.uniform(1, 3), size * dice.uniform(0.008, 0.06)
            draw.polygon(_rectangle(x, y, length, thick, angle), fill=fill, outline=edge)
        elif kind == 1:  # a box with a lighter lid
            depth = extent * dice.uniform(0.1, 0.5)
            deep = extent * dice.uniform(0.3, 1.2)
            light = (min(fill[0] + 40, 255), min(fill[1] + 40, 255), min(fill[2] + 40, 255))
            lid = [(x, y), (x + depth, y - depth), (x + extent + depth, y - depth), (x + extent, y)]
            draw.polygon(lid, fill=light, outline=edge)
            draw.rectangle([x, y, x + extent, y + deep], fill=fill, outline=edge)
        elif kind == 2:  # a disc or a ring
            across = extent * dice.uniform(0.4, 1.0)
            ring = dice.unit() < 0.3
            line = max(1, int(size * dice.uniform(0.005, 0.03)))
            draw.ellipse(
                [x - extent / 2, y - across / 2, x + extent / 2, y + across / 2],
                fill=None if ring else fill, outline=fill if ring else edge, width=line if ring else 1,
            )  # fmt: skip
        elif kind == 3:  # a cable: a bent line
            points = [(x, y)]
            angle = dice.uniform(0, math.tau)
            for _ in range(3 + dice.below(8)):
                angle += dice.uniform(-0.7, 0.7)
                step = extent * 0.4
                points.append((points[-1][0] + step * math.cos(angle), points[-1][1] + step * math.sin(angle)))
            draw.line(points, fill=fill, width=1 + dice.below(max(1, size // 40)), joint="curve")
        elif kind == 4:  # a jointed arm, so that links and round joints alone do not mean "robot"
            thick = max(2, int(size * dice.uniform(0.01, 0.05)))
            for _ in range(2 + dice.below(3)):
                angle = dice.uniform(0, math.tau)
                end = (x + extent * math.cos(angle), y + extent * math.sin(angle))
                draw.line([(x, y), end], fill=fill, width=thick)
                draw.ellipse([x - thick, y - thick, x + thick, y + thick], fill=edge or fill)
                x, y = end
        else:  # any triangle or quadrilateral
            corners = [
                (x + extent * dice.uniform(-0.7, 0.7), y + extent * dice.uniform(-0.7, 0.7))
                for _ in range(3 + dice.below(2))
            ]
            draw.polygon(corners, fill=fill, outline=edge)


def _rectangle(x: float, y: float, length: float, thick: float, angle: float) -> list[tuple[float, float]]:
    c, s = math.cos(angle) / 2, math.sin(angle) / 2
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return [(x + a * length * c - b * thick * s, y + a * length * s + b * thick * c) for a, b in corners]
