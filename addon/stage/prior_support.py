# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's priors can ask of the scene, so that nothing else is built."""

from __future__ import annotations

import numpy as np

from ...core.scene import catalogue
from ...core.scene.prior import Prior
from ...core.settings import asset_folders
from ...core.settings.schema import Settings


def choices(settings: Settings, name: str, count: int) -> tuple[int, ...]:
    """The choices, out of ``count``, that the run's prior of a categorical variable admits; the neutral one alone if
    the run lacks the variable."""
    prior = _prior(settings, name)
    entry = catalogue.find(name)
    assert entry is not None
    if prior is None:
        return (catalogue.choice(entry.neutral, count),)
    top = prior.high if prior.constant else float(np.nextafter(prior.high, prior.low))
    return tuple(range(catalogue.choice(prior.low, count), catalogue.choice(top, count) + 1))


def varies(settings: Settings, name: str) -> bool:
    """Whether a variable (not one in units of the robot's reach) can have any value but its neutral one."""
    prior = _prior(settings, name)
    entry = catalogue.find(name)
    assert entry is not None
    return prior is not None and not (prior.constant and prior.low == entry.neutral)


def denoised(settings: Settings) -> bool:
    """Whether a run's images are to be denoised: see :class:`.RenderSettings`."""
    if settings.render.denoise != "auto":
        return settings.render.denoise == "on"
    return max(choices(settings, "light/world", len(asset_folders.worlds(settings)) + 1)) > 0


def _prior(settings: Settings, name: str) -> Prior | None:
    return next((v.variable().prior for v in settings.variables if v.name == name), None)
