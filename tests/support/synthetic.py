# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up robot and a worker without Blender: stick figures with labels and latent values, over the real channel."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from robot_keypoints.core.messages.envelope import MessageError
from robot_keypoints.core.messages.events import Posterior
from robot_keypoints.core.messages.run_sockets import Endpoints, Link
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel
from robot_keypoints.core.settings.schema import (
    FeedbackSettings,
    RenderSettings,
    RobotSettings,
    Settings,
    TrainingSettings,
    VariableSettings,
    WorkerSettings,
)

WIDTH, HEIGHT = 64, 48
NAMES = ("foot", "knee", "hand")


def settings(**training: object) -> Settings:
    """A run small enough for a test: three keypoints, 64 × 48 pixels, a few steps."""
    small = TrainingSettings(
        batch_size=8, epoch_images=64, epochs=3, validation_images=24, test_images=16, pretrained=False, device="cpu"
    )
    return Settings(
        robot=RobotSettings(kind="armature", armature="Stick"),
        keypoints=tuple(Keypoint(n, n) for n in NAMES),
        skeleton=(("foot", "knee"), ("knee", "hand")),
        variables=(
            VariableSettings("joint/lower", -math.pi, math.pi, 8, circular=True, unit="rad"),
            VariableSettings("joint/upper", -2.0, 2.0, 8, unit="rad"),
            VariableSettings("camera/target_x", -30.0, 30.0, 4, adapt=False, unit="m"),
            VariableSettings("light/strength", 1.0, 1.0, 1),
        ),
        render=RenderSettings(width=WIDTH, height=HEIGHT),
        workers=WorkerSettings(count=2, adaptive=1),
        training=replace(small, **training),  # type: ignore[arg-type]
        feedback=FeedbackSettings(),
    )


def sample(model: SceneModel, rng: np.random.Generator, worker: int = 0, sequence: int = 0) -> Sample:
    """One stick figure as its latent values say."""
    latents = model.sample(rng)
    return draw(latents, model.version, worker, sequence)


def draw(latents: SceneDraw, version: int = 0, worker: int = 0, sequence: int = 0) -> Sample:
    """The picture and the label of given latent values."""
    v = latents.values
    foot = np.array([WIDTH / 2 + v["camera/target_x"], HEIGHT / 2])
    lower = v["joint/lower"]
    knee = foot + 12 * np.array([math.cos(lower), math.sin(lower)])
    upper = lower + v["joint/upper"]
    hand = knee + 10 * np.array([math.cos(upper), math.sin(upper)])
    points = np.stack([foot, knee, hand])
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    canvas = ImageDraw.Draw(picture)
    canvas.line([*foot, *knee], fill=(230, 230, 230, 255), width=5)
    canvas.line([*knee, *hand], fill=(240, 160, 60, 255), width=3)
    for (x, y), colour in zip(points, ((220, 40, 40, 255), (40, 200, 60, 255), (50, 80, 240, 255)), strict=True):
        canvas.ellipse([x - 2.5, y - 2.5, x + 2.5, y + 2.5], fill=colour)
    u, w = points[:, 0], points[:, 1]
    inside = (u >= -0.5) & (u < WIDTH - 0.5) & (w >= -0.5) & (w < HEIGHT - 0.5)
    return Sample(
        image=np.asarray(picture),
        keypoints=points,
        depths=np.ones(3),
        visibility=np.where(inside, 2, 0).astype(np.int64),
        latents=latents,
        version=version,
        worker=worker,
        sequence=sequence,
        camera_matrix=np.eye(3),
        base_in_camera=np.eye(4),
    )


class Worker:
    """Sends samples from a thread until it is closed; an adaptive one follows the posteriors."""

    def __init__(self, run: Path, identity: str, endpoints: Endpoints, index: int, *, adaptive: bool = False) -> None:
        from robot_keypoints.core.settings.toml_file import load

        self.model = load(run / "settings.toml").scene_model()
        self.sent = 0
        self._link = Link(endpoints, identity)
        self._index = index
        self._stopped = threading.Event()
        if adaptive:
            self._link.subscribe(b"posterior")
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        rng = np.random.default_rng(self._index)
        while not self._stopped.is_set():
            for news in self._link.news():
                if isinstance(news, Posterior) and news.version > self.model.version:
                    try:
                        self.model = self.model.with_concentrations(news.concentrations, news.version)
                    except ValueError as problem:
                        raise MessageError(str(problem)) from problem
            if self._link.send(sample(self.model, rng, self._index, self.sent), self._stopped.is_set):
                self.sent += 1

    def close(self) -> None:
        """End the thread and its sockets."""
        self._stopped.set()
        self._thread.join()
        self._link.close()
