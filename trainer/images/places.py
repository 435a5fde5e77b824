# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of places to lay behind renderings: views of the HDRI worlds that Blender brings and of rooms made by
program, in any direction, as wide or narrow as cameras see, and metered as cameras do it.

``assets/places`` holds both as JPEGs of radiance L over its mean, kept as L / (1 + L) in display sRGB, so that windows
and lamps stay brighter than white (``tools/make_places.py``, ``tools/make_rooms.py``).
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from ...core import srgb
from ...core.errors import UserError
from .procedural import Dice

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "places"

FIELD = (math.radians(32), math.radians(95))
"""Horizontal fields of view."""

PITCH, PITCH_SPREAD = math.radians(-10), math.radians(15)
"""Cameras look down a little; mean and standard deviation."""

ROLL_SPREAD = math.radians(4)

METERED = (0.2, 0.75)
"""Linear brightness that the metered pixel gets."""

METERED_RANK = (0.45, 0.85)
"""Which pixel is metered, as a share of the darker ones."""

KNEE = 0.8
"""Linear brightness above which highlights are compressed."""


def encoded(radiance: ArrayLike) -> NDArray[np.uint8]:
    """Radiance over its mean ``(H, W, 3)`` as it is kept."""
    light = np.asarray(radiance, np.float64)
    return np.asarray((_display(torch.from_numpy(light / (1.0 + light))) * 255.0).round().byte().numpy())


def decoded(pixels: Tensor) -> Tensor:
    """Inverse of :func:`encoded`, float32."""
    return _RADIANCE[pixels.long()]


class Places:
    """Views of all worlds; a world's picture is read when it is first looked at. Several threads may sample."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Find the pictures.

        Raises:
            UserError: if there are none.
        """
        self._files = sorted(folder.glob("*.jpg"))
        if not self._files:
            raise UserError(f"The pictures of places are missing from {folder}: install Robot Keypoints again")
        self._worlds: dict[int, Tensor] = {}
        self._lock = threading.Lock()

    def sample(self, dice: Dice, width: int, height: int) -> Tensor:
        """A view ``(3, height, width)`` uint8; it follows from the dice alone."""
        world = self._world(dice.below(len(self._files)))
        field = math.exp(dice.uniform(math.log(FIELD[0]), math.log(FIELD[1])))
        yaw = dice.uniform(-math.pi, math.pi)
        pitch, roll = PITCH + PITCH_SPREAD * dice.normal(), ROLL_SPREAD * dice.normal()
        light = _view(world, width, height, field, yaw, pitch, roll)
        rank, level = dice.uniform(*METERED_RANK), dice.uniform(*METERED)
        return _exposed(light, rank, level)

    def _world(self, index: int) -> Tensor:
        """Pixels ``(1, 3, H, W + 1)`` uint8, the first column once more at the end."""
        with self._lock:
            if index not in self._worlds:
                pixels = torch.from_numpy(np.array(Image.open(self._files[index]).convert("RGB"))).permute(2, 0, 1)
                self._worlds[index] = torch.cat([pixels, pixels[:, :, :1]], 2)[None]
            return self._worlds[index]


def _view(world: Tensor, width: int, height: int, field: float, yaw: float, pitch: float, roll: float) -> Tensor:
    """Linear radiance ``(3, height, width)`` that a pinhole camera sees; y down, z ahead, angles in radians."""
    focal = width / 2 / math.tan(field / 2)
    y, x = torch.meshgrid(
        (torch.arange(height) - (height - 1) / 2) / focal, (torch.arange(width) - (width - 1) / 2) / focal,
        indexing="ij",
    )  # fmt: skip
    x, y = math.cos(roll) * x - math.sin(roll) * y, math.sin(roll) * x + math.cos(roll) * y
    y, z = math.cos(pitch) * y - math.sin(pitch), math.sin(pitch) * y + math.cos(pitch)
    azimuth = torch.atan2(x, z) + yaw
    elevation = torch.atan2(-y, torch.hypot(x, z))
    across = 2.0 * torch.remainder(azimuth / math.tau + 0.5, 1.0) - 1.0
    grid = torch.stack([across, -2.0 * elevation / math.pi], -1)[None]
    # From column to column of centres, so that the first and the one after the last are the same.
    top, left, bottom, right = _box(world, grid)
    part = decoded(world[:, :, top:bottom, left:right])
    w, h = world.shape[-1] - 1, world.shape[-2]
    u, v = (grid[..., 0] + 1) / 2 * w - left, ((grid[..., 1] + 1) / 2 * h - 0.5).clamp(0, h - 1) - top
    local = torch.stack([
        2 * u / max(right - left - 1, 1) - 1, 2 * v / max(bottom - top - 1, 1) - 1,
    ], -1)  # fmt: skip
    return F.grid_sample(part, local, mode="bilinear", padding_mode="border", align_corners=True)[0]


def _box(world: Tensor, grid: Tensor) -> tuple[int, int, int, int]:
    """The part of a world's picture that a grid in -1 … 1 needs: top, left, bottom, right."""
    w, h = world.shape[-1] - 1, world.shape[-2]
    u, v = (grid[..., 0] + 1) / 2 * w, ((grid[..., 1] + 1) / 2 * h - 0.5).clamp(0, h - 1)
    top, bottom = int(v.min()), min(int(v.max()) + 2, h)
    left, right = int(u.min()), min(int(u.max()) + 2, w + 1)
    return top, left, bottom, right


def _exposed(light: Tensor, rank: float, level: float) -> Tensor:
    """Linear radiance ``(3, H, W)`` as a camera's picture, uint8: the pixel of this rank gets this brightness, and
    highlights are compressed before they are white."""
    metered = light.mean(0).flatten()
    gain = level / max(float(metered.kthvalue(max(1, round(rank * metered.numel()))).values), 1e-4)
    shown = light * gain
    above = (shown - KNEE).clamp(min=0.0)
    shown = torch.where(shown > KNEE, KNEE + (1 - KNEE) * above / (above + 2 * (1 - KNEE)), shown)
    return (_display(shown) * 255.0).round().clamp(0, 255).byte()


def _display(linear: Tensor) -> Tensor:
    """Linear values 0 … 1 as display sRGB."""
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9).pow(1 / 2.4) - 0.055
    )  # fmt: skip


def _radiance() -> Tensor:
    """The radiance of each of the 256 values of a kept picture."""
    linear = torch.from_numpy(srgb.linear(np.arange(256) / 255.0)).clamp(max=0.997)
    return (linear / (1.0 - linear)).float()


_RADIANCE = _radiance()
