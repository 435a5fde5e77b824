# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a keypoint can be seen: in the image or outside, visible or occluded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SURE = 0.5
"""A keypoint of at least this confidence is claimed to lie inside the image."""

OCCLUDED, VISIBLE = 1, 2
"""As in COCO; 0 is outside."""


def inside(points: Floats, width: float, height: float) -> Flags:
    """Whether pixels ``(…, 2)`` lie in the image area; NaN does not."""
    with np.errstate(invalid="ignore"):
        u, v = points[..., 0], points[..., 1]
        return np.asarray((u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5))
