# SPDX-License-Identifier: GPL-3.0-or-later
"""The learning rate over a run, and when a run has learned all it will."""

from __future__ import annotations

import math

from ..core.settings import TrainingSettings

LAST = 0.01
"""Of the learning rate, at the end of a cosine."""


def learning_rate(settings: TrainingSettings, step: int, fraction: float) -> float:
    """For the step after ``step`` others, when ``fraction`` of the run is done.

    Rises over the first steps, then stays or falls along a cosine.
    """
    warm = min(1.0, (step + 1) / max(settings.warm_up, 1))
    if settings.schedule == "constant":
        return settings.learning_rate * warm
    fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))
    return settings.learning_rate * warm * (LAST + (1.0 - LAST) * fall)


def exhausted(settings: TrainingSettings, stale: int) -> bool:
    """Whether to end after ``stale`` validations in a row without a better one."""
    return 0 < settings.patience <= stale
