# SPDX-License-Identifier: GPL-3.0-or-later
"""The curve between display sRGB and linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def linear(shown: ArrayLike) -> NDArray[np.float64]:
    """Linear light of display sRGB, both 0 … 1, of any shape."""
    x = np.asarray(shown, dtype=np.float64)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def display(light: ArrayLike) -> NDArray[np.float64]:
    """Display sRGB of linear light, both 0 … 1, of any shape."""
    x = np.asarray(light, dtype=np.float64)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
