# SPDX-License-Identifier: GPL-3.0-or-later
"""How much does it help to use a rendering again, and when does it hurt? And does choosing by loss help?

Every training sees the same number of images through the run's own store; the slower rendering is, the fewer of them
are fresh. Nothing is rendered: fresh samples come from a recording, each once.

    python benchmarks/reuse.py RECORDING [--images 12000] [--reuse 1 2 4 8 16] [--hard 0 0.5] [--seeds 2] [--shrink 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from recording import as_sample
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.scene.scene_model import SceneDraw
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.training.replay_store import ReplayStore
from robot_keypoints.trainer.training.schedule import learning_rate
from shrunk_recording import TEST, VALIDATION, Data, augmented, begin, errors, summary


class Recorded:
    """A stream that has a sample for ``rate`` of the images that are trained on."""

    def __init__(self, data: Data, order: list[int], rate: float) -> None:
        self._data = data
        self._order = order
        self._rate = rate
        self._due = 0.0
        self.taken = 0

    def tick(self, images: int) -> None:
        """So many images are about to be trained on."""
        self._due = min(self._due + images * self._rate, 64.0)

    def take(self, limit: int) -> list[Sample]:
        """At most ``limit`` of those that are due."""
        count = min(limit, int(self._due))
        self._due -= count
        return [self._next() for _ in range(count)]

    def wait(self, timeout: float) -> bool:
        """Where the store has nothing left, the next one comes early."""
        self._due = max(self._due, 1.0)
        return True

    def _next(self) -> Sample:
        i = self._order[self.taken % len(self._order)]
        self.taken += 1
        d = self._data
        names = [v.name for v in d.model.variables]
        values = dict(zip(names, d.recording.values[i].tolist(), strict=True))
        return as_sample(d.images[i], d.keypoints[i], d.recording.visibility[i], SceneDraw({}, values), 0)


def train(data: Data, seed: int, images: int, t: TrainingSettings) -> dict[str, float]:
    """One training; its errors on the test images, and how many renderings it took."""
    engine, augmentation = begin(data, seed, t)
    height, width = data.images.shape[1:3]
    test, _ = data.held_out(data.pool + VALIDATION, TEST)
    stream = Recorded(data, np.random.default_rng(seed).permutation(data.pool).tolist(), 1.0 / t.reuse)
    store = ReplayStore(
        width, height, data.keypoints.shape[1], data.model, batch=t.batch_size, memory=t.store_mb << 20, reuse=t.reuse,
        fresh_share=1.0, seed=seed, hard_share=t.hard_share,
    )  # fmt: skip
    steps = images // t.batch_size
    for step in range(steps):
        stream.tick(t.batch_size)
        raw = store.next_batch(stream, lambda: False)
        assert raw is not None
        pictures, points = torch.from_numpy(raw.images), torch.from_numpy(raw.keypoints)
        batch = augmented(augmentation, pictures, points, raw.values)
        found = engine.step(batch, learning_rate(t, step, step / steps), len(batch), lambda: False)
        assert found is not None
        store.note(raw.numbers, found.losses)
    return {**errors(engine, test), "renderings": stream.taken}


def main() -> None:
    """Train with each reuse and each share of hard ones, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--images", type=int, default=12000)
    parser.add_argument("--reuse", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--hard", type=float, nargs="+", default=[0.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--shrink", type=int, default=2)
    o = parser.parse_args()
    began = time.monotonic()
    data = Data.of(Recording.load(o.recording), o.shrink)
    print(f"{'reuse':>6} {'hard':>5} {'renderings':>10}   mean, median, 95 % (± std. error over {o.seeds} seeds)")
    for hard in o.hard:
        for reuse in o.reuse:
            t = replace(TrainingSettings(), reuse=reuse, hard_share=hard)
            runs = [train(data, seed, o.images, t) for seed in range(o.seeds)]
            cells = "    ".join(summary([r[k] for r in runs]) for k in ("mean", "median", "q95"))
            print(f"{reuse:>6} {hard:>5.0%} {runs[0]['renderings']:>10.0f}   {cells}", flush=True)
            print(f"[{time.monotonic() - began:.0f} s]", file=sys.stderr)


if __name__ == "__main__":
    main()
