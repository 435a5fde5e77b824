# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording's renderings in memory, smaller and split in three: to train on, to validate, to test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.experiments.pool_making import smaller
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.training.engine import Batch, Engine

VALIDATION, TEST = 512, 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """A recording in memory, split: the last ones to test, those before to validate, the others to train on."""

    recording: Recording
    images: NDArray[np.uint8]
    keypoints: Floats
    model: SceneModel
    effects: Floats

    @classmethod
    def of(cls, recording: Recording, shrink: int) -> Data:
        """Renderings at ``1 / shrink`` of their size."""
        n, h, w, _ = recording.images.shape
        images = np.empty((n, h // shrink, w // shrink, 4), np.uint8)
        for i in range(0, n, 500):
            images[i : i + 500] = smaller(torch.from_numpy(np.array(recording.images[i : i + 500])), shrink)
        keypoints = (np.array(recording.keypoints) + 0.5) / shrink - 0.5
        names = [v.name for v in recording.settings.variables]
        rows = [dict(zip(names, row, strict=True)) for row in recording.values.tolist()]
        return cls(recording, images, keypoints, recording.settings.scene_model(), sensor_effects.table(rows))

    @property
    def pool(self) -> int:
        """Number of renderings to train on."""
        return len(self.images) - VALIDATION - TEST

    def held_out(self, begin: int, count: int) -> tuple[EvaluationSet, tuple[SceneDraw, ...]]:
        """Composited images, and their latent values."""
        chosen = range(begin, begin + count)
        latents = self.recording.latents(chosen)
        h, w = self.images.shape[1:3]
        settings = self.recording.settings
        small = replace(settings, render=replace(settings.render, width=w, height=h))
        values, seeds = [x.values for x in latents], [x.seed for x in latents]
        images = FixedCompositor.of(small, validation=True).composite(
            torch.from_numpy(self.images[chosen]), values, seeds
        )
        return EvaluationSet(images, self.keypoints[chosen]), latents


def begin(data: Data, seed: int, t: TrainingSettings) -> tuple[Engine, Augmentation]:
    """A new network's training, and what lays its images over backgrounds; the same for the same seed."""
    torch.manual_seed(seed)
    height, width = data.images.shape[1:3]
    settings = data.recording.settings
    sigma = t.target_sigma / 100 * float(np.hypot(width, height))
    config = factory.NetworkConfig.of(t, len(settings.keypoints), sigma)
    engine = Engine(factory.build(config).to(memory_format=torch.channels_last), t, PRECISION)
    engine.begin()
    return engine, Augmentation(settings.augmentation, width, height, seed, PRECISION.device)


def augmented(augmentation: Augmentation, images: torch.Tensor, keypoints: torch.Tensor, values: Floats) -> Batch:
    """Renderings ``(B, H, W, 4)`` with their keypoints ``(B, J, 2)`` as the network takes them."""
    pictures, points, _ = augmentation(images, keypoints, values)
    return Batch(factory.normalise(pictures).contiguous(memory_format=torch.channels_last), points, None)


def errors(engine: Engine, test: EvaluationSet) -> dict[str, float]:
    """Mean, median and 95 % quantile in percent of the diagonal."""
    result = evaluate(engine.average, test, PRECISION, 64)
    assert result is not None
    found = result.errors[~np.isnan(result.errors)]
    return {"mean": float(found.mean()), "median": float(np.median(found)), "q95": float(np.quantile(found, 0.95))}


def summary(values: list[float]) -> str:
    """Mean and its standard error over seeds."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return f"{np.mean(values):+8.3f} ± {error:.3f}"


PRECISION = device.Precision(torch.device("cpu"), True, 1e-3)
"""bfloat16, which the trainer would choose on a CPU that has it; the same for all trainings."""
