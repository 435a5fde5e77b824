# SPDX-License-Identifier: GPL-3.0-or-later
"""What renderings were drawn from, until they are first trained on, and what reused ones are drawn from anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.messages.samples import Sample
from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import Settings

MOST_WAITING = 65536
"""Renderings that may wait for their first use; the oldest are forgotten beyond that."""


@dataclass(frozen=True)
class FirstUses:
    """The images of a batch that were never trained on before.

    Attributes:
        places: in the batch ``(F,)``.
        bins: of each variable, in the order of the model's ``(F, V)``.
        versions: of the priors that they were drawn from ``(F,)``.
    """

    places: NDArray[np.int64]
    bins: NDArray[np.int64]
    versions: NDArray[np.int64]


class Draws:
    """Shared by the store, which fills it, and the trainer, which asks for each image's draw once.

    Attributes:
        model: the latest version of the priors.
        adaptive: share of the reused images whose values that the trainer applies are drawn from that version, as
            those of the adaptive workers are; the others' from the initial priors.
    """

    def __init__(self, initial: SceneModel, adaptive: float = 0.0) -> None:
        self.model = initial
        self.adaptive = adaptive
        self._names = [v.name for v in initial.variables]
        self._waiting: dict[int, tuple[list[int], int]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Draws:
        """As many reused images follow the posteriors as workers do."""
        adaptive = settings.workers.adaptive / settings.workers.count if settings.feedback.enabled else 0.0
        return cls(settings.scene_model(), adaptive)

    def remember(self, number: int, sample: Sample) -> None:
        """Take note of a rendering that came into the store as ``number``."""
        self._waiting[number] = [sample.latents.bins.get(name, -1) for name in self._names], sample.version
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def first_uses(self, numbers: Sequence[int] | NDArray[np.int64]) -> FirstUses:
        """Those of a batch's images that are now trained on for the first time; to be asked once for each batch."""
        found = [(place, self._waiting.pop(int(number), None)) for place, number in enumerate(numbers)]
        known = [(place, *draw) for place, draw in found if draw is not None]
        return FirstUses(
            np.array([place for place, _, _ in known], np.int64),
            np.array([bins for _, bins, _ in known], np.int64).reshape(len(known), len(self._names)),
            np.array([version for _, _, version in known], np.int64),
        )
