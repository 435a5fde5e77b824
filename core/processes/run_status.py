# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's front ends are told: its phase, its processes, its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..messages.events import Metrics, Progress
from ..messages.obstruction import Obstruction
from ..scene.pair import Pair


class Phase(Enum):
    """Where a run stands."""

    STARTING = "starting"
    TRAINING = "training"
    PAUSED = "paused"
    STOPPING = "stopping"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Phase.DONE, Phase.STOPPED, Phase.FAILED)


@dataclass
class ProcessStatus:
    """One process as the user sees it; ``rate`` is samples or steps per second."""

    name: str
    state: str = "starting"
    adapts: bool = False
    rate: float = 0.0
    restarts: int = 0
    pid: int = 0


@dataclass
class Status:
    """Everything a front end shows of a run.

    Attributes:
        message: one line on what is going on.
        reason: why the run failed, with the last log lines of the process that did.
        progress: the trainer's latest ``progress`` event.
        metrics: every validation so far, oldest first.
        concentrations: the latest posterior, by variable; ``version`` counts the updates.
        pairs: of variables that it draws together.
        explained: share of the losses' variance that each variable is known to explain, 0 … 1.
        notices: things that went wrong and were mended, oldest first.
        warnings: what the builder of the scene had to say about the robots.
        obstruction: what stands in the robots' way in a scene of the user's own, once somebody has looked.
    """

    phase: Phase = Phase.STARTING
    message: str = "starting"
    reason: str = ""
    processes: dict[str, ProcessStatus] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    metrics: list[Metrics] = field(default_factory=list)
    concentrations: dict[str, tuple[float, ...]] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    version: int = 0
    explained: dict[str, float] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    obstruction: Obstruction = field(default_factory=Obstruction)
