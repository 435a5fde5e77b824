# SPDX-License-Identifier: GPL-3.0-or-later
"""Which combinations of two variables are hard beyond what each of them says alone, and how sure that is.

For each pair of variables the mean losses of the combinations of their coarse cells are held against the product of
the two variables' own courses: if hard values of one make hard values of the other harder by the same factor
everywhere, the marginals say it all. What is left over is tested and shrunk as :mod:`.evidence` does with bins, with a
threshold that holds for all pairs together: where nothing but chance is at work, one update in a thousand moves any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.scene.pair import CELLS, MOST_PAIRS, Groups, Pair, cell_of, cells, fitted
from ...core.scene.scene_model import SceneModel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CHANCE = 1e-3
"""Probability that any pair at all is moved by chance in one update."""

LEAST_PER_CELL = 16
"""Images for each combination of cells, on average, below which nothing is said of a pair."""

ROUNDS = 30
"""Of fitting the two variables' courses to the combinations."""

LEAST_RATIO = 0.05
"""No combination is taken to be easier than this share of what its variables say."""

SUMS = ("weights", "losses", "squares", "squared_weights")
"""What is added up for each combination: weights, weighted losses, weighted squares of losses, squared weights."""


@dataclass(frozen=True)
class PairDifficulty:
    """A pair of variables whose combinations differ by more than chance.

    Attributes:
        first, second: their columns among the model's variables.
        ratios: of each combination's loss to what the two variables say, shrunk ``(C, C')``.
        explained: share of the losses' variance that lies between the combinations beyond the variables' own.
    """

    first: int
    second: int
    ratios: Floats
    explained: float


class PairEvidence:
    """Losses added up over the combinations of coarse cells of every two variables that adapt."""

    def __init__(self, initial: SceneModel) -> None:
        """Begin without any evidence.

        Args:
            initial: the priors that posteriors are derived from.
        """
        self._initial = initial
        priors = [v.prior for v in initial.variables]
        adapting = [i for i, v in enumerate(initial.variables) if v.adapt and v.prior.bins > 1]
        self._tables = [np.append(cell_of(np.arange(priors[i].bins), priors[i].bins), -1) for i in adapting]
        self._columns = adapting
        self.pairs = list(combinations(range(len(adapting)), 2))
        """Of adapting variables, all."""
        first, second = np.array(self.pairs, np.int64).reshape(-1, 2).T
        grid = np.arange(CELLS)
        self._rows = (CELLS * first)[:, None, None] + grid[:, None]
        self._across = (CELLS * second)[:, None, None] + grid
        self._sums = np.zeros((len(SUMS), len(self.pairs), CELLS, CELLS))
        self._fresh = np.zeros_like(self._sums)
        self.found: list[PairDifficulty] = []
        """At the last posterior: those that are not chance, the strongest first."""

    def add(self, bins: Integers, scores: Floats, weights: Floats) -> None:
        """Take note of images, as :meth:`.Evidence.add` does.

        Args:
            bins: ``(N, V)``, as there.
            scores: losses over their present mean ``(N,)``.
            weights: ``(N,)``, positive.
        """
        members = np.zeros((len(bins), len(self._columns), CELLS))
        for place, (column, table) in enumerate(zip(self._columns, self._tables, strict=True)):
            members[:, place] = table[bins[:, column]][:, None] == np.arange(CELLS)
        flat = members.reshape(len(bins), -1)
        rows = (weights, weights * scores, weights * scores**2, weights**2)
        for total, row in zip(self._fresh, rows, strict=True):
            total += ((flat * row[:, None]).T @ flat)[self._rows, self._across]

    def update(self, forgetting: float) -> None:
        """Let older evidence fade, add what came since, and judge anew."""
        self._sums = (1.0 - forgetting) * self._sums + self._fresh
        self._fresh = np.zeros_like(self._sums)
        self.found = strongest(
            [
                found
                for pair, sums in zip(self.pairs, self._sums.swapaxes(0, 1), strict=True)
                if (found := self._judged(self._columns[pair[0]], self._columns[pair[1]], sums)) is not None
            ]
        )

    def _judged(self, first: int, second: int, sums: Floats) -> PairDifficulty | None:
        one, other = (self._initial.variables[i].prior.bins for i in (first, second))
        judged = difficulty(sums[:, : cells(one), : cells(other)], CHANCE / len(self.pairs))
        return None if judged is None else PairDifficulty(first, second, *judged)

    def posterior(self, model: SceneModel, exponent: float, floor: float) -> SceneModel:
        """The model with these pairs, in place of those that it has.

        Args:
            model: with the marginals of the posterior; they stay as they are.
            exponent: power of the ratios.
            floor: no combination gets less than this share of what it has where the two are independent.
        """
        pairs = []
        for found in self.found:
            one, other = model.variables[found.first], model.variables[found.second]
            ratios = fitted(np.maximum(found.ratios**exponent, LEAST_RATIO), one.prior, other.prior)
            least = float(ratios.min())
            if least < floor:  # the mean with independent draws leaves the marginals as they are
                ratios = 1.0 + (ratios - 1.0) * (1.0 - floor) / (1.0 - least)
            pairs.append(Pair(one.name, other.name, tuple(tuple(row) for row in ratios.tolist())))
        return SceneModel(model.variables, model.version, tuple(pairs))

    def record(self) -> list[dict[str, Any]]:
        """What the last posterior came from, as plain JSON values."""
        names = [v.name for v in self._initial.variables]
        return [
            {"variables": [names[f.first], names[f.second]], "ratios": f.ratios.tolist(), "explained": f.explained}
            for f in self.found
        ]

    @property
    def state(self) -> dict[str, Any]:
        """All of it, as plain JSON values."""
        return {"sums": self._sums.tolist(), "fresh": self._fresh.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :attr:`state`.

        Raises:
            KeyError, TypeError, ValueError: if it is not one of such a model.
        """
        if not self.pairs:
            return  # nothing of which JSON keeps the shape
        sums, fresh = np.array(state["sums"], np.float64), np.array(state["fresh"], np.float64)
        if not sums.shape == fresh.shape == self._sums.shape:
            raise ValueError("the evidence is that of another scene")
        if not (np.isfinite(sums).all() and np.isfinite(fresh).all() and min(sums.min(), fresh.min()) >= 0):
            raise ValueError("the evidence is not made of sums")
        self._sums, self._fresh = sums, fresh


def strongest(found: list[PairDifficulty]) -> list[PairDifficulty]:
    """Those that explain most, without any that would close a circle [Chow1968], :data:`.MOST_PAIRS` at most."""
    groups, kept = Groups(), list[PairDifficulty]()
    for one in sorted(found, key=lambda f: -f.explained):
        if len(kept) < MOST_PAIRS and groups.join(str(one.first), str(one.second)):
            kept.append(one)
    return kept


def difficulty(sums: Floats, chance: float) -> tuple[Floats, float] | None:
    """How hard the combinations of two variables are: ratios ``(C, C')`` and the share explained, as in
    :class:`PairDifficulty`; None where they are not surely different.

    Args:
        sums: of each combination, :data:`SUMS` ``(4, C, C')``.
        chance: probability of an answer where there is no difference.
    """
    weight, first, second, squared = sums
    seen = weight > 0
    effective = np.divide(weight**2, squared, out=np.zeros_like(weight), where=seen)
    rows, columns = int(seen.any(1).sum()), int(seen.any(0).sum())
    freedom = int(seen.sum()) - rows - columns + 1
    if freedom < 1 or effective.sum() < LEAST_PER_CELL * seen.size or not (first[seen] > 0).all():
        return None
    mean = np.divide(first, weight, out=np.zeros_like(weight), where=seen)
    fit = _courses(mean, effective)
    spread = np.divide(second, weight, out=np.zeros_like(weight), where=seen) - mean**2
    # Losses scatter in proportion to their mean; where those of a combination scatter more, by what they do.
    count = float(effective.sum())
    relative = np.divide(spread, fit**2, out=np.zeros_like(weight), where=seen)
    common = float((effective * relative).sum()) / max(count - float(seen.sum()), 1.0)
    variance = np.maximum(relative, common)[seen]
    if not common > 1e-12:
        return None
    deviation = np.divide(mean, fit, out=np.ones_like(weight), where=seen) - 1.0
    scatter = float((effective[seen] * deviation[seen] ** 2 / variance).sum())
    kept = 1.0 - _threshold(freedom, chance) / scatter if scatter > 0 else 0.0
    if kept <= 0.0:
        return None
    total = float(second.sum() / weight.sum() - (first.sum() / weight.sum()) ** 2)
    between = float((weight * (fit * kept * deviation) ** 2).sum() / weight.sum())
    return (1.0 + kept * deviation).clip(LEAST_RATIO), min(between / total, 1.0) if total > 0 else 0.0


def _courses(mean: Floats, effective: Floats) -> Floats:
    """The product of a factor of each row and one of each column that fits the means best, if their errors are in
    proportion to it, ``(C, C')``: the likelihood of gamma distributions."""
    rows, columns = np.ones((len(mean), 1)), np.ones((1, mean.shape[1]))
    across, down = effective.sum(1, keepdims=True), effective.sum(0, keepdims=True)
    for _ in range(ROUNDS):
        rows = np.divide((effective * mean / columns).sum(1, keepdims=True), across, out=rows, where=across > 0)
        columns = np.divide((effective * mean / rows).sum(0, keepdims=True), down, out=columns, where=down > 0)
    return rows * columns


def _threshold(freedom: int, chance: float) -> float:
    """The chi-squared distribution's upper point, by the cube root of Wilson and Hilferty."""
    ninth = 2.0 / (9.0 * freedom)
    return freedom * (1.0 - ninth + NormalDist().inv_cdf(1.0 - chance) * math.sqrt(ninth)) ** 3
