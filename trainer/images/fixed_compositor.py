# SPDX-License-Identifier: GPL-3.0-or-later
"""Compositing of renderings for validation, tests and data sets: each picture follows from its own latent values and
seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.scene import catalogue
from ...core.settings import asset_folders
from ...core.settings.schema import AugmentationSettings, Settings
from . import sensor_effects
from .backgrounds import source
from .procedural import Dice, procedural, shapes
from .sensor_effects import Values


class FixedCompositor:
    """Lays backgrounds behind renderings and applies the variables that are the trainer's, always in the same way.

    Several threads may use one.
    """

    def __init__(
        self, settings: AugmentationSettings, width: int, height: int, themes: Sequence[str],
        validation: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Find the photographs of each theme.

        Args:
            themes: what the choices of ``background/theme`` after the first mean.
            validation: themes that stand in for all of those, if any is given.

        Raises:
            UserError: if a theme holds no photographs.
        """
        self.width, self.height = width, height
        self._choices = 1 + len(themes)
        self._apart = bool(validation)
        self._photos = [source(settings.backgrounds, theme) for theme in validation or themes]

    @classmethod
    def of(cls, settings: Settings, *, validation: bool = False) -> FixedCompositor:
        """The compositor for the images of a run, with the themes for training or those for validation behind them."""
        apart = settings.augmentation.validation_themes if validation else ()
        size = settings.render
        return cls(settings.augmentation, size.width, size.height, asset_folders.training_themes(settings), apart)

    def composite(self, images: Tensor, values: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> Tensor:
        """Put renderings on backgrounds and apply the sensor's effects.

        Args:
            images: RGBA with straight alpha, ``(B, H, W, 4)`` uint8.
            values: latent values; a variable that is missing is neutral, and others are not looked at.
            seeds: not negative; what the values leave open (the photograph, the shapes, the noise) follows from it.

        Returns:
            RGB ``(B, 3, H, W)`` uint8, each image independent of the others.
        """
        result = torch.empty(len(images), 3, self.height, self.width, dtype=torch.uint8)
        for out, image, own, seed in zip(result, images, values, seeds, strict=True):
            out.copy_(self._composite(image[None].cpu(), sensor_effects.table([own]), seed)[0])
        return result

    def _composite(self, image: Tensor, rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]], seed: int) -> Tensor:
        values = Values(rows)
        # Streams of their own, so that another number of shapes leaves the background and the noise as they are.
        behind, front, noise = (
            torch.Generator().manual_seed(int(s >> np.uint64(1)))
            for s in np.random.SeedSequence(seed).generate_state(3, np.uint64)
        )
        rgb = sensor_effects.premultiply(image)
        if int(image[..., 3].min()) < 255:
            background = self._background(float(values["background/theme"][0]), Dice(behind))
            rgb = sensor_effects.over(rgb, background.float().div_(255.0)[None])
        else:
            rgb = rgb[:, :3]
        count = int(values["objects/drawn"][0])
        if count > 0:
            drawn = shapes(Dice(front), self.width, self.height, count).permute(1, 2, 0)[None]
            rgb = sensor_effects.over(sensor_effects.premultiply(drawn), rgb)
        size = (1, 3, self.height, self.width)
        rgb = sensor_effects.apply(rgb, values, lambda _: torch.randn(size, generator=noise))
        return rgb.mul_(255.0).round_().byte()

    def _background(self, theme: float, dice: Dice) -> Tensor:
        """``(3, H, W)`` uint8."""
        choice = catalogue.choice(theme, self._choices)
        if choice == 0:
            return procedural(dice, self.width, self.height)
        # Where other themes stand in, each is as likely as the next, whatever the choice: by the value's fraction.
        index = int((theme - int(theme)) * len(self._photos)) if self._apart else choice - 1
        return self._photos[min(index, len(self._photos) - 1)].sample(dice, self.width, self.height)
