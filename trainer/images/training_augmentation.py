# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to renderings before they are learned from: geometry, backgrounds, drawn shapes, lens and sensor.

Batched on tensors and deterministic given the generator's state. How strong each change is, is in the latent values.
There is no mirroring: a mirrored robot is another robot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.settings.schema import AugmentationSettings
from ..maps.codec import inside
from . import covers, sensor_effects, views as image_views
from .backgrounds import Backgrounds
from .procedural import Dice, mixed, shapes
from .sensor_effects import Values, over, premultiply

LARGEST_SCALE = 1.25
"""Of the change of geometry; its inverse is the smallest."""

LARGEST_TURN = math.radians(10)
LARGEST_SHIFT = 0.08
"""Share of the image's width and height."""


CLOSER_SHARE = 0.65
"""Of the images that are closer crops, where the network makes two passes."""

CLOSER_ZOOM = 1.35
"""A closer crop in training is of a part up to so many times as large, or as small, as around the true keypoints."""

CLOSER_SHIFT = 0.15
"""It is beside them by up to this share of its size."""


class Augmented(NamedTuple):
    """Images for the network.

    Attributes:
        images: RGB in 0 … 1, ``(B, 3, H, W)`` float32.
        keypoints: in their pixels, ``(B, J, 2)`` float32.
        to_rendering: from their pixels to those of the renderings, ``(B, 2, 3)``; None where these are the same.
    """

    images: Tensor
    keypoints: Tensor
    to_rendering: Tensor | None


class Augmentation:
    """Renderings to training images.

    What is drawn for a batch follows from the seed and the batch's number alone, but for which pictures lie in the
    banks of backgrounds; :attr:`state` holds both.
    """

    def __init__(
        self, settings: AugmentationSettings, width: int, height: int, seed: int, device: torch.device,
        themes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Prepare the random numbers and the backgrounds.

        Args:
            width, height: of the network's input; renderings that are larger are looked at twice, see
                :mod:`.two_passes`.
            themes: what the choices of ``background/theme`` after the first mean.

        Raises:
            UserError: if a theme holds no photograph that can be read.
        """
        self.settings = settings
        self.device = device
        self._size = (width, height)
        self._seed = seed
        self._batches = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._dice = Dice(self._generator)
        self._backgrounds = Backgrounds(settings.backgrounds, themes, width, height, seed)
        # Normal numbers are dear; every image takes another crop of these.
        self._noise = torch.randn(3, 2 * height, 2 * width, generator=self._generator).to(device)

    @property
    def state(self) -> dict[str, Any]:
        """What the next batch depends on, as plain JSON values."""
        return {"batches": self._batches, "backgrounds": self._backgrounds.state}

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        self._batches = int(value["batches"])
        self._backgrounds.state = value["backgrounds"]

    def __call__(self, images: Tensor, keypoints: Tensor, values: NDArray[np.float64]) -> Augmented:
        """Make training images of renderings.

        Args:
            images: RGBA with straight alpha, ``(B, H, W, 4)`` uint8.
            keypoints: pixels ``(B, J, 2)``, NaN where behind the camera.
            values: of the variables that the trainer applies, ``(B, V)`` as from :func:`.sensor_effects.table`.
        """
        self._generator.manual_seed(mixed(self._seed, self._batches))
        self._dice = Dice(self._generator)
        self._batches += 1
        known = Values(values)
        rgba = premultiply(images.to(self.device))
        points = keypoints.to(self.device, torch.float32)
        views = self._views(rgba, points)
        if views is not None:
            rgba, points = image_views.sample(rgba, views, self._size), views.points_to_view(points)
        rgb = self._lay_over_backgrounds(rgba, known)
        if self.settings.covers:
            covers.draw(rgb, points, self.settings.covers, self._dice)
        self._draw_shapes(rgb, known)
        rgb = sensor_effects.apply(rgb, known, self._some_noise)
        return Augmented(rgb, points, None if views is None else views.to_image)

    def _lay_over_backgrounds(self, rgba: Tensor, values: Values) -> Tensor:
        clear = torch.nonzero(rgba[:, 3].flatten(1).amin(1) < 1.0).flatten().tolist()
        if not clear:
            return rgba[:, :3].contiguous()
        choices = values.choices("background/theme", len(self._backgrounds))
        height, width = rgba.shape[-2:]
        behind = self._backgrounds.crops([choices[i] for i in clear], width, height, self._generator)
        behind = behind.to(self.device).float().div_(255.0)
        if len(clear) == len(rgba):
            return over(rgba, behind)
        rgb = rgba[:, :3].contiguous()
        rgb[clear] = over(rgba[clear], behind)
        return rgb

    def _draw_shapes(self, rgb: Tensor, values: Values) -> None:
        height, width = rgb.shape[-2:]
        for i in np.flatnonzero(values["objects/drawn"] >= 1).tolist():
            drawn = shapes(self._dice, width, height, int(values["objects/drawn"][i])).permute(1, 2, 0)[None]
            rgb[i] = over(premultiply(drawn.to(self.device)), rgb[i : i + 1])[0]

    def _some_noise(self, places: NDArray[np.int64]) -> Tensor:
        height, width = self._noise.shape[-2] // 2, self._noise.shape[-1] // 2
        corners = [(self._dice.below(width + 1), self._dice.below(height + 1)) for _ in places]
        return torch.stack([self._noise[:, y : y + height, x : x + width] for x, y in corners])

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=self._generator)).to(self.device)

    def _views(self, rgba: Tensor, points: Tensor) -> image_views.Views | None:
        """What is shown of each rendering; None where all of it is, as it is."""
        height, width = rgba.shape[-2:]
        twice = (width, height) != self._size
        if not twice and not self.settings.geometry:
            return None
        views = image_views.whole(len(rgba), (width, height), self._size, self.device)
        if twice:
            zoom = torch.exp(self._uniform(len(rgba), -1, 1) * math.log(CLOSER_ZOOM))
            shift = CLOSER_SHIFT * torch.stack([self._uniform(len(rgba), -1, 1) for _ in range(2)], -1)
            counted = inside(points, width, height)
            closer, worth = image_views.around(points, counted, (width, height), self._size, zoom, shift)
            chosen = worth & (self._uniform(len(rgba), 0, 1) < CLOSER_SHARE)
            views = image_views.Views(torch.where(chosen[:, None, None], closer.to_image, views.to_image))
        return views.of(self._move(rgba)) if self.settings.geometry else views

    def _move(self, rgba: Tensor) -> Tensor:
        """Scales, turns and shifts of views, ``(B, 2, 3)`` from the new view's pixels to the old one's.

        A robot that touches the rendering's border is only zoomed into, so that its cut edge stays outside.
        """
        b, (width, height) = len(rgba), self._size
        alpha = rgba[:, 3]
        border = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], 1)
        cut = border.amax(1) > 0.1
        log = math.log(LARGEST_SCALE)
        scale = torch.exp(self._uniform(b, -log, log))
        scale = torch.where(cut, torch.exp(torch.log(scale).abs()), scale)
        angle = torch.where(cut, 0.0, self._uniform(b, -LARGEST_TURN, LARGEST_TURN))
        room = (scale - 1) / 2  # how far an enlarged image can be shifted without showing what is beyond it
        shift_u = self._uniform(b, -1, 1) * torch.where(cut, room, LARGEST_SHIFT) * width
        shift_v = self._uniform(b, -1, 1) * torch.where(cut, room, LARGEST_SHIFT) * height
        shift = torch.stack([shift_u, shift_v], -1)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=self.device)
        inverse = _rotation(-angle) / scale[:, None, None]
        offset = centre - (inverse @ (centre + shift)[..., None])[..., 0]
        return torch.cat([inverse, offset[..., None]], 2)


def _rotation(angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
