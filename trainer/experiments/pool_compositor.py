# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays a pool's backgrounds behind many renderings at once and applies the trainer's variables, all on the device.

As :mod:`..images.training_augmentation` does for a training, but with pictures that were made before, so that no image
costs any Python. Boards over keypoints and changes of geometry are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import sensor_effects
from ..images.sensor_effects import Values, over, premultiply
from .pool import Pool

ORDERS = ((0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1))
"""Of the colours of pictures drawn by program."""


class PoolCompositor:
    """Makes training images of a pool's renderings."""

    def __init__(self, pool: Pool, device: torch.device) -> None:
        """Bring the pool to the device, all of it."""
        self.device = device
        self._images = torch.from_numpy(np.array(pool.images)).to(device)
        self._keypoints = torch.from_numpy(pool.keypoints).float().to(device)
        self._backgrounds = torch.from_numpy(np.array(pool.backgrounds)).to(device)
        self._shapes = torch.from_numpy(np.array(pool.shapes)).to(device)
        self._orders = torch.tensor(ORDERS, device=device)
        self._effects = pool.effects
        self._size = pool.size
        self._generator = torch.Generator(device)

    def __call__(self, chosen: NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor]:
        """Images of some renderings, under other backgrounds for another seed.

        Args:
            chosen: indices of the pool ``(B,)``.
            seed: what the pictures and their parts follow from, each by its place among ``chosen``.

        Returns:
            RGB in 0 … 1 ``(B, 3, H, W)``, and the keypoints ``(B, J, 2)``.
        """
        self._generator.manual_seed(seed)
        rows = torch.from_numpy(chosen).to(self.device)
        values = Values(self._effects[chosen])
        rgba = premultiply(self._images[rows])
        rgb = over(rgba, self._behind(values))
        self._draw_shapes(rgb, values)
        return sensor_effects.apply(rgb, values, self._noise), self._keypoints[rows]

    def _below(self, count: int, size: int) -> Tensor:
        return torch.randint(0, count, (size,), generator=self._generator, device=self.device)

    def _noise(self, places: NDArray[np.int64]) -> Tensor:
        width, height = self._size
        return torch.randn(len(places), 3, height, width, generator=self._generator, device=self.device)

    def _behind(self, values: Values) -> Tensor:
        """A background for each image ``(B, 3, H, W)`` in 0 … 1: a part of a picture, mirrored or not, and of pictures
        drawn by program also upside down and in other colours."""
        (width, height), count = self._size, len(values)
        themes, pictures, _, tall, wide = self._backgrounds.shape
        theme = torch.tensor(values.choices("background/theme", themes), device=self.device)
        drawn = theme == 0
        picture = self._below(pictures, count)
        x = self._places(wide, width, self._below(2, count) == 1)
        y = self._places(tall, height, drawn & (self._below(2, count) == 1))
        order = self._orders[torch.where(drawn, self._below(len(ORDERS), count), 0)]
        crops = self._backgrounds[
            theme[:, None, None, None], picture[:, None, None, None], order[:, :, None, None],
            y[:, None, :, None], x[:, None, None, :],
        ]  # fmt: skip
        return crops.float().div_(255.0)

    def _places(self, whole: int, part: int, turned: Tensor) -> Tensor:
        """Rows or columns ``(B, part)`` of a random part of each picture, in reverse where ``turned``."""
        along = torch.arange(part, device=self.device)
        steps = torch.where(turned[:, None], part - 1 - along, along)
        return self._below(whole - part + 1, len(turned))[:, None] + steps

    def _draw_shapes(self, rgb: Tensor, values: Values) -> None:
        numbers = np.minimum(values["objects/drawn"].astype(np.int64), len(self._shapes))
        chosen = np.flatnonzero(numbers >= 1)
        if not len(chosen):
            return
        number = torch.from_numpy(numbers[chosen] - 1).to(self.device)
        drawn = self._shapes[number, self._below(self._shapes.shape[1], len(chosen))].permute(0, 2, 3, 1)
        rgb[chosen] = over(premultiply(drawn), rgb[chosen])
