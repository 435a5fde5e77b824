# SPDX-License-Identifier: GPL-3.0-or-later
"""Robots that the image cuts off: keypoints about its edges by soft-argmax and by curve fit.

    python benchmarks/truncated.py                       # perfect maps
    python benchmarks/truncated.py RECORDING [--seconds 50] [--seeds 1 2 3] [--device cuda]

The first form encodes keypoints about an edge and decodes them. The second trains small networks as well, on windows of
a recording's images (see ``recording.py``) at half their size, each with an edge near a keypoint; all see the same
windows in the same order, for as many steps as the first one manages in the time that is given. One has the targets of
the default settings and one targets as wide as the curve's, so that it can be told what width does and what decoding.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from robot_keypoints.core.robot.visibility import SURE
from robot_keypoints.trainer.datasets.recording import Recording
from robot_keypoints.trainer.maps import codec, curve_fit
from robot_keypoints.trainer.networks import factory
from torch import Tensor

WIDTH, HEIGHT, STRIDE = 96, 80, 4
SIGMA = 4.0
"""Width of the curve's targets, pixels, in whose units distances from the edge are told: one cell."""

DEFAULT_SIGMA = 0.008 * math.hypot(WIDTH, HEIGHT)
TEST = 400
"""Renderings that are only tested on, each in several windows."""

WINDOWS = 4
BATCH = 16
BANDS = (-3.0, -2.0, -1.0, 0.0, 1.0, 3.0, math.inf)
"""Distances inside the nearest edge, in :data:`SIGMA`, between which errors are told together."""

NETWORKS = {
    "soft-argmax": ("soft_argmax", DEFAULT_SIGMA),
    "soft-argmax, wide targets": ("soft_argmax", SIGMA),
    "curve fit": ("curve_fit", SIGMA),
}

Floats = NDArray[np.float64]


def depth(points: Floats) -> Floats:
    """How far each point lies inside the nearest edge, in :data:`SIGMA`; outside it is negative."""
    u, v = points[..., 0], points[..., 1]
    nearest = np.minimum(np.minimum(u + 0.5, WIDTH - 0.5 - u), np.minimum(v + 0.5, HEIGHT - 0.5 - v))
    return np.asarray(nearest / SIGMA)


def round_trip() -> list[tuple[float, float, float]]:
    """Rows of the distance inside the left edge, and the mean errors in pixels by either decoder, of perfect maps."""
    rows = []
    for off in np.linspace(-3.0, 3.0, 13):
        v = torch.linspace(10, HEIGHT - 10, 200, dtype=torch.float64)
        points = torch.stack([torch.full_like(v, -0.5 + off * SIGMA), v], -1)[None]
        maps = codec.encode(points, WIDTH, HEIGHT, STRIDE, SIGMA, margin=curve_fit.margin(SIGMA))
        # The fair side for soft-argmax inside: targets of its own kind.
        own = codec.encode(points, WIDTH, HEIGHT, STRIDE, SIGMA) if off >= 0 else maps
        decoded = codec.decode(own, STRIDE, SIGMA).positions, curve_fit.locate(maps, STRIDE, SIGMA).positions
        soft, curve = (float((p - points).norm(dim=-1).mean()) for p in decoded)
        rows.append((float(off), soft, curve))
    return rows


@dataclass(frozen=True)
class Halves:
    """A recording's images at half their size: RGB with premultiplied alpha ``(N, H, W, 4)``, 0 … 1, float16, and
    keypoints ``(N, J, 2)``."""

    images: NDArray[np.float16]
    keypoints: Floats

    @classmethod
    def of(cls, recording: Recording, rows: range) -> Halves:
        """Every pixel the mean of four."""
        images = []
        for i in rows:
            image = np.asarray(recording.images[i], np.float32) / 255.0
            image[..., :3] *= image[..., 3:]
            h, w = image.shape[0] // 2, image.shape[1] // 2
            images.append(image[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 4).mean((1, 3)).astype(np.float16))
        return cls(np.stack(images), (np.array(recording.keypoints[rows.start : rows.stop]) + 0.5) / 2 - 0.5)

    def window(self, number: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """RGB ``(3, HEIGHT, WIDTH)`` before a random gradient, and keypoints ``(J, 2)`` in its pixels.

        One edge of the window passes a keypoint within three standard deviations, where the image is large enough.
        """
        image, points = self.images[number], self.keypoints[number]
        free = np.array([image.shape[1] - WIDTH, image.shape[0] - HEIGHT])
        corner = rng.integers(0, free + 1)
        axis, j = int(rng.integers(2)), int(rng.integers(len(points)))
        place = points[j, axis] + rng.uniform(-3, 3) * SIGMA
        if np.isfinite(place):
            low, high = round(place), round(place) - (WIDTH, HEIGHT)[axis]
            fitting = [c for c in (low, high) if 0 <= c <= free[axis]]
            if fitting:
                corner[axis] = fitting[int(rng.integers(len(fitting)))]
        x, y = corner.tolist()
        part = image[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)
        ends = rng.random((2, 2, 3))
        across, down = np.linspace(0, 1, WIDTH)[None, :, None], np.linspace(0, 1, HEIGHT)[:, None, None]
        behind = (1 - down) * ((1 - across) * ends[0, 0] + across * ends[0, 1])
        behind = behind + down * ((1 - across) * ends[1, 0] + across * ends[1, 1])
        behind = behind + rng.normal(0, 0.05, (HEIGHT, WIDTH, 3))
        pixels = (part[..., :3] + (1 - part[..., 3:]) * behind).clip(0, 1).astype(np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(points - corner).float()


def batch(halves: Halves, seed: tuple[int, ...], numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Windows of some images, the same for the same seed: ``(B, 3, H, W)`` normalised and ``(B, J, 2)``."""
    rng = np.random.default_rng(seed)
    images, points = zip(*(halves.window(int(n), rng) for n in numbers), strict=True)
    return factory.normalise(torch.stack(images)), torch.stack(points)


def train(
    network: factory.KeypointNetwork, halves: Halves, seed: int, fraction_at: Callable[[int], float], device: str
) -> int:
    """Train until ``fraction_at`` says of a step that it is one; how many steps."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    network.train()
    step = 0
    while (fraction := fraction_at(step)) < 1:
        rate = 3e-3 * min(1.0, (step + 1) / 60) * max(0.01, 0.5 * (1 + math.cos(math.pi * fraction)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        numbers = np.random.default_rng((seed, step)).integers(0, len(halves.images), BATCH)
        images, points = batch(halves, (seed, step, 1), numbers)
        loss = network.loss(
            network(images.to(device).contiguous(memory_format=torch.channels_last)), points.to(device), WIDTH, HEIGHT
        ).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
    return step


@torch.no_grad()
def answers(network: factory.KeypointNetwork, halves: Halves, device: str) -> tuple[Floats, Floats, Floats]:
    """True and found places ``(M, J, 2)`` and confidences ``(M, J)`` on the test windows."""
    network.eval()
    rows = []
    for window in range(WINDOWS):
        for begin in range(0, len(halves.images), 50):
            numbers = np.arange(begin, min(begin + 50, len(halves.images)))
            images, points = batch(halves, (7, window, begin), numbers)
            found, confidence = network.decode(network(images.to(device)))
            rows.append((points.double(), found.positions.double().cpu(), confidence.double().cpu()))
    true, places, confidences = (torch.cat(t).numpy() for t in zip(*rows, strict=True))
    return true, places, confidences


def by_band(true: Floats, found: Floats, confidences: Floats) -> list[dict[str, float]]:
    """For each band: how many keypoints, the share that is claimed, and errors of all in pixels."""
    inward, errors = depth(true), np.linalg.norm(found - true, axis=-1)
    result = []
    for low, high in pairwise(BANDS):
        chosen = (inward >= low) & (inward < high)
        e = errors[chosen]
        result.append({
            "low": low, "high": high, "count": int(chosen.sum()), "mean": float(e.mean()),
            "median": float(np.median(e)), "claimed": float((confidences[chosen] >= SURE).mean()),
        })  # fmt: skip
    return result


def compare(
    recording: Recording, seconds: float, seeds: Sequence[int], device: str
) -> dict[str, list[list[dict[str, float]]]]:
    """Bands of each network and seed."""
    count = len(recording.images)
    halves = Halves.of(recording, range(count - TEST))
    test = Halves.of(recording, range(count - TEST, count))
    joints = halves.keypoints.shape[1]
    results: dict[str, list[list[dict[str, float]]]] = {name: [] for name in NETWORKS}
    steps = 0
    for seed in seeds:
        for name, (decoder, sigma) in NETWORKS.items():
            torch.manual_seed(seed)
            config = factory.NetworkConfig("light", joints, sigma, decoder=decoder)
            network = factory.build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            begin = time.monotonic()

            steps = train(network, halves, seed, _fraction(begin, seconds, steps), device)
            bands = by_band(*answers(network, test, device))
            results[name].append(bands)
            print(seed, name, steps, [(round(b["median"], 2), round(b["claimed"], 2)) for b in bands], file=sys.stderr)
    return results


def _fraction(begin: float, seconds: float, steps: int) -> Callable[[int], float]:
    """What tells of a step which share of the training is done; so many ``steps``, or with none the time decides."""
    if steps:
        return lambda step: step / steps
    return lambda _: (time.monotonic() - begin) / seconds


def show(results: dict[str, list[list[dict[str, float]]]]) -> None:
    """One row for each band: medians and means over the seeds in pixels, and the shares that are claimed."""
    print("| inside the edge, σ | n | " + " | ".join(results) + " |")
    print("|---|---|" + "---|" * len(results))
    for i, (low, high) in enumerate(pairwise(BANDS)):
        cells = []
        for runs in results.values():
            mean = {k: np.mean([r[i][k] for r in runs]) for k in ("mean", "median", "claimed")}
            error = np.std([r[i]["median"] for r in runs], ddof=1) / math.sqrt(len(runs)) if len(runs) > 1 else 0.0
            cells.append(f"{mean['median']:.2f} ± {error:.2f}, {mean['mean']:.2f}, {100 * mean['claimed']:.0f} %")
        count = next(iter(results.values()))[0][i]["count"]
        print(f"| {low:g} … {high:g} | {count} | " + " | ".join(cells) + " |")


def main() -> None:
    """Perfect maps, then networks where a recording is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path, nargs="?", help="folder of a recording of at least 240 × 200 pixels")
    parser.add_argument("--seconds", type=float, default=50.0, help="of the first training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="file for all numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| inside the edge, σ | soft-argmax, px | curve fit, px |\n|---|---|---|")
    for off, soft, curve in round_trip():
        print(f"| {off:+.1f} | {soft:.3f} | {curve:.3f} |")
    if options.recording is not None:
        results = compare(Recording.load(options.recording), options.seconds, options.seeds, options.device)
        show(results)
        if options.out is not None:
            options.out.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
