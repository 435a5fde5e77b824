# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks beside one another, in one run: how long an image takes on this CPU, and how well each finds keypoints
after the same seconds of training on the same recorded renderings.

    python benchmarks/networks.py [--recording FOLDER] [--seconds 120 | --images N] [--test 400] [--rounds 5]
        [--kinds light,mobilenet,resnet,vgg] [--pretrained] [--threads N] [--plot FILE.png] [--json FILE.json]

``recording.py`` makes the recording; without one, only the times are measured. Both sides of a ratio are measured in
turn, in the same precision, so that what else the machine does strikes both.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.evaluation import keypoint_metrics
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet, evaluate
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.images.fixed_compositor import FixedCompositor
from robot_keypoints.trainer.images.training_augmentation import Augmentation
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.networks.batchnorm_folding import fused
from robot_keypoints.trainer.networks.factory import KeypointNetwork, NetworkConfig
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.schedule import learning_rate

WIDTH, HEIGHT = 640, 480
KINDS = ("light", "mobilenet", "efficientnet", "resnet", "vgg")
KEYPOINTS = 8
TARGET_SIGMA = 0.8
"""Percent of the diagonal, the default."""

RATES = {"light": 3e-3, "mobilenet": 3e-3, "efficientnet": 2e-3, "resnet": 2e-3, "vgg": 1e-3}
"""Learning rates: the default, a lower one for ``vgg``, and one between them for ResNet's larger layers."""

BATCHES = {"vgg": 8}
"""Others than 16; that of [Heindl2019, IV-C]."""

WARM_UP = 40
AVERAGING = 0.99


@dataclass
class Reading:
    """What was found about one network; times in milliseconds, errors in percent of the diagonal."""

    kind: str
    parameters: int
    float32_ms: float = math.nan
    bfloat16_ms: float = math.nan
    images: int = 0
    seconds: float = 0.0
    mean: float = math.nan
    median: float = math.nan

    @property
    def ms(self) -> float:
        """In the faster precision."""
        return min(self.float32_ms, self.bfloat16_ms)


def latencies(kinds: tuple[str, ...], rounds: int) -> dict[str, Reading]:
    """Seconds per image at 640 × 480, keypoints found, medians over rounds in which every network has its turn."""
    sigma = TARGET_SIGMA / 100 * math.hypot(WIDTH, HEIGHT)
    image = torch.randn(1, 3, HEIGHT, WIDTH).contiguous(memory_format=torch.channels_last)
    ready: dict[tuple[str, bool], KeypointNetwork] = {}
    readings = {}
    for kind in kinds:
        net = factory.build(NetworkConfig(kind, KEYPOINTS, sigma))
        readings[kind] = Reading(kind, sum(p.numel() for p in net.parameters()))
        ready[kind, False] = fused(net).to(memory_format=torch.channels_last)
        ready[kind, True] = copy.deepcopy(ready[kind, False]).to(torch.bfloat16)
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in ready}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for (kind, half), net in ready.items():
                given = image.to(torch.bfloat16) if half else image
                found = []
                for _ in range(1 if kind == "vgg" else 5):
                    begin = time.perf_counter()
                    net.decode(net(given))
                    found.append(time.perf_counter() - begin)
                if turn:  # the first one finds its memory and its kernels
                    times[kind, half].append(statistics.median(found))
    for (kind, half), values in times.items():
        setattr(readings[kind], "bfloat16_ms" if half else "float32_ms", 1e3 * statistics.median(values))
    return readings


class Course:
    """The same lessons for every network: renderings in the same order, under the same backgrounds."""

    def __init__(self, recording: Recording, test: int, seed: int) -> None:
        self.recording = recording
        self.settings = recording.settings
        self.size = self.settings.render
        self.seed = seed
        count = len(recording.images)
        held_out = list(range(count - test, count))
        self.count = count - test
        latents = recording.latents(held_out)
        pictures = FixedCompositor.of(self.settings, validation=True).composite(
            torch.from_numpy(recording.images[held_out].copy()), [h.values for h in latents], held_out
        )
        self.test = EvaluationSet(pictures, recording.keypoints[held_out].copy())
        self.names = [v.name for v in self.settings.variables]

    def teach(self, reading: Reading, config: NetworkConfig, seconds: float, images: int, pretrained: bool) -> None:
        """Train for so many seconds, or images where that is not zero, and test."""
        torch.manual_seed(self.seed)
        net = factory.build(config, pretrained=pretrained)
        net = net.to(memory_format=torch.channels_last)
        batch = BATCHES.get(config.kind, 16)
        t = TrainingSettings(
            network=config.kind, batch_size=batch, learning_rate=RATES[config.kind], warm_up=WARM_UP,
            averaging=AVERAGING, seed=self.seed,
        )  # fmt: skip
        augmentation = Augmentation(
            self.settings.augmentation, self.size.width, self.size.height, self.seed, torch.device("cpu")
        )
        precision = device.decide(net, "auto", batch, self.size.width, self.size.height)
        engine = Engine(net, t, precision)
        engine.begin()
        order = np.random.default_rng(self.seed)
        queue = order.permutation(self.count)
        self._batch(augmentation, np.arange(batch))  # draws its first backgrounds
        begin = time.monotonic()
        while True:
            share = reading.images / images if images else (time.monotonic() - begin) / seconds
            if share >= 1:
                break
            if len(queue) < batch:
                queue = order.permutation(self.count)
            chosen, queue = np.sort(queue[:batch]), queue[batch:]
            taken = self._batch(augmentation, chosen)
            engine.step(taken, learning_rate(t, engine.steps, share), len(taken), lambda: False)
            reading.images += len(chosen)
        reading.seconds = time.monotonic() - begin
        found = evaluate(engine.average, self.test, precision, batch)
        assert found is not None
        result = keypoint_metrics.localisation(found.errors, [k.name for k in self.settings.keypoints])
        assert result.mean is not None and result.median is not None
        reading.mean, reading.median = result.mean, result.median

    def _batch(self, augmentation: Augmentation, chosen: np.ndarray[Any, Any]) -> Batch:
        r = self.recording
        values = sensor_effects.table([dict(zip(self.names, r.values[i].tolist(), strict=True)) for i in chosen])
        pixels, points, _ = augmentation(
            torch.from_numpy(r.images[chosen]), torch.from_numpy(r.keypoints[chosen]), values
        )
        return Batch(factory.normalise(pixels).contiguous(memory_format=torch.channels_last), points)


def draw_plot(readings: list[Reading], path: Path) -> None:
    """Accuracy over milliseconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for turn, r in enumerate(readings):
        (line,) = axes.plot([r.ms], [r.mean], "o", markersize=9)
        axes.plot([r.ms], [r.median], "o", markersize=9, markerfacecolor="none", color=line.get_color())
        axes.plot([r.ms, r.ms], [r.median, r.mean], "-", color=line.get_color(), linewidth=1)
        above = 14 if turn % 2 else -14
        axes.annotate(f"{r.kind}\n{r.images:,} images", (r.ms, r.mean), xytext=(9, above), textcoords="offset points",
                      va="center", fontsize=9)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(ticker.LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    axes.set_xlabel(f"milliseconds for one image of {WIDTH} × {HEIGHT} with {torch.get_num_threads()} threads")
    axes.set_ylabel("error, % of the diagonal")
    axes.set_title(f"After {statistics.median(r.seconds for r in readings):.0f} s of training each\n"
                   "● mean   ○ median, images not trained on", fontsize=10)  # fmt: skip
    axes.margins(x=0.25, y=0.2)
    axes.grid(True, which="both", alpha=0.25)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print a table, draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, for each network")
    parser.add_argument("--images", type=int, default=0, help="to train on instead, for each network")
    parser.add_argument("--test", type=int, default=400, help="renderings held out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--pretrained", action="store_true", help="with weights that torchvision downloads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kinds = tuple(options.kinds.split(","))
    readings = latencies(kinds, options.rounds)
    slowest = readings.get("vgg")
    print(f"one image of {WIDTH} x {HEIGHT}, {torch.get_num_threads()} threads")
    for r in readings.values():
        line = f"{r.kind:10} {r.parameters / 1e6:6.2f} M"
        for name in ("float32_ms", "bfloat16_ms"):
            mine = getattr(r, name)
            line += f"   {name.removesuffix('_ms')} {mine:8.1f} ms"
            if slowest is not None:
                line += f" (vgg takes {getattr(slowest, name) / mine:5.1f} times as long)"
        print(line, flush=True)
    if options.recording:
        course = Course(Recording.load(options.recording), options.test, options.seed)
        s = course.size
        print(f"trained alike on {s.width} x {s.height}, tested on {options.test} images; % of the diagonal")
        sigma = TARGET_SIGMA / 100 * math.hypot(s.width, s.height)
        for kind, r in readings.items():
            config = NetworkConfig(kind, len(course.settings.keypoints), sigma)
            course.teach(r, config, options.seconds, options.images, options.pretrained)
            print(f"{kind:10} {r.images:7d} images in {r.seconds:6.1f} s  mean {r.mean:6.3f}  median {r.median:6.3f}",
                  flush=True)  # fmt: skip
        if options.plot:
            draw_plot(list(readings.values()), options.plot)
    if options.json:
        found = [{**vars(r)} for r in readings.values()]
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
