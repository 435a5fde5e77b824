# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the worker of one subject for some time, and starts it anew where a case has ended it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import worker

WORKER = Path(worker.__file__).resolve()

PATIENCE = 120.0
"""Seconds for a worker to start and, once its time is over, to end: what does nothing in them waits for something."""

MOST_DEATHS = 10


@dataclass
class Report:
    """What came of one subject.

    Attributes:
        accepted, refused: cases that ended well.
        faults: what was wrong, by the number of the case.
    """

    accepted: int = 0
    refused: int = 0
    faults: dict[int, str] = field(default_factory=dict)


def run(
    subject: str, seed: int, seconds: float, folder: Path, processor: int = worker.PROCESSOR_SECONDS,
    patience: float = PATIENCE,
) -> Report:  # fmt: skip
    """Fuzz one subject.

    Args:
        folder: emptied; keeps the faults' inputs.
        processor: seconds of processor time for one case.
        patience: seconds to start and, once the time is over, to end.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report, first, left = Report(), 0, seconds
    for _ in range(MOST_DEATHS):
        begun = time.monotonic()
        words = [subject, str(seed), str(folder), "--first", str(first), "--seconds", str(left)]
        died = _work(folder, [*words, "--processor", str(processor)], left + patience)
        left -= time.monotonic() - begun
        state = _state(folder)
        report.accepted += state.get("accepted", 0)
        report.refused += state.get("refused", 0)
        if not died:
            break
        if state.get("number") is None:
            report.faults[-1] = f"the worker did not begin: {died}"
            break
        worker.keep(folder, state["number"], died)
        first = state["number"] + 1
        if left < 1:
            break
    for path in sorted((folder / "faults").glob("*/fault.txt")):
        report.faults[int(path.parent.name)] = path.read_text(encoding="utf-8")
    for name in ("case", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return report


def _processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _state(folder: Path) -> dict[str, int]:
    path = folder / "state.json"
    found: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _work(folder: Path, words: list[str], patience: float) -> str:
    """One worker; returns how it died, or nothing."""
    (folder / "state.json").unlink(missing_ok=True)
    with open(folder / "worker.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        how, spent = "", 0.0
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
            before, spent = spent, _processor_seconds(process.pid)
            if spent > before + 1:
                continue  # it works, on a busy machine; how long a case may do so it limits itself
            how = "it waits for ever"
            process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
    if process.returncode == 0:
        return ""
    if not how:
        signals = {-s: s.name for s in signal.Signals}
        how = f"the process ended with {signals.get(process.returncode, process.returncode)}"
        if process.returncode == -signal.SIGXCPU:
            how = "it takes too much processor time"
    told = [(folder / name).read_text(encoding="utf-8", errors="replace") for name in ("worker.log", "crash.txt")]
    return "\n".join([how, *(t[-6000:] for t in told)])
