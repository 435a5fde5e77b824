# SPDX-License-Identifier: GPL-3.0-or-later
"""A training on a recording as the trainer's own loop does it, for the benchmarks that need no Blender."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from robot_keypoints.core.settings.schema import Settings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.training import setup
from robot_keypoints.trainer.training.batch_pipeline import Pipeline
from robot_keypoints.trainer.training.engine import Engine
from robot_keypoints.trainer.training.replay_store import ReplayStore
from robot_keypoints.trainer.training.schedule import learning_rate
from train_step import Recorded

HELD_OUT = 400
"""Renderings of a recording that are only tested on."""


def never() -> bool:
    """Nothing interrupts a benchmark."""
    return False


def model_info(settings: Settings, recording: Recording) -> ModelInfo:
    """The training of a model on the recording."""
    return replace(setup.model_info(settings, Path()), robot=recording.robot)


class Course:
    """One training on the recording but for its last :data:`HELD_OUT` renderings."""

    def __init__(self, recording: Recording, settings: Settings, target: torch.device, seed: int = 1) -> None:
        self.settings = settings
        self.target = target
        self.seed = seed
        self.info = model_info(settings, recording)
        kept = len(recording.images) - HELD_OUT
        self.stream = Recorded(recording, kept)
        t, render = settings.training, settings.render
        self.store = ReplayStore(
            render.width, render.height, len(settings.keypoints), settings.scene_model(), batch=t.batch_size,
            memory=4 * kept * render.width * render.height, reuse=t.reuse, fresh_share=t.fresh_share, seed=seed,
        )  # fmt: skip
        self.augmenter = setup.make_batch_augmenter(settings, target, seed)

    def pipeline(self, *, ahead: bool) -> Pipeline:
        """Batches of the store, one at a time."""
        return Pipeline(self.store, self.stream, self.augmenter, self.target, ahead=ahead)

    def engine(self, *, pretrained: bool) -> Engine:
        """The engine of a new network."""
        torch.manual_seed(self.seed)
        t = self.settings.training
        net = factory.build(self.info.network, pretrained=pretrained, weights=t.weights)
        net = net.to(self.target, memory_format=torch.channels_last)  # type: ignore[call-overload]
        precision = device.decide(net, "auto", t.batch_size, *self.settings.input_size)
        engine = Engine(net, t, precision)
        width, height = self.settings.input_size
        engine.begin((t.batch_size, height, width))
        return engine

    def steps(self, engine: Engine, pipeline: Pipeline, count: int = 0, seconds: float = 0.0) -> int:
        """So many, or for so long; how many images they took."""
        t, images, begin, done = self.settings.training, 0, time.perf_counter(), 0
        while True:
            share = done / count if count else (time.perf_counter() - begin) / seconds
            if share >= 1:
                return images
            prepared = pipeline.next(never)
            assert prepared is not None
            step = engine.step(prepared.batch, learning_rate(t, engine.steps, share), len(prepared.numbers), never)
            assert step is not None
            pipeline.done(prepared, step.losses)
            images += len(prepared.numbers)
            done += 1


def held_out(recording: Recording, settings: Settings) -> EvaluationSet:
    """The last renderings, composited as a run's test images are."""
    rows = list(range(len(recording.images) - HELD_OUT, len(recording.images)))
    latents = recording.latents(rows)
    pictures = FixedCompositor.of(settings, validation=True).composite(
        torch.from_numpy(np.ascontiguousarray(recording.images[rows])), [h.values for h in latents], rows
    )
    return EvaluationSet(pictures, np.array(recording.keypoints[rows]), np.array(recording.visibility[rows]))
