# SPDX-License-Identifier: GPL-3.0-or-later
"""How well keypoints were found: distances in percent of the image diagonal and in pixels, and who was seen at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.messages.events import Metrics
from ...core.robot.visibility import OCCLUDED, SURE, VISIBLE, Floats, inside

PCK_PERCENT = (1.0, 2.0, 5.0)

PCK_LIMIT = 10.0
"""Percent of the diagonal up to which the area under the PCK curve is taken."""

QUANTILES = (5, 25, 50, 75, 90, 95, 99)
"""Percentiles of a distribution of errors."""


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

    def to_dict(self) -> Metrics:
        """As plain JSON values, as in a ``metrics`` event; what is unknown is left out."""
        found: Metrics = {}
        if self.mean is not None and self.median is not None:
            found = {"mean_error_percent": self.mean, "median_error_percent": self.median}
        found["per_keypoint"], found["pck"] = self.per_keypoint, self.pck
        return found


def errors_percent(predicted: Floats, true: Floats, width: int, height: int) -> Floats:
    """Euclidean distances in percent of the diagonal ``(N, J)``; NaN for keypoints outside the image.

    Args:
        predicted, true: pixels ``(N, J, 2)``.
    """
    with np.errstate(invalid="ignore"):
        distance = np.linalg.norm(predicted - true, axis=-1) / math.hypot(width, height) * 100.0
    return np.where(inside(true, width, height), distance, np.nan)


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


def distribution(errors: Floats) -> dict[str, Any] | None:
    """Mean, median, standard deviation, largest and percentiles of errors of any shape, NaN left out.

    Returns:
        ``count``, ``mean``, ``median``, ``deviation``, ``largest`` and ``quantiles`` by percent; None of no errors.
    """
    seen = errors[~np.isnan(errors)]
    if not seen.size:
        return None
    return {
        "count": int(seen.size),
        "mean": float(seen.mean()),
        "median": float(np.median(seen)),
        "deviation": float(seen.std()),
        "largest": float(seen.max()),
        "quantiles": {str(q): float(v) for q, v in zip(QUANTILES, np.percentile(seen, QUANTILES), strict=True)},
    }


def pck_curve(errors: Floats, limit: float = PCK_LIMIT, points: int = 201) -> tuple[Floats, Floats]:
    """Thresholds from 0 to ``limit``, and the share of errors up to each; NaN left out."""
    thresholds = np.linspace(0.0, limit, points)
    seen = np.sort(errors[~np.isnan(errors)])
    shares = np.searchsorted(seen, thresholds, side="right") / max(seen.size, 1)
    return thresholds, np.asarray(shares, np.float64)


def pck_area(errors: Floats, limit: float = PCK_LIMIT) -> float | None:
    """Area under the PCK curve from 0 to ``limit`` over ``limit``, 0 … 1, exact; None of no errors."""
    seen = errors[~np.isnan(errors)]
    # An error e lifts the curve from e onwards, so it adds what is left up to the limit.
    return float(np.maximum(0.0, 1.0 - seen / limit).mean()) if seen.size else None


@dataclass(frozen=True)
class Measurement:
    """A model's answers on N annotated images. Each array is ``(N, J)``, in the order of ``names``.

    Attributes:
        percent, pixels: errors; NaN where the keypoint is outside the image or not annotated.
        visibility: 1 occluded, 2 visible, 0 outside, -1 not annotated.
        confidences: that the keypoint lies inside, where it was found, 0 … 1.
        truncated: errors in percent of keypoints that the image just cuts off; NaN of all others. None where that
            isn't known.
        found: whether these were found at all; None with ``truncated``.
    """

    names: tuple[str, ...]
    percent: Floats
    pixels: Floats
    visibility: NDArray[np.int64]
    confidences: Floats
    truncated: Floats | None = None
    found: NDArray[np.bool_] | None = None

    def of_visibility(self, value: int) -> Floats:
        """Errors in percent of the occluded or the visible ones, NaN elsewhere."""
        return np.where(self.visibility == value, self.percent, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """All measures as plain JSON values; what there is nothing of is None."""
        keypoints = {name: self._measures(slice(j, j + 1)) for j, name in enumerate(self.names)}
        known = [e for e in keypoints.values() if e["percent"] is not None]
        return {**self._measures(slice(None)), "per_keypoint": keypoints, "keypoints_measured": len(known)}

    def _measures(self, columns: slice) -> dict[str, Any]:
        percent, seen = self.percent[:, columns], self.visibility[:, columns]
        errors = percent[~np.isnan(percent)]
        result: dict[str, Any] = {
            "percent": distribution(percent),
            "pixels": distribution(self.pixels[:, columns]),
            "pck": {f"{limit:g}": float((errors <= limit).mean()) for limit in PCK_PERCENT} if errors.size else None,
            "pck_area": pck_area(percent),
            "pck_area_limit_percent": PCK_LIMIT,
        }
        for name, value in (("visible", VISIBLE), ("hidden", OCCLUDED)):
            result[name] = distribution(np.where(seen == value, percent, np.nan))
        result["truncated"] = None
        if self.truncated is not None and self.found is not None:
            result["truncated"] = cut_off(self.truncated[:, columns], self.found[:, columns])
        return {**result, "detection": detection(self.confidences[:, columns], seen)}


def cut_off(errors: Floats, found: NDArray[np.bool_]) -> dict[str, Any] | None:
    """How well keypoints just outside the image were found.

    Args:
        errors: percent of the diagonal, of any shape; NaN of keypoints that lie elsewhere.
        found: alike, whether the model is sure enough of each.

    Returns:
        ``count``, ``found`` (the share of them) and ``percent`` (the distribution of the errors of those that were
        found); None where there are none.
    """
    there = ~np.isnan(errors)
    if not there.any():
        return None
    return {
        "count": int(there.sum()),
        "found": float(found[there].mean()),
        "percent": distribution(np.where(found, errors, np.nan)),
    }


def detection(confidences: Floats, visibility: NDArray[np.int64], threshold: float = SURE) -> dict[str, Any]:
    """Whether the confidence tells keypoints inside the image from those outside.

    Args:
        confidences: of any shape.
        visibility: alike; -1 (not annotated) is left out.

    Returns:
        ``threshold``; ``inside`` (how many) and ``found`` (the share of them that is claimed); ``outside`` and
        ``false_positives`` (the share of them that is claimed); a share of nothing is None.
    """
    claimed = confidences >= threshold
    within, without = visibility > 0, visibility == 0
    return {
        "threshold": threshold,
        "inside": int(within.sum()),
        "found": float(claimed[within].mean()) if within.any() else None,
        "outside": int(without.sum()),
        "false_positives": float(claimed[without].mean()) if without.any() else None,
    }
