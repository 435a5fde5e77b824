# SPDX-License-Identifier: GPL-3.0-or-later
"""Fair turns: whoever waits gets as much of the server's time as anybody else who waits."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Party = TypeVar("Party", bound=Hashable)

REMEMBERED = 64
"""Parties beyond which those are forgotten that owe nothing."""


class Turns(Generic[Party]):
    """Start-time fair queueing of turns that can't be interrupted, such as predictions.

    Each party has a clock that runs while it is served. The next turn goes to the one that waits and whose clock is
    behind the others'; a party that was away does not catch up on what it missed. One that was never here comes behind
    those that wait, so that no number of newcomers keeps the others waiting for ever.
    """

    def __init__(self) -> None:
        self._clocks: dict[Party, float] = {}
        self._now = self._cost = 0.0

    def next(self, waiting: Iterable[Party]) -> Party:
        """Whose turn it is among those that wait, of whom there is at least one; the first one of equals."""
        waiting = list(waiting)
        for party in waiting:
            self._clocks.setdefault(party, self._now + self._cost)
        chosen = min(waiting, key=self._start)
        self._now = self._start(chosen)
        return chosen

    def charge(self, party: Party, seconds: float) -> None:
        """Take note of how long a turn took."""
        self.add(party, seconds)
        self._cost = seconds

    def add(self, party: Party, seconds: float) -> None:
        """Take note of what was done for a party between turns."""
        self._clocks[party] = max(self._clocks.get(party, self._now), self._now) + seconds
        if len(self._clocks) > REMEMBERED:
            self._clocks = {p: clock for p, clock in self._clocks.items() if clock > self._now}

    def _start(self, party: Party) -> float:
        return max(self._clocks[party], self._now)
