# SPDX-License-Identifier: GPL-3.0-or-later
"""What moves the priors in an experiment: the losses of all drawn renderings, or the hardest validation images."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import FeedbackSettings
from ..evaluation.evaluate import evaluate
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork
from ..training import feedback
from ..training.evidence import Evidence
from .pool import Pool

Floats = NDArray[np.float64]

AT_ONCE = 256
"""Images validated at a time."""


class PriorUpdates(Protocol):
    """One training's rule."""

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """Take in renderings that were just trained on.

        Args:
            chosen: indices of the pool ``(B,)``.
            losses: before the step ``(B,)``.
            weights: what they stand for among draws from the initial priors, see :func:`.importance` ``(B,)``.
        """

    def next(self, model: SceneModel, network: KeypointNetwork) -> SceneModel:
        """The next version of the priors."""


class SelectionUpdates:
    """The rule of [Heindl2019], III-C: validation images of the highest loss are counted."""

    def __init__(self, pool: Pool, settings: FeedbackSettings, precision: Precision) -> None:
        """The pool's validation images are what is selected from."""
        self._pool = pool
        self._settings = settings
        self._precision = precision

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """The losses in training don't count."""

    def next(self, model: SceneModel, network: KeypointNetwork) -> SceneModel:
        """The priors after counting the selected set."""
        found = evaluate(network, self._pool.validation, self._precision, AT_ONCE)
        assert found is not None
        return feedback.update(model, self._pool.initial, self._pool.latents, found.losses, self._settings).model


class EvidenceUpdates:
    """The losses of all drawn renderings, before the step that learns from them, are compared bin by bin.

    A pool's renderings come again, under other backgrounds, so that unlike in a run their losses are not all of images
    that nothing was learned from.
    """

    def __init__(self, pool: Pool, settings: FeedbackSettings) -> None:
        """Begin without any evidence."""
        self._bins = pool.bins.astype(np.int64)
        self._evidence = Evidence(pool.initial, settings)

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """Add their losses to the evidence."""
        self._evidence.add(self._bins[chosen], losses, weights)

    def next(self, model: SceneModel, network: KeypointNetwork) -> SceneModel:
        """The priors that the evidence asks for."""
        return self._evidence.posterior(model)


def updates(pool: Pool, settings: FeedbackSettings, precision: Precision) -> PriorUpdates:
    """The rule that the settings name."""
    if settings.rule == "evidence":
        return EvidenceUpdates(pool, settings)
    return SelectionUpdates(pool, settings, precision)
