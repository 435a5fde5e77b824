# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from the workers to batches: a receiver thread with a short queue, and a bounded store for reuse.

The receiver stops reading while its queue is full; ZeroMQ's own short queues then fill, and the workers wait.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.channel import SampleReceiver
from ..core.messages import Sample
from ..core.randomization import SceneModel
from . import effects

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
        """
        Args:
            workers: samples that claim another worker number than 0 … workers - 1 are dropped.
            capacity: samples that may wait here.
        """
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
                    self._waiting += 1
                    self._change.notify_all()
        except BaseException as problem:  # the trainer must hear of it instead of waiting for ever
            with self._change:
                self._failure = problem
                self._change.notify_all()


@dataclass(frozen=True)
class RawBatch:
    """Renderings ``(B, H, W, 4)`` uint8 and their keypoints ``(B, J, 2)``, as they came.

    ``values`` are those of the variables that the trainer applies, ``(B, V)`` as from :func:`.effects.table`: the
    sample's own the first time that a rendering is used, drawn anew each time after.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    values: NDArray[np.float64]


class ReplayStore:
    """Renderings kept for reuse, in memory that is set aside once and never grows.

    A batch takes at most ``ceil(fresh_share · B)`` samples never used before from the stream and fills the rest with
    stored ones used fewer than ``reuse`` times, at random. Only where those run out does it take more fresh ones, and
    only where none of these are there does it wait; :attr:`waited` adds up that time.
    """

    def __init__(
        self, width: int, height: int, keypoints: int, model: SceneModel, *, batch: int, memory: int, reuse: int,
        fresh_share: float, seed: int,
    ) -> None:  # fmt: skip
        """
        Args:
            model: what the values of reused renderings are drawn from: the initial priors.
            memory: bytes for images; at least one batch is kept whatever this says.
        """
        self.capacity = max(batch, memory // (width * height * 4))
        self.batch = batch
        self.reuse = reuse
        self.fresh = max(1, math.ceil(fresh_share * batch))
        self.waited = 0.0
        self._images = np.empty((self.capacity, height, width, 4), np.uint8)
        self._keypoints = np.empty((self.capacity, keypoints, 2))
        self._values = np.empty((self.capacity, len(effects.NAMES)))
        self._effects = SceneModel(tuple(v for v in model.variables if v.name in effects.NAMES))
        self._uses = np.full(self.capacity, reuse, np.int64)  # a slot at its limit is free
        self._age = np.zeros(self.capacity, np.int64)
        self._clock = 0
        self._rng = np.random.default_rng(seed)

    @property
    def usable(self) -> int:
        """Stored samples that may still be used."""
        return int((self._uses < self.reuse).sum())

    @property
    def random_state(self) -> dict[str, Any]:
        """State of the choice among stored samples, as plain JSON values."""
        return dict(self._rng.bit_generator.state)

    @random_state.setter
    def random_state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state

    def next_batch(self, stream: SampleStream, interrupted: Callable[[], bool]) -> RawBatch | None:
        """The next batch; None as soon as ``interrupted()`` while waiting."""
        slots = self._put(stream.take(self.fresh), [])
        stored = np.setdiff1d(np.flatnonzero(self._uses < self.reuse), slots)
        missing = min(self.batch - len(slots), len(stored))
        slots += self._rng.choice(stored, missing, replace=False).tolist()
        self._uses[slots] += 1
        while len(slots) < self.batch:
            begin = time.monotonic()
            ready = stream.wait(0.1)
            self.waited += time.monotonic() - begin
            if interrupted():
                self._uses[slots] -= 1
                return None
            if ready:
                new = self._put(stream.take(self.batch - len(slots)), slots)
                self._uses[new] += 1
                slots += new
        values = self._values[slots]
        for own, slot in zip(values, slots, strict=True):
            if self._uses[slot] > 1:
                own[:] = effects.row(self._effects.draw(self._rng).values)
        return RawBatch(self._images[slots], self._keypoints[slots], values)

    def _put(self, samples: list[Sample], busy: list[int]) -> list[int]:
        """Store samples as never used: in free slots first, then in place of the most used, then the oldest."""
        if not samples:
            return []
        # Memory never touched comes last, so that a store larger than needed takes no more than is needed.
        order = np.lexsort((self._age, self._age == 0, -self._uses))
        free: list[int] = order[~np.isin(order, busy)][: len(samples)].tolist()
        for slot, sample in zip(free, samples, strict=True):
            self._images[slot] = sample.image
            self._keypoints[slot] = sample.keypoints
            self._values[slot] = effects.row(sample.hidden.values)
            self._uses[slot] = 0
            self._clock += 1
            self._age[slot] = self._clock
        return free
