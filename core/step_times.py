# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the parts of a simulation step and of a training step take [Heindl2019, Table I]."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SIMULATION = ("draw", "pose", "label", "render")
"""What a worker does for a sample, one after the other."""

BESIDE = ("send", "wait")
"""What becomes of a sample while the next one is made: it is encoded and sent, once the trainer takes it."""

TRAINING = ("forward", "backward", "optimiser")
"""What the trainer does with a batch, one after the other."""

UPDATE = ("validation", "feedback")
"""What the trainer does once in an epoch."""

STEP = "step"
"""All parts that come one after the other."""

LONGEST = 86400.0
"""Seconds that a part may have taken."""

MOST = 2**53
"""No sum is larger."""


class Stopwatch:
    """The seconds of each part of one step."""

    def __init__(self, before: Callable[[], object] = lambda: None, *, running: bool = True) -> None:
        """Start.

        Args:
            before: called each time before the clock is read, to wait for a graphics card.
            running: whether anything is measured at all.
        """
        self.seconds: dict[str, float] = {}
        self._before = before
        self._running = running
        self._last = self._now() if running else 0.0

    def lap(self, part: str) -> None:
        """The time since the last call belongs to ``part``."""
        if not self._running:
            return
        now = self._now()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        self._before()
        return time.perf_counter()


@dataclass(frozen=True)
class Seconds:
    """How long something took in ``count`` measurements: the sum, and the sum of squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """In seconds; there was a measurement."""
        return self.total / self.count

    @property
    def deviation(self) -> float:
        """Standard deviation of one measurement, in seconds; 0 of a single one."""
        if self.count < 2:
            return 0.0
        return math.sqrt(max(0.0, (self.squares - self.total * self.mean) / (self.count - 1)))

    def to_dict(self) -> dict[str, float]:
        """Mean and standard deviation in milliseconds, for people and programs."""
        return {
            "mean_ms": round(1000 * self.mean, 4), "standard_deviation_ms": round(1000 * self.deviation, 4),
            "measured": self.count,
        }  # fmt: skip


@dataclass
class StepTimes:
    """Sums over many steps, by part."""

    parts: dict[str, Seconds] = field(default_factory=dict)

    def add(self, seconds: Mapping[str, float], whole: Iterable[str] = ()) -> None:
        """Take in one step.

        Args:
            whole: the parts that make up :data:`STEP`, which is added where all of them are there.
        """
        names = tuple(whole)
        entries = dict(seconds)
        if names and all(name in seconds for name in names):
            entries[STEP] = sum(seconds[name] for name in names)
        for part, value in entries.items():
            self.parts[part] = self.parts.get(part, Seconds()) + Seconds(1, value, value * value)

    def __add__(self, other: StepTimes) -> StepTimes:
        names = {**self.parts, **other.parts}
        return StepTimes({n: self.parts.get(n, Seconds()) + other.parts.get(n, Seconds()) for n in names})

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Each part's mean and standard deviation."""
        return {name: self.parts[name].to_dict() for name in _known(self.parts)}

    def sums(self) -> dict[str, list[float]]:
        """The sums themselves, to be read again by :meth:`read`."""
        return {n: [s.count, s.total, s.squares] for n, s in self.parts.items()}

    @classmethod
    def read(cls, value: Any) -> StepTimes:
        """Inverse of :meth:`sums`; parts of other names are left out.

        Raises:
            ValueError: if it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("the times are not a table")
        parts = {}
        for name in _known(value):
            sums = value[name]
            if not isinstance(sums, list) or len(sums) != 3 or not all(is_time(s, MOST) for s in sums):
                raise ValueError(f"the times of {name} are {str(sums)[:40]}")
            count, total, squares = sums
            if type(count) is not int or count < 1:
                raise ValueError(f"the times of {name} are of {count} measurements")
            parts[name] = Seconds(count, float(total), float(squares))
        return cls(parts)


def _known(parts: Mapping[str, Any]) -> list[str]:
    """Those names that are a part's, in the order of the work."""
    return [name for name in (*SIMULATION, *TRAINING, STEP, *BESIDE, *UPDATE) if name in parts]


def is_time(value: Any, longest: float = LONGEST) -> bool:
    """Whether a JSON value can be a number of seconds."""
    return type(value) in (int, float) and 0 <= value <= longest


@dataclass
class RunTimes:
    """How long the steps of a run have taken so far.

    Attributes:
        stall_fraction: share of the training spent waiting for samples.
    """

    simulation: StepTimes = field(default_factory=StepTimes)
    training: StepTimes = field(default_factory=StepTimes)
    stall_fraction: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Means and standard deviations, as ``summary.json`` has them."""
        return {"simulation_step": self.simulation.to_dict(), "train_step": self.training.to_dict()}

    def sums(self) -> dict[str, Any]:
        """Everything, to be read again by :meth:`read`; plain JSON values."""
        return {
            "simulation": self.simulation.sums(), "training": self.training.sums(),
            "stall_fraction": self.stall_fraction,
        }  # fmt: skip

    @classmethod
    def read(cls, value: Any) -> RunTimes:
        """Inverse of :meth:`sums`.

        Raises:
            ValueError: if it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("the times are not a table")
        stalled: Any = value.get("stall_fraction")
        if not is_time(stalled, 1.0):
            raise ValueError(f"the stall fraction is {str(stalled)[:40]}")
        return cls(StepTimes.read(value.get("simulation")), StepTimes.read(value.get("training")), float(stalled))
