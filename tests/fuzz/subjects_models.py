# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files, and the folders of runs that are to go on."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import synthetic
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings import toml_file, validation
from robot_keypoints.trainer.evaluation.sample_set import SampleSet
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.networks import factory, model_file, pretrained_weights
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.training import setup, trainer
from subjects import Seed, command, contents
from trainings import Quiet


def stick_info() -> ModelInfo:
    """Of a model of the stick figure."""
    return ModelInfo(
        factory.NetworkConfig("light", 3, 1.0, width=8), 64, 48, synthetic.NAMES, (("foot", "knee"), ("knee", "hand"))
    )


def robot_info() -> ModelInfo:
    """Of a model of the built-in robot, which it brings along."""
    robot = load_urdf(builtin_urdf())
    points = keypoints.joint_keypoints(robot)
    edges = keypoints.skeleton(robot, points)
    config = factory.NetworkConfig("light", len(points), 1.0, width=8)
    return ModelInfo(config, 64, 48, tuple(k.name for k in points), edges, robot.to_dict(), places=points)


def write_model(path: Path, info: ModelInfo) -> Path:
    """A model that has learned nothing."""
    torch.manual_seed(1)
    model_file.save_model(path, factory.build(info.network).state_dict(), info)
    return path


def load_once(path: Path) -> None:
    """Let commands take the model in this file as it was loaded the first time."""
    kept = Predictor.load(path, torch.device("cpu"))

    def load(_cls: type[Predictor], asked: Path, _device: torch.device, decoder: str | None = None) -> Predictor:
        assert asked == path and decoder is None
        return kept

    Predictor.load = classmethod(load)  # type: ignore[method-assign,assignment]


class Models:
    """``predict`` with a model from somewhere, and ``training.weights``."""

    def __init__(self, scratch: Path) -> None:
        self._image = scratch / "image.png"
        Image.effect_noise((64, 48), 60).convert("RGB").save(self._image)
        self._scratch = scratch

    def seeds(self) -> Sequence[Seed]:
        infos = {"stick.safetensors": stick_info(), "robot.safetensors": robot_info()}
        models = [Seed(n, {n: write_model(self._scratch / n, info).read_bytes()}) for n, info in infos.items()]
        stream = io.BytesIO()
        torch.save({"layer.weight": torch.ones(3, 4), "layer.bias": torch.zeros(3)}, stream)
        return [*models, Seed("weights.pth", {"weights.pth": stream.getvalue()})]

    def attempt(self, entry: Path) -> None:
        if entry.suffix == ".pth":
            pretrained_weights.read(entry, "ResNet-18")
            return
        camera = ["--camera", "60,60,31.5,23.5"] if entry.name == "robot.safetensors" else []
        command("predict", entry, self._image, *camera, "--json")


class Runs:
    """``train --resume`` of a run from somewhere, as far as the trainer has to read."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch / "run"

    def seeds(self) -> Sequence[Seed]:
        settings = synthetic.settings(width=8, precision="float32", epochs=1, epoch_images=16, store_mb=64)
        (self._scratch / "logs").mkdir(parents=True)
        toml_file.save(settings, self._scratch / "settings.toml")
        trainer = self._trainer(self._scratch, resume=False)
        try:
            trainer.run()
        finally:
            trainer.close()
        kept = ("settings.toml", "checkpoints/", "metrics.jsonl", "priors.jsonl", "model.safetensors")
        return [Seed("", {n: d for n, d in contents(self._scratch).items() if n.startswith(kept)})]

    def attempt(self, entry: Path) -> None:
        try:
            trainer = self._trainer(entry, resume=True)
        except OSError as problem:
            raise UserError(f"could not use {problem.filename}") from problem  # as the trainer's process tells it
        try:
            if trainer.held_out.validation is not None:
                trainer.validate()
            SampleSet.load(entry / "checkpoints" / "validation.npz")
        finally:
            trainer.close()

    def _trainer(self, folder: Path, *, resume: bool) -> trainer.Trainer:
        settings = toml_file.load(folder / "settings.toml")
        validation.check(settings)
        quiet = Quiet(settings)
        info = setup.model_info(settings, folder)
        return trainer.Trainer(folder, settings, info, quiet, quiet, time.monotonic(), resume=resume)  # type: ignore[arg-type]


class Reports(Runs):
    """``report`` of a run from somewhere that has no model, as drawing its hardest images takes seconds."""

    def seeds(self) -> Sequence[Seed]:
        super().seeds()
        kept = ("settings.toml", "metrics.jsonl", "priors.jsonl", "summary.json")
        files = {n: d for n, d in contents(self._scratch).items() if n in kept}
        unset = {n: d for n, d in files.items() if n != "settings.toml"}
        return [Seed("", files), Seed("", unset, valid=False)]

    def attempt(self, entry: Path) -> None:
        command("report", entry, "--out", self._scratch / "report.html", "--json")
