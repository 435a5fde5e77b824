# SPDX-License-Identifier: GPL-3.0-or-later
"""Dirichlet-categorical priors over the bins of one variable, [Heindl2019], III-B and III-C.

D ~ Dirichlet(concentration),  k | D = d ~ Categorical(d),  value | k ~ Uniform(lo(k), hi(k))
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Prior:
    """Distribution of one variable over ``[low, high]``, cut into equally wide bins.

    Attributes:
        low, high: the range, in the variable's own unit. ``low == high`` makes the variable constant.
        concentration: Dirichlet concentrations, ``(K,)``, all positive.
        circular: whether ``high`` is the same place as ``low``; values are then taken modulo the range.

    Raises:
        ValueError: if the range is empty or not finite, or a concentration is not positive and finite.
    """

    low: float
    high: float
    concentration: tuple[float, ...]
    circular: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"the range {self.low} … {self.high} is not finite")
        if self.low > self.high:
            raise ValueError(f"the range {self.low} … {self.high} is empty: its low end lies above its high end")
        if not self.concentration:
            raise ValueError("a prior needs at least one bin")
        if not all(math.isfinite(c) and c > 0 for c in self.concentration):
            raise ValueError("every concentration must be positive and finite")
        if self.circular and self.low == self.high:
            raise ValueError("a circular range can't be empty")

    @classmethod
    def symmetric(cls, low: float, high: float, bins: int, concentration: float = 1.0, circular: bool = False) -> Prior:
        """The uninformed prior: the same ``concentration`` in each of ``bins`` bins."""
        return cls(low, high, (float(concentration),) * bins, circular)

    @property
    def bins(self) -> int:
        """Number of bins K."""
        return len(self.concentration)

    @property
    def constant(self) -> bool:
        """Whether only one value is possible."""
        return self.low == self.high

    @property
    def edges(self) -> Floats:
        """Bin limits, ``(K + 1,)``."""
        return np.linspace(self.low, self.high, self.bins + 1)

    @property
    def marginal(self) -> Floats:
        """Probability of each bin with D integrated out, ``(K,)``."""
        theta = np.asarray(self.concentration)
        return np.asarray(theta / theta.sum())

    def wrap(self, values: ArrayLike) -> Floats:
        """Values of a circular variable moved into ``[low, high)``; others unchanged."""
        x = np.asarray(values, dtype=np.float64)
        if not self.circular:
            return x
        wrapped = self.low + np.mod(x - self.low, self.high - self.low)
        return np.where(wrapped >= self.high, self.low, wrapped)  # rounding can reach the upper end

    def bin_of(self, values: ArrayLike) -> Integers:
        """Bin index of each value; -1 where a value is not finite or lies outside a range that is not circular."""
        x = self.wrap(values)
        if self.constant:
            return np.where(x == self.low, 0, -1)
        inside = (x >= self.low) & (x <= self.high)
        position = np.where(inside, (x - self.low) / (self.high - self.low) * self.bins, -1.0)
        return np.asarray(np.minimum(np.floor(position).astype(np.int64), self.bins - 1))

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Integers, Floats]:
        """Ancestral samples: a fresh D for each, then its bin, then its value.

        Returns:
            bins ``(count,)`` and values ``(count,)``.
        """
        d = rng.dirichlet(self.concentration, size=count)
        u, within = rng.random((2, count))
        bins = np.minimum((d.cumsum(axis=1) < u[:, None]).sum(axis=1), self.bins - 1)
        values = self.low + (bins + within) * ((self.high - self.low) / self.bins)
        return bins, np.minimum(values, self.high)

    def log_prob(self, values: ArrayLike) -> Floats:
        """Log density of each value with D and k integrated out; ``-inf`` outside the range.

        For a constant variable it is the log probability: 0 at the constant, ``-inf`` elsewhere.
        """
        index = self.bin_of(values)
        if self.constant:
            return np.where(index < 0, -np.inf, 0.0)
        log_density = np.log(self.marginal) - math.log((self.high - self.low) / self.bins)
        return np.where(index < 0, -np.inf, log_density[index])

    def posterior(self, bins: ArrayLike, weight: float = 1.0) -> Prior:
        """Conjugate update by observed bins, each of which counts ``weight`` times: θ + ``weight`` · counts.

        Raises:
            ValueError: if an index is not a bin of this prior.
        """
        observed = np.asarray(bins, dtype=np.int64)
        if observed.size and (observed.min() < 0 or observed.max() >= self.bins):
            raise ValueError(f"bins must lie in 0 … {self.bins - 1}")
        counts = np.bincount(observed, minlength=self.bins)
        return self.with_concentration(np.asarray(self.concentration) + weight * counts)

    def forget(self, initial: Prior, rate: float) -> Prior:
        """Move the concentrations towards ``initial``: ``(1 - rate) · concentration + rate · initial``.

        With ``n`` observations per update the total surplus over ``initial`` stays below ``n / rate``.
        """
        mixed = (1.0 - rate) * np.asarray(self.concentration) + rate * np.asarray(initial.concentration)
        return self.with_concentration(mixed)

    def with_floor(self, floor: float) -> Prior:
        """Raise starved bins until each has at least ``floor / K`` of the marginal probability; others keep theirs.

        Raises:
            ValueError: unless ``0 <= floor < 1``.
        """
        if not 0.0 <= floor < 1.0:
            raise ValueError("a floor must lie in [0, 1)")
        theta = np.sort(np.asarray(self.concentration))
        total = theta[::-1].cumsum()[::-1]
        level = 0.0
        for low in range(1, self.bins):
            # If the `low` smallest bins are raised to t, then t = floor / K · (rest + low · t).
            t = floor * total[low] / (self.bins - floor * low)
            if theta[low - 1] < t:
                level = t
        return self.with_concentration(np.maximum(self.concentration, level))

    def with_concentration(self, concentration: ArrayLike) -> Prior:
        """The same range and bins with other concentrations ``(K,)``."""
        return replace(self, concentration=tuple(float(c) for c in np.asarray(concentration)))
