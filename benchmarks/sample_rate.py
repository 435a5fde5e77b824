# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled samples per second of two workers together, everything randomised; and whether their memory stays flat.

The workers are processes started as a run starts them; one process receives and checks what they send.

    python benchmarks/sample_rate.py [--count N] [--preset fast balanced photographs] [--size 160x120x2 320x240x4]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import common

RUN = "benchmark"
WARM_UP = 40
"""Samples that are not counted: the first ones wait for Blender to start."""


def measure(preset: str, width: int, height: int, samples: int, count: int) -> tuple[float, list[list[float]]]:
    """Samples per second, and each worker's memory in MiB after each quarter."""
    folder = common.scratch()
    settings = common.ur10_settings(preset)
    settings = replace(settings, render=replace(settings.render, width=width, height=height, samples=samples))
    memory: list[list[float]] = []
    start = time.perf_counter()
    with common.two_workers(folder, settings, RUN) as (receiver, workers):
        for number in range(-WARM_UP, count):
            if receiver.receive(120.0) is None:
                sys.exit(f"no sample came for two minutes: see {folder / 'logs'}")
            if number == 0:
                start = time.perf_counter()
            if number > 0 and (number + 1) % (count // 4) == 0:
                memory.append([_resident(w.pid) for w in workers])
        seconds = time.perf_counter() - start
    return (count - 1) / seconds, memory


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure each combination and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--preset", nargs="+", default=["fast", "balanced", "photographs"])
    parser.add_argument("--size", nargs="+", default=["160x120x2", "320x240x4"])
    options = parser.parse_args()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    for size in options.size:
        width, height, samples = (int(n) for n in size.split("x"))
        for preset in options.preset:
            rate, memory = measure(preset, width, height, samples, options.count)
            quarters = "; ".join(" and ".join(f"{m:.0f}" for m in both) for both in memory)
            print(
                f"{width}×{height}, {samples} samples per pixel, {preset}: {rate:.1f} samples/s; "
                f"memory of the workers after each quarter: {quarters} MiB",
                file=report,
                flush=True,
            )


if __name__ == "__main__":
    main()
