# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's time, and what is said about it while it goes on."""

from __future__ import annotations

import time

from ...core.messages.events import Progress, State
from .control_server import Switchboard
from .run_state import Counters

EVERY = 1.0
"""Seconds between two pieces of news."""


class Clock:
    """Seconds of a run, without pauses and without the time between two sittings."""

    def __init__(self, began: float) -> None:
        """Start the clock.

        Args:
            began: in the time of ``time.monotonic()``.
        """
        self._began = began

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._began

    def leave_out(self, seconds: float) -> None:
        """Leave out the seconds of a pause."""
        self._began += seconds

    def add(self, seconds: float) -> None:
        """Count the seconds of earlier sittings, too."""
        self._began -= seconds


class News:
    """What the session and everybody who listens is told."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._state: State = {"phase": "training", "message": "starting"}
        self._next = 0.0
        self._mark = (time.monotonic(), 0, 0)

    def say(self, message: str, phase: str = "training") -> None:
        """What is going on from now."""
        self._state = {"phase": phase, "message": message}
        self._switchboard.publish(("state", self._state))

    def due(self, message: str | None = None) -> bool:
        """Whether it is time for :meth:`progress` again; if so, says once more what is going on."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + EVERY
        # Said again and again, because news sent before somebody listens is lost.
        self.say(message if message is not None else self._state["message"], self._state["phase"])
        return True

    def restart_rates(self, counters: Counters) -> None:
        """Leave the time so far out of the rates."""
        self._mark = (time.monotonic(), counters.step, counters.images)

    def progress(self, counters: Counters, content: Progress) -> None:
        """Where the run stands; the counters and the rates are added to ``content``."""
        then, steps, images = self._mark
        self.restart_rates(counters)
        seconds = max(self._mark[0] - then, 1e-9)
        whole: Progress = {
            **content,
            "step": counters.step,
            "images": counters.images,
            "steps_per_second": (counters.step - steps) / seconds,
            "images_per_second": (counters.images - images) / seconds,
        }
        self._switchboard.publish(("progress", whole))
