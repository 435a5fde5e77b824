# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a run is done, by images or by minutes, and what is set aside for the tests at its end."""

from __future__ import annotations

from ...core.settings.schema import TrainingSettings
from .held_out_sets import HeldOut
from .progress_news import Clock
from .run_state import Counters

PICTURES_SECONDS = 4.0
"""Set aside for the reports at the end of a run limited in minutes, besides the last validation and the test."""

SLOWER = 1.2
"""A test may take so many times as long as the last validation did."""


class RunLength:
    """Of one run.

    Attributes:
        test_seconds: what testing one image takes, as far as that has been measured.
    """

    def __init__(
        self, settings: TrainingSettings, clock: Clock, counters: Counters, held_out: HeldOut, seconds_per_image: float
    ) -> None:
        """Begin with a guess.

        Args:
            seconds_per_image: of training.
        """
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._sets = held_out
        self.test_seconds = seconds_per_image / 2

    @property
    def fraction(self) -> float:
        """How much of the run is done, by images or by time, whichever is further; 0 for a run without end."""
        t, shares = self._settings, [0.0]
        if t.epochs:
            shares.append(self._counters.images / (t.epochs * t.epoch_images))
        if t.minutes:
            begin = self._counters.collected
            reserve = PICTURES_SECONDS + self.test_seconds * self._sets.images_at_the_end
            shares.append((self._clock.seconds - begin) / max(60 * t.minutes - reserve - begin, 1.0))
        return max(shares)

    @property
    def done(self) -> bool:
        """Whether all of it is."""
        return self.fraction >= 1.0

    def note_step(self, seconds: float, images: int) -> None:
        """A step has taken so long; testing an image costs about a third of it, and the guess may have been too high
        because the measurement at the start was disturbed."""
        self.test_seconds = min(self.test_seconds, seconds / images / 2)

    def note_validation(self, seconds: float, images: int) -> None:
        """A validation has taken so long."""
        self.test_seconds = SLOWER * seconds / images
