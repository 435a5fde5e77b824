# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment's trainings, each in its turn: those that are missing in its folder, by one process or by several."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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


def run_share(folder: Path, experiment: FeedbackExperiment, on: str, number: int, jobs: int) -> None:
    """Make one process's share of the trainings that are missing; each is written when it is done.

    Args:
        on: device, as ``training.device`` names it.
        number: of the process, 0 … ``jobs`` - 1.

    Raises:
        UserError: if the device can't be used, or a training has run away.
    """
    torch.set_num_threads(1)
    # By the numbers of all trainings, so that the shares stay the same while others are being done.
    mine = results.every_training(experiment)[number::jobs]
    training: PairedTraining | None = None
    for seed, feedback in mine:
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
    say(f"{left} of {total} trainings to make, {jobs} at a time")
    command = [sys.executable, str(LAUNCHER), "--lifeline", "cli", "experiment", "feedback", str(folder.absolute())]
    children = [
        Child(
            f"process {i + 1}", [*command, "--device", on, "--share-of-jobs", f"{i}/{jobs}"],
            folder / LOGS / f"{i + 1}.log", {"OMP_NUM_THREADS": "1"},
        )
        for i in range(jobs)
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
