# SPDX-License-Identifier: GPL-3.0-or-later
"""What JPEG does to pictures: by libjpeg in main memory, and on a graphics card by the same steps on tensors, so that
the pictures need not come back from there.

The steps are those of ITU-T T.81 without the entropy coding, which loses nothing. Colours are halved in both
directions, as encoders do by default, and spread again by triangles, as libjpeg does.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

BLOCK = 8

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
"""Steps of quantisation at quality 50 (T.81, tables K.1 and K.2), by vertical and horizontal frequency."""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
"""Between RGB and luminance with two differences of colours (JFIF)."""


def coded(rgb: Tensor, quality: NDArray[np.float64]) -> Tensor:
    """Pictures after coding and decoding.

    Args:
        rgb: ``(B, 3, H, W)`` in 0 … 1, floating point.
        quality: 1 … 100 for each, as libjpeg counts it, ``(B,)``.

    Returns:
        ``(B, 3, H, W)``, multiples of 1/255 in 0 … 1.
    """
    if rgb.device.type == "cpu":
        return torch.stack([_by_libjpeg(image, round(float(q))) for image, q in zip(rgb, quality, strict=True)])
    return on_tensors(rgb, quality)


def _by_libjpeg(rgb: Tensor, quality: int) -> Tensor:
    """One picture ``(3, H, W)``."""
    plain = (rgb * 255.0).round_().byte().permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(plain).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).to(rgb) / 255.0


def on_tensors(rgb: Tensor, quality: NDArray[np.float64]) -> Tensor:
    """:func:`coded` on any device; a few levels off libjpeg's whole numbers at edges, and less than one in the mean."""
    height, width = rgb.shape[-2:]
    down, right = -height % (2 * BLOCK), -width % (2 * BLOCK)
    pixels = F.pad((rgb * 255.0).round_(), (0, right, 0, down), mode="replicate")
    ycc = _mixed(pixels, TO_YCC)
    luminance = _quantised(ycc[:, :1] - 128.0, _steps(LUMINANCE, quality, rgb)) + 128.0
    colours = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _steps(CHROMINANCE, quality, rgb))
    colours = F.interpolate(colours, scale_factor=2.0, mode="bilinear", align_corners=False)
    back = _mixed(torch.cat([luminance, colours], 1), TO_RGB)
    return back[..., :height, :width].round().clamp_(0.0, 255.0).div_(255.0)


def _mixed(pixels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", torch.tensor(matrix, dtype=pixels.dtype, device=pixels.device), pixels)


def _steps(table: tuple[tuple[int, ...], ...], quality: NDArray[np.float64], like: Tensor) -> Tensor:
    """Steps of quantisation ``(B, 8, 8)`` at other qualities, by libjpeg's rule."""
    scale = np.where(quality < 50, 5000 / np.maximum(quality, 1), 200 - 2 * quality)
    steps = np.floor((np.array(table) * scale[:, None, None] + 50) / 100).clip(1, 255)
    return torch.from_numpy(steps).to(like)


def _quantised(channels: Tensor, steps: Tensor) -> Tensor:
    """Channels ``(B, C, H, W)`` with the cosine transform of each block rounded to whole steps."""
    b, c, height, width = channels.shape
    cosines = _cosines().to(channels)
    blocks = channels.view(b, c, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    steps = steps[:, None, None, None]
    rounded = ((cosines @ blocks @ cosines.T) / steps).round_() * steps
    return (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(b, c, height, width)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The orthonormal cosine transform ``(8, 8)``, a frequency in each row."""
    frequency, place = torch.arange(BLOCK).view(-1, 1), torch.arange(BLOCK).view(1, -1)
    matrix = torch.cos(math.pi * frequency * (2 * place + 1) / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix
