# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's probabilistic model: named variables with priors, joint draws, and the posterior given a selection."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import pair
from .pair import Pair
from .prior import Prior


@dataclass(frozen=True)
class Variable:
    """One latent variable of the scene.

    Attributes:
        name: ``group/what``, such as ``joint/elbow_joint`` or ``camera/azimuth``.
        prior: its present distribution.
        unit: ``"rad"``, ``"m"``, ``"mm"``, ``"K"`` or ``""`` for plain numbers.
        adapt: whether feedback may change its distribution.
    """

    name: str
    prior: Prior
    unit: str = ""
    adapt: bool = True


@dataclass(frozen=True)
class SceneDraw:
    """One draw of all variables, the latent values h behind one image: for every variable its bin and its value."""

    bins: Mapping[str, int]
    values: Mapping[str, float]

    @property
    def seed(self) -> int:
        """A seed for what the values leave open, such as the noise of a rendering: 31 bits that follow from them."""
        values = [self.values[name] for name in sorted(self.values)]
        return zlib.crc32(struct.pack(f"<{len(values)}d", *values)) >> 1


@dataclass(frozen=True)
class SceneModel:
    """The joint distribution of all latent variables: independent, but for the pairs.

    Attributes:
        variables: with their marginals.
        version: counts the updates; 0 is the initial prior.
        pairs: of variables whose coarse cells come together more or less often than by chance.

    Raises:
        ValueError: if a name appears twice, or the pairs make no density: see :func:`.pair.check`.
    """

    variables: tuple[Variable, ...]
    version: int = 0
    pairs: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        names = [v.name for v in self.variables]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"variable {twice[0]!r} appears twice")
        pair.check(self.pairs, self._priors)

    def __getitem__(self, name: str) -> Variable:
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise KeyError(name)

    def sample(self, rng: np.random.Generator) -> SceneDraw:
        """One sample of every variable.

        Each image has a D of its own, as in :meth:`Prior.sample`, but D itself is of no interest here: with it
        integrated out, the bin is categorical with the prior's marginal, and all variables are drawn at once.
        """
        low, width, cumulative = self._tables
        u, within = rng.random((2, len(self.variables)))
        for condition in self._conditions:
            given = int((cumulative[condition.given] <= u[condition.given]).sum())
            u[condition.moved] = condition(given, float(u[condition.moved]))
        bins = (cumulative <= u[:, None]).sum(axis=1)
        values = low + (bins + within) * width
        names = [v.name for v in self.variables]
        return SceneDraw(dict(zip(names, bins.tolist(), strict=True)), dict(zip(names, values.tolist(), strict=True)))

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Low ends ``(V,)``, bin widths ``(V,)``, cumulative probabilities without the last ``(V, K - 1)``."""
        priors = [v.prior for v in self.variables]
        # The last bin's end is left out: rounding must not make a bin beyond it. Short rows end in ones.
        cumulative = np.ones((len(priors), max((p.bins for p in priors), default=1) - 1))
        for row, prior in zip(cumulative, priors, strict=True):
            row[: prior.bins - 1] = prior.marginal.cumsum()[:-1]
        low = np.array([p.low for p in priors])
        return low, np.array([(p.high - p.low) / p.bins for p in priors]), cumulative

    def log_prob(self, latents: SceneDraw) -> float:
        """Log density of the values of one draw, with every D and k integrated out."""
        alone = float(sum(v.prior.log_prob(latents.values[v.name]) for v in self.variables))
        if not self.pairs or alone == -math.inf:
            return alone
        bins = [int(v.prior.bin_of(latents.values[v.name])) for v in self.variables]
        return alone + float(self.log_pairs(np.array([bins]))[0])

    def log_pairs(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the pairs add to the log density, ``(N,)``.

        Args:
            bins: of each variable ``(N, V)``; -1 where a value has none, and then its pairs add nothing.
        """
        total = np.zeros(len(bins))
        columns = {v.name: i for i, v in enumerate(self.variables)}
        for p in self.pairs:
            first, second = bins[:, columns[p.first]], bins[:, columns[p.second]]
            rows = pair.cell_of(first, self[p.first].prior.bins)
            logs = np.log(p.table)[rows, pair.cell_of(second, self[p.second].prior.bins)]
            total += np.where((first >= 0) & (second >= 0), logs, 0.0)
        return total

    @cached_property
    def _conditions(self) -> tuple[pair.Condition, ...]:
        return pair.conditions(self.pairs, self._priors)

    @property
    def _priors(self) -> dict[str, Prior]:
        return {v.name: v.prior for v in self.variables}

    def concentrations(self) -> dict[str, tuple[float, ...]]:
        """The concentrations of every variable, by name: what travels as a posterior."""
        return {v.name: v.prior.concentration for v in self.variables}

    def with_concentrations(
        self, concentrations: Mapping[str, Sequence[float]], version: int, pairs: tuple[Pair, ...] = ()
    ) -> SceneModel:
        """This model with other concentrations, and other pairs.

        Raises:
            ValueError: if a name is unknown, a number of bins differs, or the pairs make no density with these.
        """
        known = {v.name: v for v in self.variables}
        for name, theta in concentrations.items():
            if name not in known:
                raise ValueError(f"unknown variable {name!r}")
            if len(theta) != known[name].prior.bins:
                raise ValueError(f"{name} has {known[name].prior.bins} bins, not {len(theta)}")
        variables = tuple(
            replace(v, prior=v.prior.with_concentration(concentrations[v.name])) if v.name in concentrations else v
            for v in self.variables
        )
        return SceneModel(variables, version, pairs)

    def only(self, names: Collection[str]) -> SceneModel:
        """Some of the variables by themselves, with those pairs of which both are among them."""
        pairs = tuple(p for p in self.pairs if p.first in names and p.second in names)
        return SceneModel(tuple(v for v in self.variables if v.name in names), self.version, pairs)


def log_density_ratio(model: SceneModel, other: SceneModel, bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log density of draws under ``model`` less that under ``other``, another version of the same scene, ``(N,)``.

    Args:
        bins: of each variable, in the order of the models' ``(N, V)``; those of -1 are left out.
    """
    total = model.log_pairs(bins) - other.log_pairs(bins)
    for i, (one, two) in enumerate(zip(model.variables, other.variables, strict=True)):
        if one.prior.concentration != two.prior.concentration:
            change = np.log(one.prior.marginal) - np.log(two.prior.marginal)
            total += np.append(change, 0.0)[bins[:, i]]  # the last one is that of -1
    return total


def posterior(
    model: SceneModel, initial: SceneModel, selected: Iterable[SceneDraw], *, forgetting: float, floor: float,
    strength: float = 1.0,
) -> SceneModel:  # fmt: skip
    """The model after seeing the selected set S, [Heindl2019], III-C: for each adapting variable, forget, count, floor.

    Each sample of S counts ``strength`` times. The bin is found again from each value, so samples drawn
    under any earlier version count alike.
    """
    samples = list(selected)
    variables = []
    for variable in model.variables:
        if variable.adapt and not variable.prior.constant and samples:
            base = variable.prior.forget(initial[variable.name].prior, forgetting)
            bins = base.bin_of([h.values[variable.name] for h in samples])
            variable = replace(variable, prior=base.posterior(bins, strength).with_floor(floor))
        variables.append(variable)
    return SceneModel(tuple(variables), model.version + 1)


def joint_variable(
    name: str, low: float, high: float, *, circular: bool, linear: bool = False, bins: int = 16, fixed: bool = False
) -> Variable:
    """The variable of one joint, ``joint/<name>``; radians, or metres where ``linear``. A ``fixed`` one is always 0."""
    if fixed:
        return Variable(f"joint/{name}", Prior.symmetric(0.0, 0.0, 1), "m" if linear else "rad", False)
    return Variable(
        f"joint/{name}", Prior.symmetric(low, high, bins, circular=circular), "m" if linear else "rad", True
    )
