# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of variables that are not drawn independently: how much more often their coarse cells come together.

The bins of each variable are grouped into few coarse cells. A pair multiplies the density by one ratio for each
combination of cells. Averaged over either variable the ratios are one, so both keep their marginals; and where pairs
form no circle, the product of the marginals and of all ratios is a density as it stands [Chow1968].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .prior import Prior

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CELLS = 4
"""Coarse cells of a variable with as many bins or more; others have one for each bin."""

MOST_PAIRS = 8
"""Pairs of one scene model."""

TOLERANCE = 1e-6
"""How far the mean of the ratios over a variable may be from one."""

MOST_ROUNDS = 10_000
"""Of fitting ratios to marginals; a few dozen do mostly."""


@dataclass(frozen=True)
class Pair:
    """Two variables by name, and the ratios of their joint probabilities to those of independent ones.

    Attributes:
        ratios: of each combination of coarse cells, ``(C, C')``: rows are the first one's.

    Raises:
        ValueError: if the variables are the same, or the ratios are no table of positive numbers.
    """

    first: str
    second: str
    ratios: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"{self.first!r} is paired with itself")
        widths = {len(row) for row in self.ratios}
        if len(widths) != 1 or not 1 <= len(self.ratios) <= CELLS or not 1 <= max(widths) <= CELLS:
            raise ValueError(
                f"the ratios of {self.first!r} and {self.second!r} are no table of at most {CELLS}×{CELLS}"
            )
        if not all(math.isfinite(r) and r > 0 for row in self.ratios for r in row):
            raise ValueError(f"the ratios of {self.first!r} and {self.second!r} are not positive numbers")

    @property
    def table(self) -> Floats:
        """The ratios as an array ``(C, C')``."""
        return np.array(self.ratios)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"variables": [self.first, self.second], "ratios": [list(row) for row in self.ratios]}


def read_pairs(entries: Any) -> tuple[Pair, ...]:
    """Inverse of :meth:`Pair.to_dict` for a list of them, from whatever origin.

    Raises:
        ValueError: if it is something else, or holds more than :data:`MOST_PAIRS`.
    """
    if not isinstance(entries, (list, tuple)) or len(entries) > MOST_PAIRS:
        raise ValueError(f"the pairs are no list of at most {MOST_PAIRS}")
    return tuple(_read(entry) for entry in entries)


def _read(entry: Any) -> Pair:
    names = entry.get("variables") if isinstance(entry, dict) else None
    if not isinstance(names, list) or len(names) != 2 or not all(isinstance(n, str) for n in names):
        raise ValueError("a pair does not name two variables")
    rows = entry.get("ratios")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) <= CELLS for row in rows[:CELLS]):
        raise ValueError(f"the ratios of {names[0]!r} and {names[1]!r} are no table")
    if not all(type(r) in (int, float) for row in rows[:CELLS] for r in row):
        raise ValueError(f"the ratios of {names[0]!r} and {names[1]!r} are not numbers")
    if len(rows) > CELLS:
        raise ValueError(f"the ratios of {names[0]!r} and {names[1]!r} are no table of at most {CELLS}×{CELLS}")
    try:
        return Pair(names[0], names[1], tuple(tuple(float(r) for r in row) for row in rows))
    except OverflowError as problem:
        raise ValueError(f"the ratios of {names[0]!r} and {names[1]!r} are too large") from problem


def cells(bins: int) -> int:
    """Number of coarse cells C of a variable with so many bins."""
    return min(CELLS, bins)


def cell_of(index: ArrayLike, bins: int) -> Integers:
    """The coarse cell that each bin, 0 … ``bins`` - 1, lies in."""
    return np.asarray(np.asarray(index, np.int64) * cells(bins) // bins)


def cell_masses(prior: Prior) -> Floats:
    """Probability of each coarse cell, ``(C,)``."""
    return np.asarray(np.bincount(cell_of(np.arange(prior.bins), prior.bins), prior.marginal), np.float64)


def fitted(ratios: Floats, first: Prior, second: Prior) -> Floats:
    """The positive ratios nearest to these, in proportion, whose mean over either variable is one, ``(C, C')``."""
    rows, columns = cell_masses(first), cell_masses(second)
    fit = np.array(ratios, np.float64)
    for _ in range(MOST_ROUNDS):
        fit /= (fit @ columns)[:, None]
        means = rows @ fit
        fit /= means
        if np.abs(means - 1.0).max() < TOLERANCE * 1e-3:
            break
    return fit


def check(pairs: Sequence[Pair], priors: Mapping[str, Prior]) -> None:
    """Refuse pairs that make no density with these priors.

    Raises:
        ValueError: if there are too many, one names an unknown variable or has another number of cells, the ratios'
            mean over a variable is not one, or pairs form a circle.
    """
    if len(pairs) > MOST_PAIRS:
        raise ValueError(f"there are {len(pairs)} pairs: {MOST_PAIRS} at most")
    groups = Groups()
    for pair in pairs:
        for name in (pair.first, pair.second):
            if name not in priors:
                raise ValueError(f"unknown variable {name!r} in a pair")
        first, second = priors[pair.first], priors[pair.second]
        table = pair.table
        if table.shape != (cells(first.bins), cells(second.bins)):
            raise ValueError(f"the ratios of {pair.first!r} and {pair.second!r} are of other cells")
        means = np.concatenate([table @ cell_masses(second), cell_masses(first) @ table])
        if not np.abs(means - 1.0).max() < TOLERANCE:
            raise ValueError(f"the mean of the ratios of {pair.first!r} and {pair.second!r} is not one")
        if not groups.join(pair.first, pair.second):
            raise ValueError(f"the pair of {pair.first!r} and {pair.second!r} closes a circle")


class Groups:
    """Which variables pairs connect, be it over others."""

    def __init__(self) -> None:
        self._group: dict[str, str] = {}

    def join(self, first: str, second: str) -> bool:
        """Connect two variables; False where they are connected already."""
        one, other = self._group.get(first, first), self._group.get(second, second)
        if one == other:
            return False
        self._group = {k: one if v == other else v for k, v in self._group.items()}
        self._group.update({first: one, second: one})
        return True


@dataclass(frozen=True)
class Condition:
    """How the uniform number that a variable's bin is drawn with follows from the bin of the one it is paired with.

    Attributes:
        given, moved: columns of the two variables.
        bins: of the given one.
        ends: of the moved variable's cells on the numbers that come in, for each cell of the given one ``(C, C' + 1)``.
        marks: where these lie among numbers that lead to the marginal ``(C' + 1,)``.
    """

    given: int
    moved: int
    bins: int
    ends: Floats
    marks: Floats

    def __call__(self, index: int, unit: float) -> float:
        """The number to draw the moved variable with, where the given one is in the bin ``index``."""
        found = float(np.interp(unit, self.ends[int(cell_of(index, self.bins))], self.marks))
        return min(found, _BELOW_ONE)


_BELOW_ONE = math.nextafter(1.0, 0.0)


def conditions(pairs: Sequence[Pair], priors: Mapping[str, Prior]) -> tuple[Condition, ...]:
    """What to draw after what: each variable at most once, and no given one before it was itself drawn.

    Args:
        priors: of all variables, in the order of the columns; the pairs as :func:`check` lets them pass.
    """
    columns = {name: i for i, name in enumerate(priors)}
    left, found, drawn = list(pairs), [], set[str]()
    while left:
        pair = next((p for p in left if p.first in drawn or p.second in drawn), left[0])
        left.remove(pair)
        given, moved, table = pair.first, pair.second, pair.table
        if moved in drawn:
            given, moved, table = moved, given, table.T
        drawn.update((given, moved))
        masses = cell_masses(priors[moved])
        ends = np.pad((table * masses).cumsum(axis=1), ((0, 0), (1, 0)))
        marks = np.pad(masses.cumsum(), (1, 0))
        found.append(
            Condition(columns[given], columns[moved], priors[given].bins, ends / ends[:, -1:], marks / marks[-1])
        )
    return tuple(found)
