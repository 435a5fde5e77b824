# SPDX-License-Identifier: GPL-3.0-or-later
"""What the second simulator draws by in an experiment: the losses of all drawn renderings, the hardest validation
images, or the loss of each rendering itself, which no simulator can know and which bounds what the others can bring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import FeedbackSettings
from ..evaluation.evaluate import evaluate
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork
from ..training import feedback
from ..training.evidence import MOST_LOSS, Evidence
from .pool import Pool
from .settings import FeedbackExperiment

Floats = NDArray[np.float64]

AT_ONCE = 256
"""Images validated at a time."""


@dataclass(frozen=True)
class Following:
    """What the second simulator draws by.

    Attributes:
        model: the priors.
        ratios: how much more often than initially each rendering is drawn ``(N,)``; their mean is one.
    """

    model: SceneModel
    ratios: Floats

    @classmethod
    def of(cls, pool: Pool, model: SceneModel) -> Following:
        """By the priors alone."""
        return cls(model, pool.density_ratios(model))


class PriorUpdates(Protocol):
    """One training's rule."""

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """Take in renderings that were just trained on.

        Args:
            chosen: indices of the pool ``(B,)``.
            losses: before the step ``(B,)``.
            weights: what they stand for among draws from the initial priors, see :func:`.importance` ``(B,)``.
        """

    def next(self, model: SceneModel, network: KeypointNetwork) -> Following:
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

    def next(self, model: SceneModel, network: KeypointNetwork) -> Following:
        """The priors after counting the selected set."""
        found = evaluate(network, self._pool.validation, self._precision, AT_ONCE)
        assert found is not None
        moved = feedback.update(model, self._pool.initial, self._pool.latents, found.losses, self._settings).model
        return Following.of(self._pool, moved)


class EvidenceUpdates:
    """The losses of all drawn renderings, before the step that learns from them, are compared bin by bin.

    A pool's renderings come again, under other backgrounds, so that unlike in a run their losses are not all of images
    that nothing was learned from.
    """

    def __init__(self, pool: Pool, settings: FeedbackSettings) -> None:
        """Begin without any evidence."""
        self._pool = pool
        self._bins = pool.bins.astype(np.int64)
        self._evidence = Evidence(pool.initial, settings)

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """Add their losses to the evidence."""
        self._evidence.add(self._bins[chosen], losses, weights)

    def next(self, model: SceneModel, network: KeypointNetwork) -> Following:
        """The priors that the evidence asks for."""
        return Following.of(self._pool, self._evidence.posterior(model))


class RenderingUpdates:
    """Each rendering is drawn by its own present loss to the power ``exponent``, and at least by the ``floor``."""

    def __init__(self, losses: Callable[[KeypointNetwork], Floats], settings: FeedbackSettings) -> None:
        """``losses`` are of all of the pool's renderings ``(N,)``."""
        self._losses = losses
        self._settings = settings

    def see(self, chosen: NDArray[np.int64], losses: Floats, weights: Floats) -> None:
        """The losses in training don't count."""

    def next(self, model: SceneModel, network: KeypointNetwork) -> Following:
        """The priors stay."""
        losses = self._losses(network).clip(0.0)
        ratios = np.maximum(losses / losses.mean(), self._settings.floor).clip(max=MOST_LOSS) ** self._settings.exponent
        return Following(model, ratios / ratios.mean())


def updates(
    pool: Pool, experiment: FeedbackExperiment, precision: Precision, losses: Callable[[KeypointNetwork], Floats]
) -> PriorUpdates:  # fmt: skip
    """The rule that the experiment names.

    Args:
        losses: of all of the pool's renderings ``(N,)``.
    """
    settings = experiment.feedback()
    if experiment.rule == "renderings":
        return RenderingUpdates(losses, settings)
    if experiment.rule == "evidence":
        return EvidenceUpdates(pool, settings)
    return SelectionUpdates(pool, settings, precision)
