# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's probabilistic model: named variables with priors, joint draws, and the posterior given a selection."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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
    """The joint distribution of all latent variables, independent given their bins.

    ``version`` counts the updates; 0 is the initial prior.
    """

    variables: tuple[Variable, ...]
    version: int = 0

    def __post_init__(self) -> None:
        names = [v.name for v in self.variables]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"variable {twice[0]!r} appears twice")

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
        return float(sum(v.prior.log_prob(latents.values[v.name]) for v in self.variables))

    def concentrations(self) -> dict[str, tuple[float, ...]]:
        """The concentrations of every variable, by name: what travels as a posterior."""
        return {v.name: v.prior.concentration for v in self.variables}

    def with_concentrations(self, concentrations: Mapping[str, Sequence[float]], version: int) -> SceneModel:
        """This model with other concentrations.

        Raises:
            ValueError: if a name is unknown or a number of bins differs.
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
        return SceneModel(variables, version)


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
