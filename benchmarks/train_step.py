# SPDX-License-Identifier: GPL-3.0-or-later
"""A training step of a network inside the real loop, where samples suffice, beside the same step on ready tensors
that lie in memory: the share of the rate that is left.

    python benchmarks/train_step.py RECORDING [--network light] [--batch 16] [--rounds 6] [--seconds 5] [--json]

RECORDING is a folder of ``benchmarks/recording.py``. Both take turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import as_sample
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.training import setup
from robot_keypoints.trainer.training.batch_pipeline import Pipeline
from robot_keypoints.trainer.training.engine import Engine
from robot_keypoints.trainer.training.replay_store import ReplayStore


class Recorded:
    """A stream that is never short of samples."""

    def __init__(self, recording: Recording, count: int) -> None:
        latents = recording.latents(range(count))
        self._samples = [
            as_sample(
                np.array(recording.images[i]), recording.keypoints[i], recording.visibility[i], latents[i], i
            )
            for i in range(count)
        ]  # fmt: skip
        self._next = 0

    def take(self, limit: int) -> list[Sample]:
        """The next ones, from the first again after the last."""
        found = [self._samples[(self._next + i) % len(self._samples)] for i in range(limit)]
        self._next += limit
        return found

    def wait(self, timeout: float) -> bool:
        """There are always more."""
        return True


def rate(step: Callable[[], int], seconds: float, target: torch.device) -> float:
    """Images per second."""
    if target.type == "cuda":
        torch.cuda.synchronize()
    begin, images = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        images += step()
    if target.type == "cuda":
        torch.cuda.synchronize()
    return images / (time.perf_counter() - begin)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rates, and the share that is left."""
    recording = Recording.load(options.recording)
    t = replace(
        recording.settings.training, network=options.network, batch_size=options.batch, device=options.device,
        pretrained=False, compile=options.compile,
    )  # fmt: skip
    settings = replace(recording.settings, training=t)
    target = device.choose(t.device)
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        info = setup.model_info(settings, Path(folder))
    net = factory.build(info.network).to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
    render = settings.render
    precision = device.decide(net, t.precision, t.batch_size, render.width, render.height)
    engine = Engine(net, t, precision)
    engine.begin()
    stream = Recorded(recording, min(options.samples, len(recording.images)))
    store = ReplayStore(
        render.width, render.height, len(settings.keypoints), settings.scene_model(), batch=t.batch_size,
        memory=t.store_mb << 20, reuse=t.reuse, fresh_share=t.fresh_share, seed=1, hard_share=t.hard_share,
    )  # fmt: skip
    never = threading.Event().is_set
    found: dict[str, list[float]] = {"memory": []}
    loops: dict[str, Pipeline] = {}
    for name, ahead in (("loop", False), ("loop, next batch in a thread", True)):
        loops[name] = Pipeline(store, stream, setup.make_batch_augmenter(settings, target, 1), target, ahead=ahead)
        found[name] = []
    first = loops["loop"].next(never)
    assert first is not None
    fixed = first.batch

    def in_memory() -> int:
        engine.step(fixed, t.learning_rate, len(fixed), never)
        return len(fixed)

    def in_loop(pipeline: Pipeline) -> int:
        prepared = pipeline.next(never)
        assert prepared is not None
        step = engine.step(prepared.batch, t.learning_rate, len(prepared.numbers), never)
        assert step is not None
        pipeline.done(prepared, step.losses)
        return len(prepared.numbers)

    for _ in range(3):
        in_memory()
    for pipeline in loops.values():
        rate(lambda: in_loop(pipeline), options.seconds, target)  # noqa: B023 - used at once; fills banks and store
    for _ in range(options.rounds):
        found["memory"].append(rate(in_memory, options.seconds, target))
        for name, pipeline in loops.items():
            found[name].append(rate(lambda: in_loop(pipeline), options.seconds, target))  # noqa: B023
    for pipeline in loops.values():
        pipeline.close()
    begin, made = time.perf_counter(), 0
    while time.perf_counter() - begin < options.seconds:
        made += len(loops["loop"].next(never).numbers)  # type: ignore[union-attr]
    result: dict[str, Any] = {
        "device": str(precision), "threads": torch.get_num_threads(), "network": options.network,
        "batch": options.batch, "size": [render.width, render.height],
        "images_per_second": {k: round(statistics.median(v), 1) for k, v in found.items()},
        "only_making_batches": round(made / (time.perf_counter() - begin), 1),
        "share_of_rate": {
            k: round(statistics.median(a / b for a, b in zip(v, found["memory"], strict=True)), 3)
            for k, v in found.items()
            if k != "memory"
        },
    }  # fmt: skip
    return result


def main() -> None:
    """Print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path)
    parser.add_argument("--network", default="light")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of torch; a run with workers on two cores has one")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
