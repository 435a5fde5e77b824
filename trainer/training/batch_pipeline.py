# SPDX-License-Identifier: GPL-3.0-or-later
"""From stored samples to batches on the device; the next one is made in a thread while the present one is computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError as NotYet
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images.training_augmentation import Augmentation
from ..maps import losses
from ..networks import device, factory
from ..pose import loss as pose_loss
from .engine import Batch
from .replay_store import RawBatch, Source

POLL_SECONDS = 0.1
"""Time between two checks whether to go on waiting."""


class Store(Protocol):
    """Gives batches: a :class:`.ReplayStore`, or a :class:`.MixedStore`."""

    batches: int
    waited: float

    def next_batch(self, stream: Source, interrupted: Callable[[], bool]) -> RawBatch | None:
        """The next batch; None as soon as ``interrupted()`` while waiting."""

    def note(self, numbers: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Remember losses."""


@dataclass(frozen=True)
class Prepared:
    """A batch ready to be computed.

    Attributes:
        batch: this process's share.
        others: the other processes' shares, still raw.
        numbers: of the samples, all shares together.
        state: of the pipeline once this batch is done.
    """

    batch: Batch
    others: tuple[RawBatch, ...]
    numbers: NDArray[np.int64]
    state: dict[str, Any]
    ready: Any = None


class BatchAugmenter:
    """Makes batches of training images on the device from raw ones."""

    def __init__(
        self, augmentation: Augmentation, target: torch.device, occluded_weight: float, *, poses: bool = False,
        weighs: bool = False,
    ) -> None:  # fmt: skip
        """Remember how batches are made.

        Args:
            poses: whether batches are to tell what a pose is measured by.
            weighs: whether each keypoint has a weight of its own, as those of data sets do.
        """
        self.augmentation = augmentation
        self._poses = poses
        self._weighs = weighs
        self._device = target
        self._occluded_weight = occluded_weight

    def __call__(self, raw: RawBatch) -> Batch:
        """Make a batch of training images of a raw one.

        Raises:
            UserError: if it needs more memory than there is.
        """
        with device.enough_memory(len(raw)):
            renderings, keypoints = torch.from_numpy(raw.images), torch.from_numpy(raw.keypoints)
            visibility = torch.from_numpy(raw.visibility)
            if self._device.type == "cuda":
                renderings = renderings.pin_memory().to(self._device, non_blocking=True)
            made = self.augmentation(renderings, keypoints, raw.values)
            images = factory.normalise(made.images).contiguous(memory_format=torch.channels_last)
            weights = losses.weights_of(visibility, self._occluded_weight)
            if self._weighs:
                own = torch.from_numpy(raw.weights).float()
                weights = own if weights is None else own * weights
            weights = None if weights is None else weights.to(self._device)
            places, cameras = self._truth(raw) if self._poses else (None, None)
            return Batch(
                images, made.keypoints, weights, made.to_rendering, places, cameras, self._readings(raw)
            )  # fmt: skip

    def _readings(self, raw: RawBatch) -> Tensor | None:
        return torch.from_numpy(raw.readings).to(self._device) if raw.readings.shape[1] else None

    def _truth(self, raw: RawBatch) -> tuple[Tensor, Tensor]:
        """Keypoints in the camera frame ``(B, J, 3)``, and the cameras ``(B, 9)``."""
        cameras = torch.from_numpy(raw.cameras)
        places = pose_loss.places(torch.from_numpy(raw.keypoints), torch.from_numpy(raw.depths), cameras)
        return places.to(self._device), cameras.to(self._device)


class Pipeline:
    """Batches in turn. Of everything but the store's samples, :attr:`state` tells what the next batch depends on."""

    def __init__(
        self,
        store: Store,
        stream: Source,
        augmenter: BatchAugmenter,
        target: torch.device,
        *,
        ahead: bool,
        shares: int = 1,
    ) -> None:
        """Connect the store, the stream and the device; nothing is made yet.

        Args:
            ahead: whether a thread makes the next batch meanwhile.
            shares: processes that share each batch.
        """
        self.store = store
        self.waited = 0.0
        """Seconds spent waiting for samples, and nothing else to do meanwhile."""
        self._stream = stream
        self._augmenter = augmenter
        self._shares = shares
        self._cancelled = threading.Event()
        self._pool = ThreadPoolExecutor(1, "pipeline") if ahead else None
        self._side = torch.cuda.Stream(target) if ahead and target.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._next: Future[Prepared | None] | None = None
        self._notes: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._state = self._now()

    @property
    def state(self) -> dict[str, Any]:
        """After the last batch that was done, whatever was made ahead; plain JSON values."""
        return self._state

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        assert self._next is None
        self.store.batches = int(value["batches"])
        self._augmenter.augmentation.state = value["augmentation"]
        self._state = self._now()

    def next(self, interrupted: Callable[[], bool]) -> Prepared | None:
        """The next batch; None as soon as ``interrupted()`` while waiting for samples.

        Raises:
            UserError: if it needs more memory than there is.
        """
        if self._pool is None:
            self._pass_notes()
            before = self.store.waited
            prepared = self._prepare(interrupted)
            self.waited += self.store.waited - before
            return prepared
        if self._next is None:
            self._pass_notes()
        coming = self._next or self._pool.submit(self._ahead)
        self._next = None
        begin, before = time.monotonic(), self.store.waited
        while True:
            try:
                prepared = coming.result(POLL_SECONDS)
                break
            except NotYet:
                if interrupted():
                    self._cancelled.set()
                    prepared = coming.result()
                    self._cancelled.clear()
                    if prepared is not None:
                        self._next = coming  # it came at the last moment, and is kept
                    self.waited += min(time.monotonic() - begin, self.store.waited - before)
                    return None
        # The thread may have waited for samples long before anybody waited for it.
        self.waited += min(time.monotonic() - begin, self.store.waited - before)
        if prepared is not None:
            self._pass_notes()
            self._next = self._pool.submit(self._ahead)
            if prepared.ready is not None:
                stream = torch.cuda.current_stream()
                stream.wait_event(prepared.ready)
                for tensor in prepared.batch.tensors:
                    tensor.record_stream(stream)
        return prepared

    def done(self, prepared: Prepared, losses: NDArray[np.float64]) -> None:
        """The batch was learned from, with these losses ``(B,)``."""
        self._state = prepared.state
        self._notes.append((prepared.numbers, losses))

    def close(self) -> None:
        """End the thread."""
        self._cancelled.set()
        if self._pool is not None:
            self._pool.shutdown()

    def _pass_notes(self) -> None:
        """While no batch is made, so that what is chosen never depends on who was faster."""
        for numbers, found in self._notes:
            self.store.note(numbers, found)
        self._notes.clear()

    def _ahead(self) -> Prepared | None:
        return self._prepare(self._cancelled.is_set)

    def _prepare(self, interrupted: Callable[[], bool]) -> Prepared | None:
        raw = self.store.next_batch(self._stream, interrupted)
        if raw is None:
            return None
        mine, *others = raw.split(self._shares)
        with nullcontext() if self._side is None else torch.cuda.stream(self._side):
            batch = self._augmenter(mine)
            ready = None if self._side is None else self._side.record_event()
        return Prepared(batch, tuple(others), raw.numbers, self._now(), ready)

    def _now(self) -> dict[str, Any]:
        return {"batches": self.store.batches, "augmentation": self._augmenter.augmentation.state}
