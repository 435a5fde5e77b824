# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the validation says to new priors, and to a sentence about what is hardest [Heindl2019, III-C]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.messages.events import HardRange
from ...core.scene.scene_model import SceneDraw, SceneModel, posterior
from ...core.settings.schema import FeedbackSettings

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

WIDEST = 4
"""Bins that one reported range spans at most, and at most a third of all."""


@dataclass(frozen=True)
class Hard:
    """A range of one variable that is over-represented among the hardest samples.

    Attributes:
        low, high: in the variable's unit; of a circular variable ``high`` may lie below ``low``.
        share: share of the hardest samples that fall into it.
    """

    variable: str
    low: float
    high: float
    share: float

    def to_dict(self) -> HardRange:
        """As plain JSON values."""
        return {"variable": self.variable, "low": self.low, "high": self.high, "share": self.share}


@dataclass(frozen=True)
class Update:
    """The next version of the priors, and the selected set S that it comes from.

    Attributes:
        chosen: indices of S among the validation samples, the highest score first.
        of: number of the validation samples.
        lowest: score in S; ``mean`` of all samples.
        counts: samples of S in each bin of every variable that adapts.
    """

    model: SceneModel
    chosen: tuple[int, ...]
    of: int
    lowest: float
    mean: float
    counts: dict[str, list[int]]

    def record(self, settings: FeedbackSettings) -> dict[str, Any]:
        """What moved the priors, as plain JSON values; the indices are those of the run's validation samples."""
        return {
            "select": settings.select, "selected": len(self.chosen), "of": self.of, "lowest": self.lowest,
            "mean": self.mean, "strength": settings.strength, "forgetting": settings.forgetting,
            "floor": settings.floor, "indices": sorted(self.chosen), "counts": self.counts,
        }  # fmt: skip


def select(scores: Floats, share: float, threshold: float = 0.0) -> Integers:
    """Indices of the selected set S, the highest score first: the ``share`` of samples with the highest scores, or with
    a ``threshold`` all above that many times the mean; at least one."""
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    count = int((scores > threshold * scores.mean()).sum()) if threshold else round(share * len(scores))
    return order[: max(1, count)]


def update(
    model: SceneModel, initial: SceneModel, latents: Sequence[SceneDraw], scores: Floats, settings: FeedbackSettings
) -> Update:
    """The next version of the priors.

    Args:
        latents: of the validation samples.
        scores: their losses, or how unsure the network is of them ``(N,)``: see :attr:`FeedbackSettings.select`.
    """
    chosen = select(scores, settings.share, settings.threshold)
    samples = [latents[i] for i in chosen]
    after = posterior(
        model, initial, samples, forgetting=settings.forgetting, floor=settings.floor, strength=settings.strength
    )
    counts = {
        v.name: np.bincount(v.prior.bin_of([h.values[v.name] for h in samples]), minlength=v.prior.bins).tolist()
        for v in model.variables
        if v.adapt and not v.prior.constant
    }
    indices = tuple(int(i) for i in chosen)
    return Update(after, indices, len(scores), float(scores[chosen].min()), float(scores.mean()), counts)


def hardest(
    model: SceneModel, latents: Sequence[SceneDraw], losses: Floats, share: float, count: int = 3
) -> list[Hard]:
    """The ranges that stand out most among the hardest samples, at most one per adapting variable.

    A range stands out by its number of samples in S beyond what the whole validation set lets expect, in standard
    deviations of that number; below two it is taken for chance and left out.
    """
    chosen = set(select(losses, share).tolist())
    found: list[tuple[float, Hard]] = []
    for variable in model.variables:
        prior = variable.prior
        if not variable.adapt or prior.constant:
            continue
        bins = prior.bin_of([h.values[variable.name] for h in latents])
        everywhere = np.bincount(bins[bins >= 0], minlength=prior.bins)
        in_set = np.bincount(bins[[i for i in sorted(chosen) if bins[i] >= 0]], minlength=prior.bins)
        best: tuple[float, Hard] | None = None
        for width in range(1, max(1, min(WIDEST, prior.bins // 3)) + 1):
            for start in range(prior.bins if prior.circular else prior.bins - width + 1):
                window = [(start + i) % prior.bins for i in range(width)]
                p = everywhere[window].sum() / len(latents)
                spread = math.sqrt(max(len(chosen) * p * (1 - p), 1e-9))
                score = float((in_set[window].sum() - len(chosen) * p) / spread)
                if p > 0 and score > 2 and (best is None or score > best[0]):
                    edges = prior.edges
                    inside = float(in_set[window].sum() / len(chosen))
                    hard = Hard(variable.name, float(edges[start]), float(edges[window[-1] + 1]), inside)
                    best = (score, hard)
        if best is not None:
            found.append(best)
    found.sort(key=lambda entry: -entry[0])
    return [hard for _, hard in found[:count]]
