# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lens, a sensor and a codec do to a picture, on tensors; each effect leaves a neutral value's picture as it is.

The order is a camera's: motion and lens blur, vignetting, colours, noise, sharpening, and JPEG at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from ...core.scene import catalogue
from . import jpeg

NAMES = tuple(catalogue.trainer_variables())
"""The variables that the trainer applies, in the order of the columns of :class:`Values`."""

INVISIBLE_MOTION = 0.05
"""Pixels that a picture may slide before it is worth the work."""

INVISIBLE_BLUR = 0.2
"""A Gaussian of fewer pixels takes less than a thousandth of a level from its neighbours."""

SHARPENING_SIGMA = 1.0

WORST_QUALITY = 20
"""The JPEG quality at the greatest loss."""

DISPLAY_GAMMA = 2.2

DARKEST = 0.12
"""Displayed value below which the display's curve is taken to be straight."""

Noise = Callable[[NDArray[np.int64]], Tensor]
"""Normal numbers ``(n, 3, H, W)`` for the images of those places in the batch."""


class Values:
    """The values of the variables that the trainer applies, for a batch of images."""

    def __init__(self, rows: NDArray[np.float64]) -> None:
        """Keep the values' rows.

        Args:
            rows: ``(B, V)``, columns as :data:`NAMES`.
        """
        self._columns = dict(zip(NAMES, rows.T, strict=True))
        self._count = len(rows)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The values of one variable, ``(B,)``."""
        column: NDArray[np.float64] = self._columns[name]
        return column

    def choices(self, name: str, count: int) -> list[int]:
        """The choices of a categorical variable."""
        return [catalogue.choice(v, count) for v in self[name].tolist()]


def row(values: Mapping[str, float]) -> list[float]:
    """One row of :class:`Values` from latent values; neutral where a variable is missing."""
    return [values.get(name, catalogue.BY_NAME[name].neutral) for name in NAMES]


def table(values: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Rows ``(B, V)`` of :class:`Values`."""
    return np.array([row(v) for v in values], np.float64).reshape(len(values), len(NAMES))


def apply(rgb: Tensor, values: Values, noise: Noise) -> Tensor:
    """Every effect on composited pictures.

    Args:
        rgb: ``(B, 3, H, W)`` float32 in 0 … 1; may be overwritten.

    Returns:
        The same kind, clamped to 0 … 1.
    """
    _slide(rgb, values["camera/motion_u"], values["camera/motion_v"])
    _blur(rgb, values["sensor/blur"])
    _vignette(rgb, values["sensor/vignetting"])
    rgb = _tone(rgb, values)
    _gamma(rgb, values["sensor/gamma"])
    _add_noise(rgb, values["sensor/noise"], values["sensor/read_noise"], noise)
    _sharpen(rgb, values["sensor/sharpening"])
    rgb.clamp_(0.0, 1.0)
    _compress(rgb, values["sensor/jpeg"])
    return rgb


def premultiply(images: Tensor) -> Tensor:
    """RGBA with straight alpha ``(B, H, W, 4)`` uint8 to premultiplied ``(B, 4, H, W)`` float32 in 0 … 1."""
    rgba = images.permute(0, 3, 1, 2).contiguous().float().div_(255.0)
    rgba[:, :3] *= rgba[:, 3:]
    return rgba


def over(rgba: Tensor, background: Tensor) -> Tensor:
    """Premultiplied ``(B, 4, H, W)`` laid over ``(B, 3, H, W)``."""
    return torch.addcmul(rgba[:, :3], 1.0 - rgba[:, 3:], background)


def _slide(rgb: Tensor, right: NDArray[np.float64], down: NDArray[np.float64]) -> None:
    """Motion blur: each pixel is the mean along a line whose middle is its own place, so that labels stay true."""
    width = rgb.shape[-1]
    u, v = right * width, down * width
    chosen = np.flatnonzero(np.hypot(u, v) > INVISIBLE_MOTION)
    if not len(chosen):
        return
    reach = math.ceil(np.abs([u[chosen], v[chosen]]).max() / 2) + 1
    kernels = np.stack([_line(a, b, reach) for a, b in zip(u[chosen], v[chosen], strict=True)])
    rgb[chosen] = _filtered(rgb[chosen], kernels)


def _filtered(rgb: Tensor, kernels: NDArray[np.float64]) -> Tensor:
    """Images ``(B, 3, H, W)``, each filtered by its own kernel, ``(B, h, w)`` of odd sizes; the border is repeated."""
    n, _, height, width = rgb.shape
    down, right = kernels.shape[1] // 2, kernels.shape[2] // 2
    wide = F.pad(rgb, (right, right, down, down), mode="replicate").view(1, 3 * n, height + 2 * down, -1)
    weight = torch.from_numpy(kernels).to(rgb).repeat_interleave(3, 0)[:, None]
    return F.conv2d(wide, weight, groups=3 * n).view(n, 3, height, width)


def _line(u: float, v: float, reach: int) -> NDArray[np.float64]:
    """Weights ``(2 reach + 1, 2 reach + 1)`` of the line from (-u/2, -v/2) to (u/2, v/2), pixels; their sum is one.

    Points along the line are shared among the four pixels around them, which keeps the line's middle exactly.
    """
    count = max(2, math.ceil(4 * math.hypot(u, v)))
    along = (np.arange(count) + 0.5) / count - 0.5
    x, y = along * u + reach, along * v + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - dy - (y - top)) * np.abs(1 - dx - (x - left))
        np.add.at(kernel, (top + dy, left + dx), share / count)
    return kernel


def _blur(rgb: Tensor, sigma: NDArray[np.float64]) -> None:
    """A Gaussian of ``sigma`` pixels."""
    chosen = np.flatnonzero(sigma > INVISIBLE_BLUR)
    if not len(chosen):
        return
    reach = math.ceil(3 * sigma[chosen].max())
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma[chosen, None]) ** 2)
    kernel /= kernel.sum(1, keepdims=True)
    rgb[chosen] = _filtered(_filtered(rgb[chosen], kernel[:, None, :]), kernel[:, :, None])


def _vignette(rgb: Tensor, loss: NDArray[np.float64]) -> None:
    """Less light away from the middle: ``loss`` of it in the corners, growing with the distance's square."""
    if not loss.any():
        return
    height, width = rgb.shape[-2:]
    diagonal = math.hypot(width, height)
    y = torch.linspace(-1, 1, height, device=rgb.device).view(-1, 1) * (height / diagonal)
    x = torch.linspace(-1, 1, width, device=rgb.device).view(1, -1) * (width / diagonal)
    light = 1 - _per_image(loss, rgb) * (x * x + y * y)
    rgb.mul_(light.clamp_min_(0.0).pow_(1 / DISPLAY_GAMMA))


def _change(rgb: Tensor, chosen: NDArray[np.int64], change: Callable[[Tensor], Tensor]) -> None:
    """Change the images at some places, in place where these are all of them.

    Args:
        change: works in place on images ``(n, 3, H, W)`` and returns them.
    """
    if len(chosen) == len(rgb):
        change(rgb)
    elif len(chosen):
        rgb[chosen] = change(rgb[chosen])


def _per_image(numbers: NDArray[np.float64], rgb: Tensor) -> Tensor:
    """``(B, 1, 1, 1)``, to be applied to images ``(B, 3, H, W)``."""
    return torch.from_numpy(numbers).to(rgb).view(-1, 1, 1, 1)


def _tone(rgb: Tensor, values: Values) -> Tensor:
    """White balance, hue, saturation, contrast and brightness, as one matrix and one offset per image."""
    v = {n: values[f"sensor/{n}"] for n in ("white_balance", "hue", "saturation", "contrast", "brightness")}
    if all((column == catalogue.BY_NAME[f"sensor/{n}"].neutral).all() for n, column in v.items()):
        return rgb
    b, _, height, width = rgb.shape
    yellow, saturation, contrast = v["white_balance"], v["saturation"][:, None, None], v["contrast"][:, None, None]
    grey = np.array([0.299, 0.587, 0.114])
    matrix = contrast * (saturation * _about_grey(v["hue"]) + (1 - saturation) * grey)
    matrix = matrix * np.stack([1 + yellow / 2, 1 + yellow / 2, 1 - yellow], -1)[:, None, :]
    offset = 0.5 * (1 - v["contrast"]) + v["brightness"]
    offsets = torch.from_numpy(offset).to(rgb).view(b, 1, 1)
    return torch.baddbmm(offsets, torch.from_numpy(matrix).to(rgb), rgb.reshape(b, 3, -1)).view(b, 3, height, width)


def _about_grey(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations ``(B, 3, 3)`` of RGB about the grey axis (Rodrigues)."""
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return np.asarray(c * np.eye(3) + s * cross + (1 - c) / 3)


def _gamma(rgb: Tensor, exponent: NDArray[np.float64]) -> None:
    chosen = np.flatnonzero(exponent != 1.0)
    exponents = _per_image(exponent[chosen], rgb)
    _change(rgb, chosen, lambda part: part.clamp_min_(0.0).pow_(exponents))


def _add_noise(rgb: Tensor, shown: NDArray[np.float64], read: NDArray[np.float64], noise: Noise) -> None:
    """Noise of one deviation in the displayed picture, as that of photons nearly is, and noise of one deviation in the
    light, which the display's curve makes larger where it is dark; both from one set of normal numbers."""
    chosen = np.flatnonzero((shown > 0) | (read > 0))
    flat = _per_image(shown[chosen].clip(0.0), rgb)
    if not (read[chosen] > 0).any():
        _change(rgb, chosen, lambda part: part.addcmul_(noise(chosen), flat))
        return
    light = _per_image(read[chosen].clip(0.0) / DISPLAY_GAMMA, rgb)

    def add(part: Tensor) -> Tensor:
        slope = part.clamp(DARKEST, 1.0).pow_(1.0 - DISPLAY_GAMMA).mul_(light)
        return part.addcmul_(noise(chosen), slope.square_().add_(flat.square()).sqrt_())

    _change(rgb, chosen, add)


def _sharpen(rgb: Tensor, amount: NDArray[np.float64]) -> None:
    """Unsharp masking with a Gaussian of :data:`SHARPENING_SIGMA` pixels, as cameras do it."""
    chosen = np.flatnonzero(amount > 0)
    if not len(chosen):
        return
    reach = math.ceil(3 * SHARPENING_SIGMA)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SHARPENING_SIGMA) ** 2)
    kernel = np.tile(kernel / kernel.sum(), (len(chosen), 1))
    sharp = rgb[chosen]
    smooth = _filtered(_filtered(sharp, kernel[:, None, :]), kernel[:, :, None])
    rgb[chosen] = sharp + _per_image(amount[chosen], rgb) * (sharp - smooth)


def _compress(rgb: Tensor, loss: NDArray[np.float64]) -> None:
    """Coded as JPEG and decoded, at quality 100 for almost no loss, at :data:`WORST_QUALITY` for a loss of one."""
    chosen = np.flatnonzero(loss > 0)
    if len(chosen):
        quality = np.round(100 - (100 - WORST_QUALITY) * np.minimum(loss[chosen], 1.0))
        rgb[chosen] = jpeg.coded(rgb[chosen], quality)
