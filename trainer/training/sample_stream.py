# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from the workers: a receiver thread with a short queue.

The receiver stops reading while its queue is full; ZeroMQ's own short queues then fill, and the workers wait.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from ...core.messages.run_sockets import SampleReceiver
from ...core.messages.samples import Sample
from ...core.step_times import SIMULATION, StepTimes

LOG_EVERY = 5.0
"""Seconds between two log lines about dropped messages."""

RATE_WINDOW = 5.0


class DropLog:
    """Counts dropped messages and writes at most one line about them every few seconds."""

    def __init__(self) -> None:
        self.count = 0
        self._logged = 0
        self._next = 0.0

    def __call__(self, reason: str) -> None:
        """Take note of one dropped message."""
        self.count += 1
        now = time.monotonic()
        if now >= self._next:
            print(f"dropped {self.count - self._logged} message(s), the last because {reason}", file=sys.stderr)
            self._logged, self._next = self.count, now + LOG_EVERY


class SampleStream:
    """The receiver thread; it alone uses the socket."""

    def __init__(self, receiver: SampleReceiver, drops: DropLog, workers: int, capacity: int) -> None:
        """Remember what to receive; :meth:`start` begins.

        Args:
            workers: samples that claim another worker number than 0 … workers - 1 are dropped.
            capacity: samples that may wait here.
        """
        self._times = StepTimes()
        self._receiver = receiver
        self._drops = drops
        self._capacity = capacity
        self._queues: list[deque[Sample]] = [deque() for _ in range(workers)]
        self._counts = [0] * workers
        self._history: deque[tuple[float, tuple[int, ...]]] = deque()
        self._turn = 0
        self._waiting = 0
        self._change = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; the socket may be closed afterwards."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def received(self) -> int:
        """Valid samples so far."""
        return sum(self._counts)

    @property
    def dropped(self) -> int:
        """Messages that were no samples of this run."""
        return self._drops.count

    def times(self) -> StepTimes:
        """How long the workers have taken for the parts of a sample so far."""
        with self._change:
            return StepTimes(dict(self._times.parts))

    def rates(self) -> dict[str, float]:
        """Samples per second of each worker over the last seconds, by its number."""
        now = time.monotonic()
        counts = tuple(self._counts)
        while len(self._history) > 1 and self._history[1][0] < now - RATE_WINDOW:
            self._history.popleft()
        then, old = self._history[0] if self._history else (now, counts)
        self._history.append((now, counts))
        seconds = now - then
        return {
            str(i): (c - o) / seconds if seconds > 0 else 0.0 for i, (c, o) in enumerate(zip(counts, old, strict=True))
        }

    def take(self, limit: int) -> list[Sample]:
        """At most ``limit`` waiting samples, from the workers in turn; does not wait."""
        taken: list[Sample] = []
        with self._change:
            if self._failure is not None:
                raise self._failure
            while len(taken) < limit and self._waiting:
                queue = self._queues[self._turn]
                self._turn = (self._turn + 1) % len(self._queues)
                if queue:
                    taken.append(queue.popleft())
                    self._waiting -= 1
            if taken:
                self._change.notify_all()
        return taken

    def wait(self, timeout: float) -> bool:
        """Whether a sample waits, after at most ``timeout`` seconds."""
        with self._change:
            self._change.wait_for(lambda: self._waiting > 0 or self._failure is not None, timeout)
            return self._waiting > 0

    def _run(self) -> None:
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._closed or self._waiting < self._capacity)
                    if self._closed:
                        return
                sample = self._receiver.receive(0.1)
                if sample is None:
                    continue
                if sample.worker >= len(self._queues):
                    self._drops(f"there is no worker {sample.worker}")
                    continue
                with self._change:
                    self._queues[sample.worker].append(sample)
                    self._counts[sample.worker] += 1
                    self._times.add(sample.seconds, SIMULATION)
                    self._waiting += 1
                    self._change.notify_all()
        except BaseException as problem:  # the trainer must hear of it instead of waiting for ever
            with self._change:
                self._failure = problem
                self._change.notify_all()
