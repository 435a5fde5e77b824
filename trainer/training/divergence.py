# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices a training that has run away, before it is kept."""

from __future__ import annotations

import math
from typing import Any

from ...core.errors import UserError

FACTOR = 5.0
"""A loss this many times its running mean is too high …"""

STEPS = 50
"""… and a training with so many of these in a row has run away."""

DOUBT = 5
"""With so many in a row it may have: nothing is kept meanwhile."""


class Watch:
    """Follows the losses of a run."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._high = 0

    @property
    def doubtful(self) -> bool:
        """Whether the present weights had better not be kept."""
        return self._high >= DOUBT

    @property
    def state(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"mean": self._mean, "high": self._high}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        self._mean, self._high = value["mean"], int(value["high"])

    def check(self, loss: float, gradient: float, step: int) -> None:
        """Look at a step before it changes the weights.

        Args:
            gradient: its length.
            step: number of steps before it.

        Raises:
            UserError: if the training has run away.
        """
        remedy = "lower training.learning_rate and resume the run, its last good state is kept"
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            raise UserError(f"The loss is no longer a number at step {step}: {remedy}")
        if self._mean is not None and loss > FACTOR * self._mean:
            self._high += 1
            if self._high >= STEPS:
                raise UserError(
                    f"The loss has risen from {self._mean:.3g} to {loss:.3g} and stayed there, at step {step}: {remedy}"
                )
            return
        self._high = 0
        self._mean = loss if self._mean is None else self._mean + 0.02 * (loss - self._mean)
