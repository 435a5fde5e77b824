# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to renderings before they are learned from: geometry, backgrounds, distractors, colour, blur, noise.

Batched on tensors and deterministic given the generator's state. There is no mirroring: a mirrored robot is another
robot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..core.settings import AugmentationSettings
from .backgrounds import Bank, background_bank, overlay_bank

BACKGROUNDS = 96
OVERLAYS = 64


@dataclass(frozen=True)
class Strength:
    """How far each change goes.

    Attributes:
        scale: largest enlargement; its inverse is the smallest.
        rotation: radians, to either side.
        shift: share of the image's width and height, to either side.
        brightness, contrast, saturation: largest relative change.
        hue: radians about the grey axis, to either side.
        blurred: share of the images that are blurred.
        noise: largest standard deviation, of 255.
        occluded: share of the images with something in front of the robot.
    """

    scale: float = 1.25
    rotation: float = math.radians(10)
    shift: float = 0.08
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.3
    hue: float = math.radians(15)
    blurred: float = 0.25
    noise: float = 10.0
    occluded: float = 0.2


class Augmentation:
    """Renderings to training images."""

    def __init__(
        self, settings: AugmentationSettings, width: int, height: int, seed: int, device: torch.device,
        strength: Strength | None = None,
    ) -> None:  # fmt: skip
        """Draws the first backgrounds.

        Raises:
            UserError: if a folder of backgrounds holds no picture that can be read.
        """
        self.settings = settings
        self.strength = strength or Strength()
        self.device = device
        self.generator = torch.Generator().manual_seed(seed)
        self._backgrounds = background_bank(settings.backgrounds, width, height, BACKGROUNDS, self.generator)
        self._overlays = overlay_bank(width, height, OVERLAYS, self.generator) if settings.distractors else None
        # Normal numbers are dear; every image takes another crop of these.
        self._noise = torch.randn(3, 2 * height, 2 * width, generator=self.generator)

    def __call__(self, images: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            images: RGBA with straight alpha, ``(B, H, W, 4)`` uint8.
            keypoints: pixels ``(B, J, 2)``, NaN where behind the camera.

        Returns:
            RGB in 0 … 1, ``(B, 3, H, W)`` float32, and the keypoints in them ``(B, J, 2)`` float32.
        """
        s, g = self.settings, self.generator
        self._backgrounds.refresh()
        if self._overlays is not None:
            self._overlays.refresh()
        rgba = premultiply(images.to(self.device))
        points = keypoints.to(self.device, torch.float32)
        if s.geometry:
            rgba, points = self._move(rgba, points)
        rgb = over(rgba, self._crops(self._backgrounds, rgba))
        if self._overlays is not None:
            chosen = self._some(len(rgb), self.strength.occluded)
            if len(chosen):
                front = self._overlays.crops(len(chosen), rgb.shape[-1], rgb.shape[-2], g)
                rgb[chosen] = over(premultiply(front.to(self.device).permute(0, 2, 3, 1)), rgb[chosen])
        if s.colour:
            rgb = self._recolour(rgb)
        if s.noise:
            chosen = self._some(len(rgb), self.strength.blurred)
            if len(chosen):
                rgb[chosen] = self._blur(rgb[chosen])
            self._add_noise(rgb)
        return rgb.clamp_(0.0, 1.0), points

    def _crops(self, bank: Bank, like: Tensor) -> Tensor:
        crops = bank.crops(len(like), like.shape[-1], like.shape[-2], self.generator)
        return crops.to(self.device).float() / 255.0

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=self.generator)).to(self.device)

    def _some(self, count: int, share: float) -> Tensor:
        return torch.nonzero(torch.rand(count, generator=self.generator) < share).flatten().to(self.device)

    def _move(self, rgba: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, turn and shift images and keypoints alike.

        A robot that touches the image's border is only zoomed into, so that its cut edge stays outside.
        """
        b, _, height, width = rgba.shape
        k = self.strength
        alpha = rgba[:, 3]
        border = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], 1)
        cut = border.amax(1) > 0.1
        log = math.log(k.scale)
        scale = torch.exp(self._uniform(b, -log, log))
        scale = torch.where(cut, torch.exp(torch.log(scale).abs()), scale)
        angle = torch.where(cut, 0.0, self._uniform(b, -k.rotation, k.rotation))
        room = (scale - 1) / 2  # how far an enlarged image can be shifted without showing what is beyond it
        shift_u = self._uniform(b, -1, 1) * torch.where(cut, room, k.shift) * width
        shift_v = self._uniform(b, -1, 1) * torch.where(cut, room, k.shift) * height
        shift = torch.stack([shift_u, shift_v], -1)
        matrix = _rotation(angle) * scale[:, None, None]
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=self.device)
        moved = (points - centre) @ matrix.transpose(1, 2) + centre + shift[:, None]

        # grid_sample asks where each new pixel comes from, in units of half the image's size.
        inverse = _rotation(-angle) / scale[:, None, None]
        half = torch.tensor([width / 2, height / 2], device=self.device)
        theta = torch.cat([inverse * half / half[:, None], -(inverse @ shift[..., None]) / half[:, None]], 2)
        grid = F.affine_grid(theta, [b, 4, height, width], align_corners=False)
        # What lies beyond the border is like the border: clear, or a robot that goes on.
        return F.grid_sample(rgba, grid, mode="bilinear", padding_mode="border", align_corners=False), moved

    def _recolour(self, rgb: Tensor) -> Tensor:
        """Brightness, contrast, saturation and hue as one matrix and one offset per image."""
        b, _, height, width = rgb.shape
        k = self.strength
        gain = self._uniform(b, 1 - k.contrast, 1 + k.contrast) * self._uniform(b, 1 - k.brightness, 1 + k.brightness)
        saturation = self._uniform(b, 1 - k.saturation, 1 + k.saturation).view(b, 1, 1)
        grey = torch.tensor([0.299, 0.587, 0.114], device=self.device).expand(3, 3)
        matrix = saturation * _about_grey(self._uniform(b, -k.hue, k.hue)) + (1 - saturation) * grey
        offset = 0.5 * (1 - gain) + self._uniform(b, -k.brightness, k.brightness) * 0.3
        mixed = torch.baddbmm(offset.view(b, 1, 1), matrix * gain.view(b, 1, 1), rgb.reshape(b, 3, -1))
        return mixed.view(b, 3, height, width)

    def _blur(self, rgb: Tensor) -> Tensor:
        """Between nothing and a 5 × 5 triangle."""
        soft = F.pad(rgb, (2, 2, 2, 2), mode="replicate")
        soft = F.avg_pool2d(F.avg_pool2d(soft, 3, 1), 3, 1)
        return torch.lerp(rgb, soft, self._uniform(len(rgb), 0.2, 1.0).view(-1, 1, 1, 1))

    def _add_noise(self, rgb: Tensor) -> None:
        _, _, height, width = rgb.shape
        levels = (torch.rand(len(rgb), generator=self.generator) ** 2 * (self.strength.noise / 255.0)).tolist()
        places = torch.randint(0, 1 << 30, (len(rgb), 2), generator=self.generator).tolist()
        for image, level, (x, y) in zip(rgb, levels, places, strict=True):
            x, y = x % (width + 1), y % (height + 1)
            image.add_(self._noise[:, y : y + height, x : x + width].to(self.device), alpha=level)


def premultiply(images: Tensor) -> Tensor:
    """RGBA with straight alpha ``(B, H, W, 4)`` uint8 to premultiplied ``(B, 4, H, W)`` float32 in 0 … 1."""
    rgba = images.permute(0, 3, 1, 2).float() / 255.0
    rgba[:, :3] *= rgba[:, 3:]
    return rgba


def over(rgba: Tensor, background: Tensor) -> Tensor:
    """Premultiplied ``(B, 4, H, W)`` laid over ``(B, 3, H, W)``."""
    return torch.addcmul(rgba[:, :3], 1.0 - rgba[:, 3:], background)


def on_backgrounds(images: Tensor, folder: str, seed: int) -> Tensor:
    """Renderings over backgrounds and otherwise unchanged, the same ones for the same seed: for validation and tests.

    Args:
        images: ``(N, H, W, 4)`` uint8.
        folder: of photographs, or empty.

    Returns:
        RGB ``(N, 3, H, W)`` uint8.
    """
    generator = torch.Generator().manual_seed(seed)
    n, height, width, _ = images.shape
    bank = background_bank(folder, width, height, min(n, BACKGROUNDS), generator)
    result = torch.empty(n, 3, height, width, dtype=torch.uint8)
    for i in range(0, n, 64):
        part = premultiply(images[i : i + 64])
        behind = bank.crops(len(part), width, height, generator).float() / 255.0
        result[i : i + 64] = (over(part, behind) * 255.0).round().clamp(0, 255).byte()
    return result


def _rotation(angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def _about_grey(angle: Tensor) -> Tensor:
    """Rotations ``(B, 3, 3)`` of RGB about the grey axis (Rodrigues)."""
    c, s = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    r = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -r, r], [r, 0, -r], [-r, r, 0]], device=angle.device)
    return c * torch.eye(3, device=angle.device) + s * cross + (1 - c) / 3
