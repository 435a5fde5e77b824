# SPDX-License-Identifier: GPL-3.0-or-later
"""Does feedback help? The same network, with and without it, on the same number of images, for several seeds.

Nothing is rendered: a worker that follows the posteriors is played by drawing from a recording, each rendering as often
as the present posterior would make it, over how often the initial priors did. Both kinds of workers draw with
replacement, so neither is ahead by that. What is drawn lies under backgrounds and effects of its own each time.

    python benchmarks/feedback.py RECORDING [--seeds 4] [--images 8000] [--shrink 2] [--select loss]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recording import Recording
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel
from robot_keypoints.core.settings.schema import FeedbackSettings, TrainingSettings
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.images.sensor_effects import premultiply
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.training import feedback, uncertainty
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.schedule import learning_rate

VALIDATION, TEST = 512, 1000
Floats = NDArray[np.float64]

Sets = tuple[tuple[EvaluationSet, tuple[SceneDraw, ...]], EvaluationSet]
"""To validate, with its latent values; and to test."""


@dataclass(frozen=True)
class Data:
    """A recording in memory, split: the last ones to test, those before to validate, the others to train on."""

    recording: Recording
    images: NDArray[np.uint8]
    keypoints: Floats
    model: SceneModel
    bins: NDArray[np.int64]
    effects: Floats

    @classmethod
    def of(cls, recording: Recording, shrink: int) -> Data:
        """Renderings at ``1 / shrink`` of their size, and the bins ``(N, V)`` of their latent values."""
        n, h, w, _ = recording.images.shape
        images = np.empty((n, h // shrink, w // shrink, 4), np.uint8)
        for i in range(0, n, 500):
            images[i : i + 500] = smaller(torch.from_numpy(np.array(recording.images[i : i + 500])), shrink)
        keypoints = (np.array(recording.keypoints) + 0.5) / shrink - 0.5
        model = recording.settings.scene_model()
        bins = np.stack([v.prior.bin_of(recording.values[:, i]) for i, v in enumerate(model.variables)], 1)
        names = [v.name for v in model.variables]
        rows = [dict(zip(names, row, strict=True)) for row in recording.values.tolist()]
        return cls(recording, images, keypoints, model, bins, sensor_effects.table(rows))

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

    def probabilities(self, model: SceneModel) -> Floats:
        """Of drawing each rendering of the pool, so that the latent values follow ``model``."""
        weights = np.zeros(self.pool)
        for i, (now, initial) in enumerate(zip(model.variables, self.model.variables, strict=True)):
            ratio = np.log(now.prior.marginal) - np.log(initial.prior.marginal)
            weights += ratio[self.bins[: self.pool, i]]
        p = np.exp(weights - weights.max())
        return np.asarray(p / p.sum())


def smaller(images: torch.Tensor, factor: int) -> NDArray[np.uint8]:
    """Straight RGBA ``(B, H, W, 4)`` averaged over squares of ``factor`` pixels."""
    if factor == 1:
        return images.numpy()
    mean = torch.nn.functional.avg_pool2d(premultiply(images), factor)
    alpha = mean[:, 3:].clamp_min(1e-6)
    straight = torch.cat([mean[:, :3] / alpha, mean[:, 3:]], 1).clamp(0, 1) * 255
    return np.asarray(straight.round().byte().permute(0, 2, 3, 1).numpy())


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


def train(
    data: Data,
    sets: Sets,
    seed: int,
    adaptive: float,
    images: int,
    validations: int,
    t: TrainingSettings,
    f: FeedbackSettings,
) -> dict[str, Any]:
    """One training; its errors on the test images, at every validation and at the end."""
    engine, augmentation = begin(data, seed, t)
    rng = np.random.default_rng(seed)
    settings = replace(data.recording.settings, training=t, feedback=f)
    (validation, latents), test = sets
    model, p = data.model, data.probabilities(data.model)
    steps = images // t.batch_size
    curve: list[dict[str, float]] = []
    versions: list[float] = []
    following = round(adaptive * t.batch_size)
    for step in range(steps):
        plain = rng.integers(0, data.pool, t.batch_size - following)
        chosen = np.concatenate([plain, rng.choice(data.pool, following, p=p)])
        pictures, points = torch.from_numpy(data.images[chosen]), torch.from_numpy(data.keypoints[chosen])
        batch = augmented(augmentation, pictures, points, data.effects[chosen])
        engine.step(batch, learning_rate(t, step, step / steps), len(batch), lambda: False)
        if (step + 1) * validations // steps > step * validations // steps:
            if following and step + 1 < steps:
                result = evaluate(engine.average, validation, PRECISION, 64)
                assert result is not None
                scores = uncertainty.scores(result, engine.average, validation, PRECISION, settings)
                assert scores is not None
                model = feedback.update(model, data.model, latents, scores, f).model
                p = data.probabilities(model)
                versions.append(float(1.0 / (p**2).sum() / data.pool))
            curve.append({"images": (step + 1) * t.batch_size, **errors(engine, test)})
    used = float(np.mean(versions)) if versions else 1.0
    return {"seed": seed, "adaptive": adaptive, **curve[-1], "curve": curve, "effective_share_of_pool": used}


def errors(engine: Engine, test: EvaluationSet) -> dict[str, float]:
    """Mean, median and 95 % quantile in percent of the diagonal."""
    result = evaluate(engine.average, test, PRECISION, 64)
    assert result is not None
    found = result.errors[~np.isnan(result.errors)]
    return {"mean": float(found.mean()), "median": float(np.median(found)), "q95": float(np.quantile(found, 0.95))}


def main() -> None:
    """Train in turns without and with feedback, and print a table, and JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--images", type=int, default=8000, help="that each training sees")
    parser.add_argument("--shrink", type=int, default=2, help="renderings are used at this fraction of their size")
    parser.add_argument("--count", type=int, default=0, help="take so many renderings of the recording; 0 takes all")
    parser.add_argument("--adaptive", type=float, nargs="+", default=[0.0, 0.5], help="shares that follow posteriors")
    parser.add_argument("--validations", type=int, default=6)
    parser.add_argument("--select", choices=("loss", "uncertainty"), default="loss")
    parser.add_argument("--joints-only", action="store_true", help="adapt the joints alone, as in [Heindl2019, IV-B]")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    began = time.monotonic()
    recording = Recording.load(o.recording)
    if o.count:
        kept_arrays = {n: getattr(recording, n)[: o.count] for n in ("images", "keypoints", "visibility", "values")}
        recording = replace(recording, **kept_arrays)
    if o.joints_only:
        kept = tuple(replace(v, adapt=v.adapt and v.name.startswith("joint/")) for v in recording.settings.variables)
        recording = replace(recording, settings=replace(recording.settings, variables=kept))
    t = replace(TrainingSettings(), dropout=o.dropout, batch_size=16)
    data = Data.of(recording, o.shrink)
    print(f"{data.pool} renderings of {data.images.shape[2]}x{data.images.shape[1]} to train on", file=sys.stderr)
    sets = data.held_out(data.pool, VALIDATION), data.held_out(data.pool + VALIDATION, TEST)[0]
    print(f"ready  [{time.monotonic() - began:.0f} s]", file=sys.stderr)
    runs = []
    for seed in range(o.seeds):
        for share in o.adaptive:
            run = train(data, sets, seed, share, o.images, o.validations, t, FeedbackSettings(select=o.select))
            runs.append(run)
            words = ", ".join(f"{k} {run[k]:.3f}" for k in ("mean", "median", "q95", "effective_share_of_pool"))
            print(f"seed {seed}, {share:.0%} adaptive: {words}  [{time.monotonic() - began:.0f} s]", file=sys.stderr)
    print(f"{'adaptive':>9} {'images':>7}   mean ± std. error    median ± std. error    95 % ± std. error")
    for i in range(o.validations):
        for share in o.adaptive:
            points = [r["curve"][i] for r in runs if r["adaptive"] == share]
            cells = "    ".join(summary([p[k] for p in points]) for k in ("mean", "median", "q95"))
            print(f"{share:>9.0%} {points[0]['images']:>7}   {cells}")
    first = o.adaptive[0]
    for share in o.adaptive[1:]:
        for key in ("mean", "median", "q95"):
            pairs = [
                b[key] - a[key]
                for a in runs for b in runs
                if a["seed"] == b["seed"] and a["adaptive"] == first and b["adaptive"] == share
            ]  # fmt: skip
            print(f"{share:.0%} against {first:.0%}, {key}, seed by seed: {summary(pairs)}")
    if o.json is not None:
        o.json.write_text(json.dumps(runs, indent=1), encoding="utf-8")


def summary(values: list[float]) -> str:
    """Mean and its standard error over seeds."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return f"{np.mean(values):+8.3f} ± {error:.3f}"


PRECISION = device.Precision(torch.device("cpu"), True, 1e-3)
"""bfloat16, which the trainer would choose on a CPU that has it; the same for all trainings."""

if __name__ == "__main__":
    main()
