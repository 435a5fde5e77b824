# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether covariances tell how far off keypoints are: squared errors over variances against chi-square with two degrees
of freedom, whose distribution function is 1 - exp(-x/2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.robot import visibility as keypoint_visibility
from ..maps.soft_argmax import squared_errors
from . import keypoint_metrics

Floats = NDArray[np.float64]

ELLIPSES = (50, 68, 90, 95, 99)
"""Percent of the keypoints that should lie within an ellipse."""


def normalised_errors(predicted: Floats, covariances: Floats, true: Floats, confidences: Floats) -> Floats:
    """Squared errors over variances ``(N, J)``; NaN where the truth isn't known, or where the model doesn't claim the
    keypoint to be inside the image: nobody goes by those.

    Args:
        predicted, true: pixels ``(N, J, 2)``, the latter NaN where unknown or outside.
        covariances: pixels² ``(N, J, 2, 2)``.
        confidences: ``(N, J)``.
    """
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in (predicted, covariances, true))
    errors = squared_errors(*tensors).numpy()
    return np.where((confidences >= keypoint_visibility.SURE) & np.isfinite(errors) & (errors >= 0), errors, np.nan)


@dataclass(frozen=True)
class Reliability:
    """Normalised squared errors ``(N, J)``, NaN where there is none, in the order of ``names``."""

    names: tuple[str, ...]
    errors: Floats

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain JSON values, of all keypoints and of each; see :func:`summary`."""
        each = {name: summary(self.errors[:, j]) for j, name in enumerate(self.names)}
        return {**summary(self.errors), "per_keypoint": each}


def summary(errors: Floats) -> dict[str, Any]:
    """How normalised squared errors are distributed, of any shape, NaN left out.

    Returns:
        ``errors``, see :func:`.keypoint_metrics.distribution`; ``chi_square``, the same mean and quantiles as they
        should be; ``within``, the share inside the ellipses that should hold so many percent; ``distance``, the
        largest one between the two distribution functions (Kolmogorov and Smirnov's); ``width``, how many times as
        large as the
        ellipses say a middling error is: the root of the medians' ratio. What there is nothing of is None.
    """
    seen = np.sort(errors[~np.isnan(errors)])
    if not seen.size:
        return {"errors": None, "chi_square": expected(), "within": None, "distance": None, "width": None}
    should = -np.expm1(-seen / 2)
    steps = np.arange(seen.size + 1) / seen.size
    return {
        "errors": keypoint_metrics.distribution(seen),
        "chi_square": expected(),
        "within": {str(p): float((seen <= limit(p / 100)).mean()) for p in ELLIPSES},
        "distance": float(np.maximum(steps[1:] - should, should - steps[:-1]).max()),
        "width": float(np.sqrt(np.median(seen) / limit(0.5))),
    }


def expected() -> dict[str, Any]:
    """Mean, median and quantiles of chi-square with two degrees of freedom, as :func:`.keypoint_metrics.distribution`
    has them."""
    quantiles = {str(q): float(limit(q / 100)) for q in keypoint_metrics.QUANTILES}
    return {"mean": 2.0, "median": float(limit(0.5)), "quantiles": quantiles}


def limit(share: Any) -> Any:
    """Squared error over variance up to which a ``share`` of the keypoints should be."""
    return -2 * np.log1p(-np.asarray(share, np.float64))


def curve(errors: Floats, points: int = 101) -> tuple[Floats, Floats]:
    """The curve of a reliability plot: shares that should lie within ellipses, 0 … 1, and those that do; no NaN."""
    shares = np.linspace(0.0, 1.0, points)
    seen = np.sort(errors[~np.isnan(errors)])
    with np.errstate(divide="ignore"):
        limits = limit(shares)
    found = np.searchsorted(seen, limits, side="right") / seen.size if seen.size else np.full(points, np.nan)
    return shares, np.asarray(found, np.float64)


def table(rows: Sequence[tuple[str, dict[str, Any]]], width: int) -> list[str]:
    """Lines of text: each row's name and its :func:`summary`, and what they should be.

    Args:
        width: of the first column.
    """
    lines = [
        f"{'':<{width}}         error² over variance   % within the ellipse of",
        f"{'reliability':<{width}}  count    mean  median    50 %    90 %    99 %",
    ]
    for name, entry in rows:
        if entry["errors"] is None:
            lines.append(f"{name:<{width}}{0:>7}       –")
            continue
        e, within = entry["errors"], entry["within"]
        shares = "".join(f"{within[str(p)]:8.1%}" for p in (50, 90, 99))
        lines.append(f"{name:<{width}}{e['count']:>7}{e['mean']:8.2f}{e['median']:8.2f}{shares}")
    lines.append(f"{'should be':<{width}}{'':>7}{2:8.2f}{limit(0.5):8.2f}{0.5:8.1%}{0.9:8.1%}{0.99:8.1%}")
    return lines
