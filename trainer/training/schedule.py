# SPDX-License-Identifier: GPL-3.0-or-later
"""The learning rate and the weight of the pose over a run, and when a run has learned all it will."""

from __future__ import annotations

import math

from ...core.settings.schema import TrainingSettings

LAST = 0.01
"""Of the learning rate, at the end of a cosine."""

RISE = 0.1
"""Share of a run over which the weight of the pose rises."""


def learning_rate(settings: TrainingSettings, step: int, fraction: float) -> float:
    """The learning rate for the step after ``step`` others, when ``fraction`` of the run is done.

    Rises over the first steps, then stays or falls along a cosine.
    """
    warm = min(1.0, (step + 1) / max(settings.warm_up, 1))
    if settings.schedule == "constant":
        return settings.learning_rate * warm
    fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))
    return settings.learning_rate * warm * (LAST + (1.0 - LAST) * fall)


def pose_share(settings: TrainingSettings, fraction: float) -> float:
    """How much of the weight of the pose's loss counts, 0 … 1, when ``fraction`` of the run is done."""
    if settings.pose_weight == 0.0:
        return 0.0
    if settings.pose_from == 0.0:
        return 1.0
    return min(1.0, max(0.0, (fraction - settings.pose_from) / RISE))


def exhausted(settings: TrainingSettings, stale: int) -> bool:
    """Whether to end after ``stale`` validations in a row without a better one."""
    return 0 < settings.patience <= stale
