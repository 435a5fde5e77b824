# SPDX-License-Identifier: GPL-3.0-or-later
"""Renderings kept for reuse, so that training need not wait where rendering is slow; batches are made of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.messages.samples import Sample
from ...core.scene.scene_model import SceneModel
from ..images import sensor_effects
from .draws import Draws


class Source(Protocol):
    """Where fresh samples come from: a :class:`.SampleStream`."""

    def take(self, limit: int) -> list[Sample]:
        """At most ``limit`` waiting samples; does not wait."""

    def wait(self, timeout: float) -> bool:
        """Whether a sample waits, after at most ``timeout`` seconds."""


@dataclass(frozen=True)
class RawBatch:
    """Renderings ``(B, H, W, 4)`` uint8, their keypoints ``(B, J, 2)`` and visibility ``(B, J)``, as they came.

    ``values`` are those of the variables that the trainer applies, ``(B, V)`` as from :func:`.sensor_effects.table`:
    the sample's own the first time that a rendering is used, drawn anew each time after. ``numbers`` say which samples
    they are, ``(B,)``, counted as they came into the store. ``depths`` of the keypoints ``(B, J)`` and ``cameras``
    ``(B, 9)``, fx, fy, cx, cy, k1, k2, p1, p2, k3 in pixels, are what a pose is measured by. Images of data sets have
    the number -1 and depths that are NaN; ``weights`` of the keypoints ``(B, J)`` are 1 for renderings.
    ``readings`` of joints are rows of :class:`.Readings` ``(B, R)``, with R = 0 where nobody asks for them.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    visibility: NDArray[np.int64]
    values: NDArray[np.float64]
    numbers: NDArray[np.int64]
    depths: NDArray[np.float64]
    cameras: NDArray[np.float64]
    weights: NDArray[np.float64]
    readings: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    def split(self, parts: int) -> list[RawBatch]:
        """Shares of almost the same size, in order."""
        return [RawBatch(*share) for share in zip(*(np.array_split(a, parts) for a in self.arrays), strict=True)]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All of them, in the order of the constructor."""
        return (
            self.images, self.keypoints, self.visibility, self.values, self.numbers, self.depths, self.cameras,
            self.weights, self.readings,
        )  # fmt: skip


class ReplayStore:
    """Renderings kept for reuse, in memory that is set aside once and never grows.

    A batch takes what has come in the meantime, at most ``ceil(fresh_share · B)`` samples never used before, and fills
    the rest with stored ones used fewer than ``reuse`` times: ``hard_share`` of these with a probability that rises
    with their loss when they were last used, the others with the same one for all. So how fast samples come decides
    what share of a batch is new, and how often each is used. Only where stored ones run out does it take more fresh
    ones, and only where none of these are there does it wait; :attr:`waited` adds up that time.
    """

    def __init__(
        self, width: int, height: int, keypoints: int, model: SceneModel, *, batch: int, memory: int, reuse: int,
        fresh_share: float, seed: int, hard_share: float = 0.0, draws: Draws | None = None,
    ) -> None:  # fmt: skip
        """Take the memory for renderings.

        Args:
            model: what the values of reused renderings are drawn from: the initial priors.
            memory: bytes for images; at least one batch is kept whatever this says.
            draws: is told of every sample, and says which priors the values of reused ones follow; None leaves them at
                the initial ones.
        """
        self.capacity = max(batch, memory // (width * height * 4))
        self.batch = batch
        self.reuse = reuse
        self.fresh = max(1, math.ceil(fresh_share * batch))
        self.hard_share = hard_share
        self.waited = 0.0
        self.batches = 0
        """Made so far; what is chosen for the next one follows from this and the seed."""
        self._seed = seed
        self._images = np.empty((self.capacity, height, width, 4), np.uint8)
        self._keypoints = np.empty((self.capacity, keypoints, 2))
        self._visibility = np.empty((self.capacity, keypoints), np.int64)
        self._values = np.empty((self.capacity, len(sensor_effects.NAMES)))
        self._depths = np.empty((self.capacity, keypoints))
        self._cameras = np.empty((self.capacity, 9))
        self._draws = Draws(model) if draws is None else draws
        self._initial = self._adapted = _effects(model)
        self._uses = np.full(self.capacity, reuse, np.int64)  # a slot at its limit is free
        self._number = np.zeros(self.capacity, np.int64)  # counted from 1; 0 where a slot was never used
        self._loss = np.zeros(self.capacity)
        self._count = 0

    @property
    def usable(self) -> int:
        """Stored samples that may still be used."""
        return int((self._uses < self.reuse).sum())

    def next_batch(self, stream: Source, interrupted: Callable[[], bool]) -> RawBatch | None:
        """The next batch; None as soon as ``interrupted()`` while waiting."""
        rng = np.random.default_rng((self._seed, self.batches))
        slots = self._put(stream.take(self.fresh), [])
        slots += self._stored(rng, self.batch - len(slots), slots)
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
        self.batches += 1
        values = self._values[slots]
        for own, slot in zip(values, slots, strict=True):
            if self._uses[slot] > 1:
                adaptive = rng.random() < self._draws.adaptive
                own[:] = sensor_effects.row((self._adapted if adaptive else self._initial).sample(rng).values)
        return RawBatch(
            self._images[slots], self._keypoints[slots], self._visibility[slots], values, self._number[slots],
            self._depths[slots], self._cameras[slots], np.ones_like(self._depths[slots]),
            np.empty((len(slots), 0)),
        )  # fmt: skip

    def note(self, numbers: Sequence[int] | NDArray[np.int64], losses: Sequence[float] | NDArray[np.float64]) -> None:
        """Remember the losses of samples that were trained on; those no longer stored are passed over.

        The priors that reused samples follow are the latest ones as of this call: it comes between two batches.
        """
        self._adapted = _effects(self._draws.model)
        if not self.hard_share:
            return
        order = np.argsort(self._number, kind="stable")
        places = np.searchsorted(self._number, numbers, sorter=order)
        slots = order[np.minimum(places, self.capacity - 1)]
        known = self._number[slots] == np.asarray(numbers)
        self._loss[slots[known]] = np.asarray(losses)[known]

    def _stored(self, rng: np.random.Generator, count: int, busy: list[int]) -> list[int]:
        """At most ``count`` stored samples."""
        there = np.setdiff1d(np.flatnonzero(self._uses < self.reuse), busy)
        count = min(count, len(there))
        hard: list[int] = []
        weight = self._loss[there].clip(0.0)
        wanted = min(round(self.hard_share * count), int((weight > 0).sum()))
        if wanted:
            hard = rng.choice(there, wanted, replace=False, p=weight / weight.sum()).tolist()
            there = np.setdiff1d(there, hard)
        plain: list[int] = rng.choice(there, count - len(hard), replace=False).tolist()
        return hard + plain

    def _put(self, samples: list[Sample], busy: list[int]) -> list[int]:
        """Store samples as never used: in free slots first, then in place of the most used, then the oldest."""
        if not samples:
            return []
        # Memory never touched comes last, so that a store larger than needed takes no more than is needed.
        order = np.lexsort((self._number, self._number == 0, -self._uses))
        free: list[int] = order[~np.isin(order, busy)][: len(samples)].tolist()
        for slot, sample in zip(free, samples, strict=True):
            self._images[slot] = sample.image
            self._keypoints[slot] = sample.keypoints
            self._visibility[slot] = sample.visibility
            self._values[slot] = sensor_effects.row(sample.latents.values)
            self._depths[slot] = sample.depths
            k = sample.camera_matrix
            self._cameras[slot] = (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *sample.distortion)
            self._uses[slot] = 0
            self._loss[slot] = 0.0
            self._count += 1
            self._number[slot] = self._count
            self._draws.remember(self._count, sample)
        return free


def _effects(model: SceneModel) -> SceneModel:
    """The variables that the trainer applies."""
    return model.only(sensor_effects.NAMES)
