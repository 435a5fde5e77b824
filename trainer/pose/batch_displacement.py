# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss on displacements for the images of a batch: see :mod:`.displacement_loss`.

Images of one camera that rests are compared with one another. Labels, if there are any, are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.robot.visibility import SURE
from ..maps.codec import inside
from ..maps.soft_argmax import Spots, soft_argmax
from .displacement_loss import Found, displacement_losses, poses_by_others
from .loss import in_rendering, located, with_bounded_gradient

Floats = NDArray[np.float64]

CAMERA, TO_CAMERA, POINTS = slice(1, 10), slice(10, 16), slice(16, None)


@dataclass(frozen=True)
class Readings:
    """What is read of B images; the first column of its rows is NaN where nothing is.

    Attributes:
        groups: number of the camera ``(B,)``, NaN where nothing is read.
        cameras: fx, fy, cx, cy, k1, k2, p1, p2, k3, ``(B, 9)``, the same throughout a group.
        to_camera: from the pixels of the images to the camera's ``(B, 2, 3)``.
        points: keypoints in the base's frame by kinematics, metres ``(B, J, 3)``, NaN where not known.
    """

    groups: Tensor
    cameras: Tensor
    to_camera: Tensor
    points: Tensor

    @staticmethod
    def width(keypoints: int) -> int:
        """R: numbers of each image in :meth:`pack`."""
        return POINTS.start + 3 * keypoints

    @staticmethod
    def pack(group: int, camera: Floats, points: Floats) -> Floats:
        """One image's numbers in a row ``(R,)``, its pixels being the camera's."""
        same = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        return np.concatenate([[float(group)], camera, same, points.ravel()])

    @staticmethod
    def moved(row: Floats, to_image: Floats) -> Floats:
        """The row of what is shown of an image, ``to_image`` ``(2, 3)`` leading to the image's own pixels."""
        result = row.copy()
        outer = row[TO_CAMERA].reshape(2, 3)
        result[TO_CAMERA] = np.column_stack([outer[:, :2] @ to_image[:, :2], outer @ (*to_image[:, 2], 1.0)]).ravel()
        return result

    @classmethod
    def of(cls, rows: Tensor) -> Readings:
        """Inverse of :meth:`pack`, for ``(B, R)``."""
        return cls(
            rows[:, 0], rows[:, CAMERA], rows[:, TO_CAMERA].view(-1, 2, 3), rows[:, POINTS].reshape(len(rows), -1, 3)
        )  # fmt: skip


def groups(numbers: Tensor) -> list[Tensor]:
    """Which images are compared with one another: places in the batch, for each camera that has two at least.

    Args:
        numbers: of each image's camera ``(B,)``, NaN where it can't be compared.
    """
    found: dict[float, list[int]] = {}
    for place, number in enumerate(numbers.tolist()):
        if number == number:
            found.setdefault(number, []).append(place)
    return [torch.tensor(places, device=numbers.device) for places in found.values() if len(places) > 1]


class BatchDisplacement:
    """The loss for the maps of one network."""

    def __init__(self, stride: int, sigma: float, *, is_distribution: bool, fitted: bool = False) -> None:
        """Take note of the maps' form; see :class:`.PoseLoss`."""
        self._stride = stride
        self._sigma = sigma
        self._is_distribution = is_distribution
        self._fitted = fitted

    def __call__(self, logits: Tensor, confidences: Tensor, rows: Tensor, to_rendering: Tensor | None) -> Tensor:
        """Loss of each image ``(B,)``; zero for images that can't be compared.

        Args:
            logits: of the last stage, ``(B, J, H, W)``.
            confidences: that the keypoints are in the image ``(B, J)``; those that the network isn't sure of tell
                other images nothing.
            rows: of :class:`Readings` ``(B, R)``.
            to_rendering: from the input's pixels to those of the images that the rows tell of, ``(B, 2, 3)``; None
                where they are the same.
        """
        compared = groups(rows[:, 0])
        if not compared:
            return logits.new_zeros(len(logits))
        spots, read = self._located(logits), Readings.of(rows)
        to_camera = _after(read.to_camera.double(), to_rendering)
        expected = self._expected(spots, confidences, read, to_camera, compared)
        height, width = (n * self._stride for n in logits.shape[-2:])
        counted = spots.valid & inside(expected, width, height)
        return with_bounded_gradient(
            lambda positions, covariances: displacement_losses(expected, positions, covariances, counted, self._sigma),
            spots, self._sigma,
        )  # fmt: skip

    @torch.no_grad()
    def _expected(
        self, spots: Spots, confidences: Tensor, read: Readings, to_camera: Tensor, compared: Sequence[Tensor]
    ) -> Tensor:
        """Where the other images' poses, moved by displacements, have the keypoints, pixels of the input ``(B, J, 2)``;
        NaN where they don't tell."""
        pixels, spread = in_rendering(spots.positions.double(), spots.covariances.double(), to_camera, self._stride)
        used = (confidences >= SURE) & spots.valid & read.points.isfinite().all(-1)
        expected = torch.full_like(pixels, torch.nan)
        for own in compared:
            found = Found(read.points[own], pixels[own], read.cameras[own], spread[own], used[own])
            poses, good = poses_by_others(found)
            places = found.project(poses) - to_camera[own, None, :, 2]
            places = places @ torch.linalg.inv(to_camera[own, :, :2]).mT
            expected[own] = torch.where(good[:, None, None], places, torch.nan)
        return expected.to(spots.positions.dtype)

    def _located(self, logits: Tensor) -> Spots:
        """Coordinates by the whole map where it is a distribution: what lies beside the peak is to move as well."""
        if self._is_distribution and not self._fitted:
            return soft_argmax(logits, self._stride)
        return located(logits, self._stride, self._sigma, is_distribution=self._is_distribution, fitted=self._fitted)


def _after(outer: Tensor, inner: Tensor | None) -> Tensor:
    """The affine map ``(B, 2, 3)`` of first ``inner``, none where None, and then ``outer``."""
    if inner is None:
        return outer
    linear, first = outer[:, :, :2], inner.to(outer.dtype)
    return torch.cat([linear @ first[:, :, :2], linear @ first[:, :, 2:] + outer[:, :, 2:]], -1)
