# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether confidences tell which keypoints lie where they were found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.robot.visibility import SURE

Floats = NDArray[np.float64]

FAR = 5.0
"""Percent of the diagonal beyond which a keypoint was taken for something else."""

BINS = 10
"""Equally wide ranges of the confidence, 0 … 1."""


def false_sure(percent: Floats, confidences: Floats) -> NDArray[np.bool_]:
    """The keypoints that are claimed with confidence, but lie farther off than :data:`FAR`.

    Args:
        percent: errors of any shape, percent of the diagonal; NaN where unknown.
        confidences: alike, 0 … 1.
    """
    return np.asarray((confidences >= SURE) & (percent > FAR))


def calibration(percent: Floats, confidences: Floats) -> dict[str, Any]:
    """How often keypoints of each confidence lie within :data:`FAR`; the arguments are those of :func:`false_sure`.

    Returns:
        ``threshold``, ``far_percent``; ``sure``, how many are claimed, and ``false_sure``, how many of these lie too
        far off; ``false_sure_share`` and ``calibration_error`` (the mean difference between confidence and share of
        right ones, weighted by counts), None of nothing; and ``bins``, which aren't empty, each with ``low``, ``high``,
        ``count``, its mean ``confidence``, and ``right``, the share within :data:`FAR`.
    """
    known = ~np.isnan(percent)
    errors, given = percent[known], confidences[known]
    sure, wrong = given >= SURE, false_sure(errors, given)
    places = np.clip((given * BINS).astype(int), 0, BINS - 1)
    bins = []
    for i in range(BINS):
        mine = places == i
        if mine.any():
            bins.append(
                {
                    "low": i / BINS,
                    "high": (i + 1) / BINS,
                    "count": int(mine.sum()),
                    "confidence": float(given[mine].mean()),
                    "right": float((errors[mine] <= FAR).mean()),
                }
            )
    gaps = [b["count"] * abs(b["confidence"] - b["right"]) for b in bins]
    return {
        "threshold": SURE,
        "far_percent": FAR,
        "sure": int(sure.sum()),
        "false_sure": int(wrong.sum()),
        "false_sure_share": float(wrong.sum() / sure.sum()) if sure.any() else None,
        "calibration_error": float(sum(gaps) / len(given)) if len(given) else None,
        "bins": bins,
    }
