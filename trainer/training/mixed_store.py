# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of renderings and images of data sets together, or of the latter alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...core.scene.scene_model import SceneModel
from ...core.settings.schema import Settings
from ..images import sensor_effects
from ..run_data.data_sets import Partition, batch_counts
from ..run_data.joint_readings import JointReadings, unread
from .data_images import DecodedImages, drawn_view, keypoint_weights, show, to_image_of
from .replay_store import RawBatch, ReplayStore, Source

NO_CAMERA = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Of images whose keypoints' depths are not told, so that no pose is measured by it."""


@dataclass(frozen=True)
class Share:
    """What a data set gives to each batch.

    Attributes:
        count: images.
        weight: of their losses.
        most_deviation: see :class:`.DataSettings`.
        readings: of the images' joints; None where nobody asks for them.
    """

    images: DecodedImages
    count: int
    weight: float
    most_deviation: float
    readings: JointReadings | None = None


def shares(settings: Settings, partitions: Sequence[Partition], readings: Sequence[JointReadings] = ()) -> list[Share]:
    """Of the data sets of a run.

    Args:
        readings: of each data set; none where nobody asks for them.
    """
    reads: Sequence[JointReadings | None] = readings or [None] * len(partitions)
    names, render = [k.name for k in settings.keypoints], settings.render
    memory = (settings.training.store_mb << 20) // max(1, len(partitions))
    return [
        Share(
            DecodedImages(
                p.learned, names, (render.width, render.height), complete=p.complete[0], memory=memory
            ),
            count, p.settings.weight, p.settings.most_deviation, read,
        )
        for p, count, read in zip(
            partitions, batch_counts(settings), reads, strict=True
        )
    ]  # fmt: skip


class MixedStore:
    """Batches that have a fixed number of images of each source.

    Every image of a data set comes once before any comes again, in an order that follows from the seed; the view of it
    and the effects on it are drawn anew each time. All of that follows from the seed and the number of the batch.
    """

    def __init__(
        self, renderings: ReplayStore | None, data: Sequence[Share], model: SceneModel, sigma: float, seed: int
    ) -> None:
        """Put the sources together.

        Args:
            renderings: gives the rest of each batch; None where there is no rest.
            model: what the effects on images are drawn from.
            sigma: of the belief maps' targets, pixels of the training's images.
        """
        self.waited = 0.0
        self.batches = 0
        """Made so far."""
        self._renderings = renderings
        self._data = data
        self._reads = any(share.readings is not None for share in data)
        self._effects = model.only(sensor_effects.NAMES)
        self._sigma = sigma
        self._seed = seed

    def next_batch(self, stream: Source, interrupted: Callable[[], bool]) -> RawBatch | None:
        """The next batch; None as soon as ``interrupted()`` while waiting for renderings."""
        parts = []
        if self._renderings is not None:
            self._renderings.batches = self.batches
            rendered = self._renderings.next_batch(stream, interrupted)
            self.waited = self._renderings.waited
            if rendered is None:
                return None
            keypoints = rendered.keypoints.shape[1]
            parts.append(replace(rendered, readings=unread(len(rendered), keypoints)) if self._reads else rendered)
        parts += [self._part(number, share) for number, share in enumerate(self._data)]
        self.batches += 1
        return RawBatch(*(np.concatenate(arrays) for arrays in zip(*(p.arrays for p in parts), strict=True)))

    def note(self, numbers: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Remember the losses of renderings."""
        if self._renderings is not None:
            self._renderings.note(numbers, losses)

    def chosen(self, number: int, count: int, of: int) -> list[int]:
        """Which images of the data set ``number``, that has ``of``, are in the next batch."""
        first = self.batches * count
        orders = {
            turn: np.random.default_rng((self._seed, number, turn)).permutation(of)
            for turn in range(first // of, (first + count - 1) // of + 1)
        }
        return [int(orders[i // of][i % of]) for i in range(first, first + count)]

    def _part(self, number: int, share: Share) -> RawBatch:
        rng = np.random.default_rng((self._seed, self.batches, number, 1))
        rows = [self._image(share, index, rng) for index in self.chosen(number, share.count, len(share.images))]
        pixels, points, visibility, weights, readings = (np.stack(column) for column in zip(*rows, strict=True))
        values = sensor_effects.table([self._effects.sample(rng).values for _ in rows])
        return RawBatch(
            pixels, points, visibility, values, np.full(len(rows), -1), np.full(weights.shape, math.nan),
            np.tile(NO_CAMERA, (len(rows), 1)), share.weight * weights,
            readings,
        )  # fmt: skip

    def _image(
        self, share: Share, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        image, (width, height) = share.images[index], share.images.size
        joints = share.images.keypoints
        nothing = unread(1, joints)[0] if share.readings is not None else np.empty(0)
        if image is None:
            blank = np.full((height, width, 4), 255, np.uint8)
            return blank, np.full((joints, 2), math.nan), np.zeros(joints, np.int64), np.zeros(joints), nothing
        view = drawn_view(image, (width, height), rng)
        pixels, points = show(image, view, (width, height))
        weights = keypoint_weights(image, view.scale, self._sigma, share.most_deviation)
        if share.readings is None:
            return pixels, points, image.visibility, weights, nothing
        inner, outer = to_image_of(view, (width, height)), image.to_annotated
        offset = outer[:, :2] @ inner[:, 2] + outer[:, 2]
        to_annotated = np.column_stack([outer[:, :2] @ inner[:, :2], offset])
        return pixels, points, image.visibility, weights, share.readings.row(index, to_annotated)
