# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment's trainings, each in its turn: those that are missing in its folder, by one process or by several."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from ...core import files
from ...core.errors import UserError
from ...core.processes.child_process import Child
from ...core.processes.programs import LAUNCHER
from ..networks import device
from . import results
from .paired_training import PairedTraining
from .pool import Pool
from .settings import FeedbackExperiment

POOL = "pool"
LOGS = "logs"
POLL_SECONDS = 0.2


def shares_of_missing(folder: Path, experiment: FeedbackExperiment, jobs: int) -> list[list[int]]:
    """Places in :func:`.results.every_training` of the trainings that are missing, for at most ``jobs`` processes.

    What is missing is dealt out, and not all: trainings that were taken over lie at every second place.
    """
    every = results.every_training(experiment)
    places = [every.index(training) for training in results.missing(folder, experiment)]
    return [places[i::jobs] for i in range(min(jobs, len(places)))]


def run_share(folder: Path, experiment: FeedbackExperiment, on: str, mine: Collection[int]) -> None:
    """Make one process's share of the trainings that are missing; each is written when it is done.

    Args:
        on: device, as ``training.device`` names it.
        mine: places of the trainings in :func:`.results.every_training`.

    Raises:
        UserError: if the device can't be used, or a training has run away.
    """
    torch.set_num_threads(1)
    training: PairedTraining | None = None
    for place, (seed, feedback) in enumerate(results.every_training(experiment)):
        if place not in mine:
            continue
        path = results.path_of(folder, seed, feedback=feedback)
        if path.exists():
            continue
        if training is None:
            training = PairedTraining(Pool.load(folder / POOL), experiment, device.choose(on))
        files.write_json(path, training.train(seed, feedback=feedback).to_dict())


def run_all(
    folder: Path, experiment: FeedbackExperiment, on: str, jobs: int, interrupted: Callable[[], bool],
    say: Callable[[str], None],
) -> bool:  # fmt: skip
    """Make all trainings that are missing.

    Args:
        jobs: processes at a time.

    Returns:
        whether all are done; False where it was interrupted.

    Raises:
        UserError: if a process can't go on.
    """
    (folder / results.COURSES).mkdir(exist_ok=True)
    files.sweep(folder / results.COURSES)
    total, left = 2 * experiment.pairs, len(results.missing(folder, experiment))
    if not left:
        return True
    shares = shares_of_missing(folder, experiment, jobs)
    say(f"{left} of {total} trainings to make, {len(shares)} at a time")
    command = [sys.executable, str(LAUNCHER), "--lifeline", "cli", "experiment", "feedback", str(folder.absolute())]
    children = [
        Child(
            f"process {i}", [*command, "--device", on, "--trainings", ",".join(str(place) for place in share)],
            folder / LOGS / f"{i}.log", {"OMP_NUM_THREADS": "1"},
        )
        for i, share in enumerate(shares, 1)
    ]  # fmt: skip
    begun, before = time.monotonic(), left
    try:
        while any(child.exit_code is None for child in children):
            for child in children:
                _check(child)
            if interrupted():
                return False
            now = len(results.missing(folder, experiment))
            if now != left:
                left = now
                rate = (before - left) / (time.monotonic() - begun)
                say(f"{total - left} of {total} trainings" + (f", {left / rate:.0f} s left" if left else ""))
            time.sleep(POLL_SECONDS)
        for child in children:
            _check(child)
    finally:
        for child in children:
            child.kill()
    return True


def _check(child: Child) -> None:
    """Refuse to go on where a process has failed."""
    if child.exit_code in (None, 0):
        return
    for line in reversed(child.last_words(20)):
        if line.startswith("error: "):
            raise UserError(line.removeprefix("error: "))
    raise UserError(f"A training failed: see the end of {child.log}")
