# SPDX-License-Identifier: GPL-3.0-or-later
"""(c) The fraction of time the trainer waits for data, and the memory of trainer and workers over a run.

Trains on ``--images`` renderings with the demo's settings and reads each process's resident memory every two
seconds (from /proc, so on Linux). Memory counts as flat when the median of the last quarter of the run is at most
5 % above that of the second quarter; the first quarter fills queues and the store for reuse.

    python benchmarks/run_health.py [--images 5000]
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import common
import numpy as np
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.processes.session import Session


def resident_mib(pid: int) -> float | None:
    """Resident memory of one process, MiB; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    match = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(match[1]) / 1024 if match else None


def main() -> None:
    """Run, watch, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5000)
    images = parser.parse_args().images
    settings = common.ur10_settings()
    # A store that is full well before the middle of the run, so that growth afterwards would be a leak.
    training = replace(settings.training, minutes=0.0, epochs=4, epoch_images=images // 2, store_mb=64)
    settings = replace(settings, training=training)
    session = Session(common.scratch() / "run", settings, Programs.with_python(sys.executable))
    session.start()
    readings: dict[str, list[float]] = defaultdict(list)
    begun = time.monotonic()
    while not session.poll().phase.over:
        time.sleep(2.0)
        if "step" not in session.status.progress:
            continue
        for process in session.status.processes.values():
            memory = resident_mib(process.pid)
            if memory is not None and process.state != "ended":
                readings[process.name].append(memory)
    status = session.status
    if status.reason:
        print(status.reason)
    progress = status.progress
    print(
        f"{time.monotonic() - begun:.0f} s, {progress.get('images', 0)} images trained on; "
        f"stall fraction {progress.get('stall_fraction', float('nan')):.4f} (goal 0.02)"
    )
    for name, values in readings.items():
        quarter = max(1, len(values) // 4)
        early, late = np.median(values[quarter : 2 * quarter]), np.median(values[-quarter:])
        print(f"{name}: {early:.0f} MiB in the second quarter, {late:.0f} MiB in the last; ratio {late / early:.3f}")


if __name__ == "__main__":
    main()
