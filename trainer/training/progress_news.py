# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's time, and what is said about it while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...core.messages.events import Progress, State
from ...core.settings.schema import TrainingSettings
from .control_server import Switchboard
from .run_state import Counters, RunState

EVERY = 1.0
"""Seconds between two pieces of news."""

PAUSED_POLL = 0.05
"""Seconds after which a paused run sees whether it goes on."""


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


class Rates:
    """Steps and images per second since they were last asked for."""

    def __init__(self, counters: Counters) -> None:
        """Start to count from what the counters say now."""
        self.restart(counters)

    def restart(self, counters: Counters) -> None:
        """Leave the time so far out of the rates."""
        self._mark = (time.monotonic(), counters.step, counters.images)

    def since(self, counters: Counters) -> tuple[float, float]:
        """Steps and images per second since the last time."""
        then, steps, images = self._mark
        self.restart(counters)
        seconds = max(self._mark[0] - then, 1e-9)
        return (counters.step - steps) / seconds, (counters.images - images) / seconds


def training_progress(state: RunState, settings: TrainingSettings, fraction: float, seconds: float) -> Progress:
    """How far the training itself is.

    Args:
        fraction: how much of the run is done, 0 … 1.
        seconds: that the run has taken so far.
    """
    counters = state.counters
    content: Progress = {
        "epoch": counters.images // settings.epoch_images, "fraction": fraction,
        "stall_fraction": counters.stall_fraction, "dropped": counters.dropped,
    }  # fmt: skip
    if counters.fresh_fraction is not None:
        content["fresh_fraction"] = counters.fresh_fraction
    if state.train_loss is not None:
        content["loss"] = state.train_loss
    if "mean_error_percent" in state.latest:
        content["error_percent"] = state.latest["mean_error_percent"]
        content["median_error_percent"] = state.latest["median_error_percent"]
    if settings.minutes and not settings.epochs:
        content["seconds_left"] = max(0.0, 60 * settings.minutes - seconds)
    elif fraction > 0.01:
        content["seconds_left"] = (seconds - counters.collected) * (1 / fraction - 1)
    return content


class News:
    """What the session and everybody who listens is told."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._state: State = {"phase": "training", "message": "starting"}
        self._next = 0.0
        self._rates = Rates(Counters())

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

    def wait_while_paused(self, clock: Clock, counters: Counters, waiting: Callable[[], None]) -> None:
        """Return once the run is not paused, or ends; ``waiting`` is called again and again meanwhile."""
        board = self._switchboard
        if not board.paused.is_set() or board.ending:
            return
        mark = time.monotonic()
        self.say("paused", "paused")
        while board.paused.is_set() and not board.ending:
            time.sleep(PAUSED_POLL)
            now = time.monotonic()
            clock.leave_out(now - mark)
            mark = now
            waiting()
        self._rates.restart(counters)
        self.say("training")

    def progress(self, counters: Counters, content: Progress) -> None:
        """Where the run stands; the counters and the rates are added to ``content``."""
        steps, images = self._rates.since(counters)
        whole: Progress = {
            **content,
            "step": counters.step,
            "images": counters.images,
            "steps_per_second": steps,
            "images_per_second": images,
        }
        self._switchboard.publish(("progress", whole))
