# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled samples per second of two workers together, everything randomised; and whether their memory stays flat.

The workers are processes started as a run starts them; one process receives and checks what they send. Beside other
work the rate says little: then the processor time of a sample tells what two cores would give.

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


def measure(preset: str, width: int, height: int, samples: int, count: int) -> tuple[float, float, list[list[float]]]:
    """Samples per second, processor seconds of each, and each worker's memory in MiB after each quarter."""
    folder = common.scratch()
    settings = common.ur10_settings(preset)
    settings = replace(settings, render=replace(settings.render, width=width, height=height, samples=samples))
    memory: list[list[float]] = []
    start, busy = time.perf_counter(), 0.0
    with common.two_workers(folder, settings, RUN) as (receiver, workers):
        for number in range(-WARM_UP, count):
            if receiver.receive(120.0) is None:
                sys.exit(f"no sample came for two minutes: see {folder / 'logs'}")
            if number == 0:
                start, busy = time.perf_counter(), -sum(_processor_seconds(w.pid) for w in workers)
            if number > 0 and (number + 1) % (count // 4) == 0:
                memory.append([_resident(w.pid) for w in workers])
        seconds = time.perf_counter() - start
        busy += sum(_processor_seconds(w.pid) for w in workers)
    return (count - 1) / seconds, busy / (count - 1), memory


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _processor_seconds(pid: int) -> float:
    """Of a process and its threads so far, user and system."""
    numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


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
            rate, busy, memory = measure(preset, width, height, samples, options.count)
            quarters = "; ".join(" and ".join(f"{m:.0f}" for m in both) for both in memory)
            print(
                f"{width}×{height}, {samples} samples per pixel, {preset}: {rate:.1f} samples/s; "
                f"{1e3 * busy:.1f} ms of processor time each, so {2 / busy:.1f} samples/s of two cores; "
                f"memory of the workers after each quarter: {quarters} MiB",
                file=report,
                flush=True,
            )


if __name__ == "__main__":
    main()
