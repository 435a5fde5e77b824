# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses per second of the batched solver over loops of OpenCV's iterative solver and its SQPnP [Terzakis2020], in one
run.

``python benchmarks/pose.py --batch 1024 --points 7 --threads 2``
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from robot_keypoints.trainer.pose import rigid_motion
from robot_keypoints.trainer.pose.camera import Camera
from robot_keypoints.trainer.pose.problem import Options
from robot_keypoints.trainer.pose.solve_pose import solve_pose

K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def problems(count: int, points: int) -> tuple[torch.Tensor, torch.Tensor, Camera]:
    """Random points before random cameras, seen with a pixel of noise."""
    generator = torch.Generator().manual_seed(0)
    own = 0.4 * torch.randn(count, points, 3, generator=generator, dtype=torch.float64)
    turn = rigid_motion.exp_rotation(2 * torch.randn(count, 3, generator=generator, dtype=torch.float64))
    shift = torch.tensor([0.0, 0.0, 3.0]) + 0.3 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    camera = Camera(torch.tensor([[600.0, 600.0, 320.0, 240.0]], dtype=torch.float64))
    seen = camera.expand(count, torch.float64, own.device).project(own @ turn.mT + shift[:, None])
    return own, seen + torch.randn(seen.shape, generator=generator, dtype=torch.float64), camera


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--points", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--own-time", action="store_true", help="count only this thread's time on a processor, for a busy machine"
    )
    arguments = parser.parse_args()
    if arguments.own_time and arguments.threads != 1:
        parser.error("--own-time needs --threads 1: other threads' time would not be counted.")
    clock = time.thread_time if arguments.own_time else time.perf_counter
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    points, pixels, camera = problems(arguments.batch, arguments.points)
    own, seen = points.numpy(), pixels.numpy()

    def loop(flags: int) -> None:
        for p, u in zip(own, seen, strict=True):
            cv2.solvePnP(p, u, K, None, flags=flags)

    sides: dict[str, Callable[[], object]] = {
        "ours, quick": lambda: solve_pose(points, pixels, camera, options=Options.quick()),
        "ours, default": lambda: solve_pose(points, pixels, camera),
        "OpenCV iterative": lambda: loop(cv2.SOLVEPNP_ITERATIVE),
        "OpenCV SQPNP": lambda: loop(cv2.SOLVEPNP_SQPNP),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(arguments.rounds + 2):
        for name, side in sides.items():
            began = clock()
            side()
            if round_ >= 2:
                times[name].append(clock() - began)
    ours = times["ours, quick"]
    for name, values in times.items():
        ratio = statistics.median(v / o for v, o in zip(values, ours, strict=True))
        print(
            f"{name:17s} median {statistics.median(values) * 1e6 / arguments.batch:7.1f} µs a problem, "
            f"least {min(values) * 1e6 / arguments.batch:7.1f}; {ratio:.2f} of ours, quick"
        )


if __name__ == "__main__":
    main()
