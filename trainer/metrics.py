# SPDX-License-Identifier: GPL-3.0-or-later
"""How well keypoints were found: distances in percent of the image diagonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PCK_PERCENT = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Localisation:
    """Errors over all keypoints that lie inside their images, percent of the diagonal.

    Attributes:
        mean, median: None where no keypoint lay inside.
        per_keypoint: ``{name: {"mean", "median"}}`` of those that were seen at all.
        pck: share of keypoints found within 1, 2 and 5 percent.
    """

    mean: float | None
    median: float | None
    per_keypoint: dict[str, dict[str, float]]
    pck: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As in a ``metrics`` event; what is unknown is left out."""
        known = {"mean_error_percent": self.mean, "median_error_percent": self.median}
        return {
            **{k: v for k, v in known.items() if v is not None},
            "per_keypoint": self.per_keypoint,
            "pck": self.pck,
        }


def errors_percent(predicted: Floats, true: Floats, width: int, height: int) -> Floats:
    """Euclidean distances in percent of the diagonal ``(N, J)``; NaN for keypoints outside the image.

    Args:
        predicted, true: pixels ``(N, J, 2)``.
    """
    with np.errstate(invalid="ignore"):
        u, v = true[..., 0], true[..., 1]
        inside = (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)
        distance = np.linalg.norm(predicted - true, axis=-1) / math.hypot(width, height) * 100.0
    return np.where(inside, distance, np.nan)


def localisation(errors: Floats, names: Sequence[str]) -> Localisation:
    """Summary of errors ``(N, J)``, NaN where outside."""
    seen = errors[~np.isnan(errors)]
    if not seen.size:
        return Localisation(None, None, {}, {})
    per_keypoint = {}
    for j, name in enumerate(names):
        mine = errors[:, j][~np.isnan(errors[:, j])]
        if mine.size:
            per_keypoint[name] = {"mean": float(mine.mean()), "median": float(np.median(mine))}
    pck = {f"{limit:g}": float((seen <= limit).mean()) for limit in PCK_PERCENT}
    return Localisation(float(seen.mean()), float(np.median(seen)), per_keypoint, pck)
