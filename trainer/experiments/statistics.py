# SPDX-License-Identifier: GPL-3.0-or-later
"""What curves of pairs of trainings say: means, paired differences, and how many samples each way needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 4000
INTERVAL = (2.5, 97.5)
"""Percentiles of the bootstrap that bound a 95 % interval."""

PARTS = (0.25, 0.5, 0.75)
"""Of a training, at which the error without feedback gives the fixed levels."""

SEED = 2019


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; an end is infinite where the error was not reached."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """As plain JSON values; None for what is not finite."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if np.isfinite(number) else None for name, number in numbers.items()}


@dataclass(frozen=True)
class Reached:
    """Samples to reach an error, with feedback over without.

    Attributes:
        name: of the level, in words.
        level: the error, percent of the diagonal.
        samples: with and without feedback, on the mean curves.
    """

    name: str
    level: float
    samples: tuple[float, float]
    ratio: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        with_, without = (s if np.isfinite(s) else None for s in self.samples)
        return {
            "name": self.name, "level": self.level, "with": with_, "without": without, "ratio": self.ratio.to_dict()
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """P pairs of curves of T points.

    Attributes:
        samples: images trained on at each point ``(T,)``.
        with_, without: errors ``(P, T)``, percent of the diagonal.
        difference: mean of the paired differences, with minus without, at each point, ``T`` of them.
    """

    samples: Floats
    with_: Floats
    without: Floats
    difference: tuple[Estimate, ...]
    reached: tuple[Reached, ...]

    @property
    def pairs(self) -> int:
        """Their number."""
        return len(self.with_)


def compare(samples: Floats, with_: Floats, without: Floats) -> Comparison:
    """Everything that the pairs say.

    Args:
        samples: images trained on at each point ``(T,)``.
        with_, without: errors ``(P, T)`` of the trainings with and without feedback, in the same order of pairs.
    """
    differences = with_ - without
    estimates = tuple(
        bootstrap(lambda chosen, t=t: float(differences[chosen, t].mean()), len(differences))  # type: ignore[misc]
        for t in range(len(samples))
    )
    return Comparison(samples, with_, without, estimates, tuple(_all_reached(samples, with_, without)))


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], pairs: int) -> Estimate:
    """A statistic of the pairs and its percentile interval over resampled pairs.

    Args:
        statistic: of the pairs with these indices.
    """
    rng = np.random.default_rng(SEED)
    found = np.array([statistic(rng.integers(0, pairs, pairs)) for _ in range(RESAMPLES)])
    # Where some resamples never reach an error, no number lies between them and the others.
    low, high = np.percentile(found, INTERVAL, method="inverted_cdf")
    return Estimate(statistic(np.arange(pairs)), float(low), float(high))


def samples_to_reach(samples: Floats, curve: Floats, level: float) -> float:
    """Where a curve of errors first comes down to a level, between two points along a line; infinite if nowhere."""
    below = np.flatnonzero(curve <= level)
    if not len(below):
        return float("inf")
    i = int(below[0])
    if i == 0:
        return float(samples[0])
    share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    return float(samples[i - 1] + share * (samples[i] - samples[i - 1]))


def both_reach(with_: Floats, without: Floats) -> float:
    """The least error that both mean curves come down to: mostly the one that the worse has at its end."""
    return float(max(with_.min(), without.min()))


def _all_reached(samples: Floats, with_: Floats, without: Floats) -> list[Reached]:
    plain = without.mean(0)
    places = [min(len(samples) - 1, round(part * len(samples)) - 1) for part in PARTS]
    result = [_reached(samples, with_, without, "the least error that both reach", both_reach)]
    for place in sorted({max(0, p) for p in places}):
        level = float(plain[place])
        name = f"the error without feedback after {samples[place]:.0f} images"
        result.append(_reached(samples, with_, without, name, lambda _a, _b, level=level: level))  # type: ignore[misc]
    return result


def _reached(
    samples: Floats, with_: Floats, without: Floats, name: str, level_of: Callable[[Floats, Floats], float]
) -> Reached:
    """How many samples both need; a level that depends on the curves is found anew in each resample."""

    def both(chosen: NDArray[np.int64]) -> tuple[float, float, float]:
        a, b = with_[chosen].mean(0), without[chosen].mean(0)
        level = level_of(a, b)
        return level, samples_to_reach(samples, a, level), samples_to_reach(samples, b, level)

    def ratio(chosen: NDArray[np.int64]) -> float:
        _, a, b = both(chosen)
        # A resample in which neither comes so far says nothing for either.
        return 1.0 if np.isinf(a) and np.isinf(b) else a / b

    level, *needed = both(np.arange(len(with_)))
    return Reached(name, level, (needed[0], needed[1]), bootstrap(ratio, len(with_)))
