# SPDX-License-Identifier: GPL-3.0-or-later
"""How bright a world's light makes a matt surface, without tracing a ray: by spherical harmonics up to degree two.

Irradiance is so smooth a function of the surface's direction that nine numbers hold it to about a hundredth
(Ramamoorthi and Hanrahan).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SPREAD = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
"""What a matt surface makes of each harmonic, divided by π."""


def harmonics(pixels: ArrayLike) -> Floats:
    """Coefficients ``(9, 3)`` of an equirectangular picture ``(H, W, 3)``, linear, bottom row first, laid around the
    scene as Blender does it."""
    p = np.asarray(pixels, dtype=np.float64)
    height, width = p.shape[:2]
    elevation = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    azimuth = (0.5 - (np.arange(width) + 0.5) / width) * 2 * np.pi
    weight = np.cos(elevation)
    weight *= 4 * np.pi / (weight.sum() * width)
    up, flat = np.sin(elevation)[:, None], np.cos(elevation)[:, None]
    directions = np.stack(np.broadcast_arrays(flat * np.cos(azimuth), flat * np.sin(azimuth), up), axis=-1)
    return np.asarray(np.einsum("hwk,hwc,h->kc", _basis(directions), p, weight))


def radiance(coefficients: Floats, normal: ArrayLike, turn: float) -> Floats:
    """What a white matt surface radiates, RGB ``(3,)``.

    Args:
        normal: its direction ``(3,)`` in the world.
        turn: of the world about z, radians.
    """
    x, y, z = np.asarray(normal, dtype=np.float64)
    c, s = np.cos(turn), np.sin(turn)
    basis = _basis(np.array([c * x + s * y, c * y - s * x, z]))
    return np.asarray((SPREAD * basis) @ coefficients).clip(0.0, None)


def _basis(directions: Floats) -> Floats:
    """The real spherical harmonics ``(..., 9)`` of unit vectors ``(..., 3)``."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([
        np.full_like(x, 0.282095),
        0.488603 * y, 0.488603 * z, 0.488603 * x,
        1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
    ], axis=-1)  # fmt: skip
