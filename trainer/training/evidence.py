# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values of a variable are hard, and how sure that is: from the losses of images before they are trained on.

Nothing has been learned from an image that is seen for the first time, so its loss is one of held-out data. For each
variable the mean losses of its bins are compared. How far these means scatter is held against how far they would by
chance: only what lies above a threshold counts, and the more it lies above, the more of it does. That is the
positive-part estimator of [James1961] with a test's threshold in place of the expected scatter, so that a variable
keeps its prior, and does not wander, until there is evidence. The slow course of the means over the range, to which
neighbouring bins contribute together, and what remains of each bin are judged apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.scene.prior import Prior
from ...core.scene.scene_model import SceneModel, log_density_ratio
from ...core.settings.schema import FeedbackSettings
from .pair_evidence import PairEvidence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_LOSS = 5.0
"""A loss counts as this many times the present mean at most, so that no single image moves a prior."""

MOST_WEIGHT = 5.0
"""An image drawn from a posterior counts as this many from the prior at most."""

MEMORY = 256
"""Images over which the present mean of the losses is taken: it falls while the network learns."""

SLOW = 4
"""Shapes, besides the constant, of the slow course of the losses over a variable's range."""

CHANCE = 3.09
"""Standard deviations above which chance lies once in a thousand tests."""

LEAST_PER_BIN = 4
"""Images for each bin of a variable, on average, below which nothing is said of it."""

LEAST_RATIO = 0.05
"""No bin is taken to be easier than this share of the mean."""


@dataclass(frozen=True)
class Difficulty:
    """How hard the bins of one variable are.

    Attributes:
        ratios: of each bin's loss to the mean over the prior, shrunk: all 1 until there is evidence ``(K,)``.
        explained: share of the losses' variance that lies between the bins, likewise.
    """

    ratios: Floats
    explained: float


class Evidence:
    """Losses of images that were never trained on, added up over the bins of every variable that adapts."""

    def __init__(self, initial: SceneModel, settings: FeedbackSettings) -> None:
        """Begin without any evidence.

        Args:
            initial: the priors that posteriors are derived from.
        """
        self._initial = initial
        self._settings = settings
        most = max((v.prior.bins for v in initial.variables), default=1)
        shape = (len(initial.variables), most)
        # Sums of each bin's weights, weighted losses, weighted squares of losses, and squared weights.
        self._sums = np.zeros((4, *shape))
        self._fresh = np.zeros((4, *shape))
        self._counts = np.zeros(shape, np.int64)
        self._counted = np.zeros(shape, np.int64)
        self._mean = 0.0
        self._found: dict[str, Difficulty] = {}
        self._pairs = PairEvidence(initial) if settings.combinations == "pairs" else None

    def add(self, bins: Integers, losses: Floats, weights: Floats | None = None) -> None:
        """Take note of images that were looked at for the first time.

        Args:
            bins: of each variable, in the order of the model's, ``(N, V)``; -1 where a value has none.
            losses: of the images ``(N,)``; those that are not finite are passed over.
            weights: see :func:`importance`, ``(N,)``; None where all are from the initial priors.

        Raises:
            ValueError: if the shapes don't fit together.
        """
        bins, losses = np.asarray(bins, np.int64), np.asarray(losses, np.float64)
        weights = np.ones(len(losses)) if weights is None else np.asarray(weights, np.float64)
        if bins.shape != (len(losses), len(self._initial.variables)) or weights.shape != losses.shape:
            raise ValueError(
                f"bins {bins.shape}, losses {losses.shape} and weights {weights.shape} do not fit together"
            )
        good = np.isfinite(losses) & np.isfinite(weights) & (weights > 0)
        bins, losses, weights = bins[good], losses[good].clip(0.0), weights[good]
        if not len(losses):
            return
        present = float(np.average(losses, weights=weights))
        mean = self._mean or present
        self._mean = mean + (1.0 - (1.0 - 1.0 / MEMORY) ** len(losses)) * (present - mean)
        scores = (losses / mean if mean > 0 else np.ones(len(losses))).clip(0.0, MOST_LOSS)
        image, variable = np.nonzero(bins >= 0)
        variables, most = self._counts.shape
        place = variable * most + bins[image, variable]
        rows = (weights, weights * scores, weights * scores**2, weights**2)
        for total, row in zip(self._fresh, rows, strict=True):
            total += np.bincount(place, row[image], variables * most).reshape(variables, most)
        self._counts += np.bincount(place, minlength=variables * most).reshape(variables, most)
        if self._pairs is not None:
            self._pairs.add(bins, scores, weights)

    def posterior(self, model: SceneModel) -> SceneModel:
        """The version after ``model``: older evidence fades by the share ``forgetting``, and what came since is added.

        The density of each adapting variable is that of its initial prior times its bins' ratios to the power
        ``exponent``, not below the ``floor``; the concentrations add up to what the initial ones do. Pairs of
        variables, where the settings ask for them, leave these marginals as they are.
        """
        self._sums = (1.0 - self._settings.forgetting) * self._sums + self._fresh
        self._fresh = np.zeros_like(self._fresh)
        self._counted, self._counts = self._counts, np.zeros_like(self._counts)
        self._found = {}
        variables = []
        for i, variable in enumerate(self._initial.variables):
            prior = variable.prior
            if variable.adapt and not prior.constant:
                found = difficulty(prior, self._sums[:, i, : prior.bins])
                self._found[variable.name] = found
                variable = replace(variable, prior=_moved(prior, found.ratios, self._settings))
            variables.append(variable)
        moved = SceneModel(tuple(variables), model.version + 1)
        if self._pairs is None:
            return moved
        self._pairs.update(self._settings.forgetting)
        return self._pairs.posterior(moved, self._settings.exponent, self._settings.floor)

    def explained(self) -> dict[str, float]:
        """Share of the losses' variance that each adapting variable explained at the last posterior, 0 … 1."""
        return {name: found.explained for name, found in self._found.items()}

    def ratios(self) -> dict[str, list[float]]:
        """How hard each bin was at the last posterior, over the mean; 1 where nothing is sure."""
        return {name: found.ratios.tolist() for name, found in self._found.items()}

    def counts(self) -> dict[str, list[int]]:
        """Images in each bin that came between the last two posteriors."""
        return {
            v.name: self._counted[i, : v.prior.bins].tolist()
            for i, v in enumerate(self._initial.variables)
            if v.adapt and not v.prior.constant
        }

    def record(self) -> dict[str, Any]:
        """What the last posterior came from, as plain JSON values."""
        s = self._settings
        record = {
            "counts": self.counts(), "ratios": self.ratios(), "explained": self.explained(),
            "exponent": s.exponent, "forgetting": s.forgetting, "floor": s.floor,
        }  # fmt: skip
        return record if self._pairs is None else {**record, "pairs": self._pairs.record()}

    @property
    def state(self) -> dict[str, Any]:
        """All of it, as plain JSON values."""
        state = {
            "mean": self._mean, "sums": self._sums.tolist(), "fresh": self._fresh.tolist(),
            "counts": self._counts.tolist(),
        }  # fmt: skip
        return state if self._pairs is None else {**state, "pairs": self._pairs.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :attr:`state`; without what it says of pairs, if the run begins to look at them only now.

        Raises:
            KeyError, TypeError, ValueError: if it is not one of such a model.
        """
        if not self._sums.size:
            return  # a model without variables, of which JSON keeps no shape
        sums, fresh = np.array(state["sums"], np.float64), np.array(state["fresh"], np.float64)
        counts = np.array(state["counts"], np.int64)
        if not sums.shape == fresh.shape == self._sums.shape or counts.shape != self._counts.shape:
            raise ValueError("the evidence is that of another scene")
        mean = float(state["mean"])
        numbers = np.concatenate([sums.ravel(), fresh.ravel(), counts.ravel(), [mean]])
        if not np.isfinite(numbers).all() or numbers.min() < 0:
            raise ValueError("the evidence is not made of sums")
        if self._pairs is not None and "pairs" in state:
            self._pairs.restore(state["pairs"])
        self._sums, self._fresh, self._counts, self._mean = sums, fresh, counts, mean


def importance(initial: SceneModel, drawn: SceneModel, bins: Integers) -> Floats:
    """What images drawn from one version of the priors weigh, to stand for images from the initial ones: the ratio of
    the densities, at most :data:`MOST_WEIGHT`, ``(N,)``.

    Args:
        bins: of each variable, in the order of the model's, ``(N, V)``; those of -1 are left out.
    """
    return np.minimum(np.exp(log_density_ratio(initial, drawn, bins)), MOST_WEIGHT)


def difficulty(prior: Prior, sums: Floats) -> Difficulty:
    """How hard the bins of a variable are.

    Args:
        sums: of each bin's weights, weighted losses, weighted squares of losses, and squared weights ``(4, K)``.
    """
    weight, first, second, squared = sums
    seen = weight > 0
    flat = Difficulty(np.ones(prior.bins), 0.0)
    effective = np.zeros(prior.bins)
    effective[seen] = weight[seen] ** 2 / squared[seen]
    count, bins = float(effective.sum()), int(seen.sum())
    if bins < 2 or count < LEAST_PER_BIN * prior.bins:
        return flat
    means = first[seen] / weight[seen]
    inside = float((second[seen] - first[seen] * means).sum() / weight.sum()) * count / (count - bins)
    if inside <= 1e-12:
        return flat
    precision = effective[seen] / inside
    overall = float(np.average(means, weights=precision))
    deviation = means - overall
    shapes = _slow_shapes(prior)[seen]
    root = np.sqrt(precision)
    if 1 < shapes.shape[1] < bins:
        fit = np.linalg.lstsq(root[:, None] * shapes, root * deviation, rcond=None)[0]
        slow = shapes @ fit
        rest = deviation - slow
        kept = _kept(slow, precision, shapes.shape[1] - 1) + _kept(rest, precision, bins - shapes.shape[1])
    else:
        kept = _kept(deviation, precision, bins - 1)
    if not kept.any():
        return flat
    course = np.full(prior.bins, overall)
    course[seen] += kept
    mean = float(course @ prior.marginal)
    spread = float(second.sum() / weight.sum() - (first.sum() / weight.sum()) ** 2)
    between = float(((course - mean) ** 2) @ prior.marginal)
    return Difficulty((course / mean).clip(LEAST_RATIO), min(between / spread, 1.0) if spread > 0 else 0.0)


def _slow_shapes(prior: Prior) -> Floats:
    """The constant and :data:`SLOW` shapes, ``(K, S)``; the constant alone where there are few bins."""
    places = (np.arange(prior.bins) + 0.5) / prior.bins
    if prior.bins < 2 * SLOW:
        return np.ones((prior.bins, 1))
    if prior.circular:
        angles = 2.0 * math.pi * places[:, None] * np.arange(1, SLOW // 2 + 1)
        return np.concatenate([np.ones((prior.bins, 1)), np.cos(angles), np.sin(angles)], axis=1)
    return np.cos(math.pi * places[:, None] * np.arange(SLOW + 1))


def _kept(deviation: Floats, precision: Floats, freedom: int) -> Floats:
    """What of deviations from the mean is not chance, ``(K,)``."""
    scatter = float((precision * deviation**2).sum())
    # The chi-squared distribution's upper point, by the cube root of Wilson and Hilferty.
    ninth = 2.0 / (9.0 * freedom)
    threshold = freedom * (1.0 - ninth + CHANCE * math.sqrt(ninth)) ** 3
    return deviation * max(0.0, 1.0 - threshold / scatter) if scatter > 0 else np.zeros_like(deviation)


def _moved(prior: Prior, ratios: Floats, settings: FeedbackSettings) -> Prior:
    """The prior with its density multiplied by the ratios to the power ``exponent``."""
    if (ratios == 1.0).all():
        return prior
    density = prior.marginal * ratios**settings.exponent
    raised = np.array(prior.with_concentration(density / density.sum()).with_floor(settings.floor).marginal)
    return prior.with_concentration(raised * sum(prior.concentration))
