# SPDX-License-Identifier: GPL-3.0-or-later
"""Trainings within the test's own process, and what they have written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import synthetic
import torch
from numpy.typing import NDArray
from robot_keypoints.core.messages.events import Event, Posterior
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.core.settings.toml_file import save
from robot_keypoints.core.step_times import StepTimes
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.training import setup, trainer
from robot_keypoints.trainer.training.batch_pipeline import Pipeline
from robot_keypoints.trainer.training.replay_store import RawBatch


class Quiet:
    """A stream and a switchboard in one: always samples, never anybody who listens."""

    ending = False
    received = dropped = 0

    def __init__(self, settings: Settings) -> None:
        self.stop, self.paused, self.abandoned = threading.Event(), threading.Event(), threading.Event()
        self.run_id = "test"
        self._model, self._rng = settings.scene_model(), np.random.default_rng(0)

    def take(self, limit: int) -> list[object]:
        return [synthetic.sample(self._model, self._rng) for _ in range(limit)]

    def wait(self, timeout: float) -> bool:
        return True

    def rates(self) -> dict[str, float]:
        return {}

    def times(self) -> StepTimes:
        return StepTimes()

    def publish(self, event: Event) -> None:
        pass

    def publish_posterior(self, posterior: Posterior) -> None:
        pass


class Recorded:
    """The same data again and again."""

    def __init__(self, settings: Settings) -> None:
        model, rng = settings.scene_model(), np.random.default_rng(5)
        samples = [synthetic.sample(model, rng) for _ in range(40)]
        self.batches = 0
        self.waited = 0.0
        self._samples = samples

    def next_batch(self, stream: object, interrupted: Callable[[], bool]) -> RawBatch:
        rng = np.random.default_rng(self.batches)
        self.batches += 1
        some = [self._samples[i] for i in rng.integers(0, len(self._samples), 8)]
        drawn = {"sensor/noise": 0.02, "sensor/blur": 0.8, "objects/drawn": 3.0, "background/theme": 0.5}
        values = sensor_effects.table([{k: float(v * rng.random()) for k, v in drawn.items()} for _ in some])
        return RawBatch(
            np.stack([s.image for s in some]), np.stack([s.keypoints for s in some]),
            np.stack([s.visibility for s in some]), values, np.arange(8), np.stack([s.depths for s in some]),
            np.tile([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], (8, 1)),
            np.ones((8, len(some[0].depths))), np.empty((8, 0)),
        )  # fmt: skip

    def note(self, numbers: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        pass


def streaming(folder: Path, settings: Settings, *, resume: bool) -> trainer.Trainer:
    """A trainer whose batches are made as in any run, of samples that are always there."""
    quiet, info = Quiet(settings), setup.model_info(settings, folder)
    return trainer.Trainer(folder, settings, info, quiet, quiet, time.monotonic(), resume=resume)  # type: ignore[arg-type]


def trainer_of(folder: Path, settings: Settings, *, resume: bool, ahead: bool) -> trainer.Trainer:
    made, quiet = streaming(folder, settings, resume=resume), Quiet(settings)
    state = made.parts.pipeline.state
    made.parts.pipeline.close()
    augmenter = setup.make_batch_augmenter(settings, torch.device("cpu"), settings.training.seed)
    made.parts.pipeline = Pipeline(Recorded(settings), quiet, augmenter, torch.device("cpu"), ahead=ahead)  # type: ignore[arg-type]
    made.parts.pipeline.state = state
    return made


def run_whole(folder: Path, settings: Settings, *, ahead: bool) -> trainer.Trainer:
    """A whole run in ``folder``, from its settings to its last report; closed."""
    (folder / "logs").mkdir(parents=True)
    save(settings, folder / "settings.toml")
    before = torch.get_num_threads()
    made = trainer_of(folder, settings, resume=False, ahead=ahead)
    try:
        made.run()
    finally:
        made.close()
        torch.set_num_threads(before)
    return made


def train(trainer: trainer.Trainer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        prepared = trainer.parts.pipeline.next(lambda: False)
        assert prepared is not None
        step = trainer.step(prepared)
        assert step is not None
        found += [*step.losses.tolist(), step.gradient, *step.extras.values()]
    return found


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
