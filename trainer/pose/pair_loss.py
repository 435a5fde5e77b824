# SPDX-License-Identifier: GPL-3.0-or-later
"""The loss on displacements for the images of a batch: see :mod:`.displacement_loss`.

Images of one camera that rests are paired in a ring, each with the next one. What the network sees of a robot in two
images gives two poses of the robot's last link; how far it has moved is compared with what the joints say, and their
labels, if there are any, are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.robot.visibility import SURE
from .displacement_loss import View, displacement, losses_of_poses
from .loss import LEAST, in_rendering, located, with_bounded_gradient

Floats = NDArray[np.float64]

REACH = 0.2
"""Of the distance from the base to the last link: how far from the link's origin the points lie that are compared."""

CAMERA, TO_CAMERA, OBJECT, POINTS = slice(1, 10), slice(10, 16), slice(16, 32), slice(32, None)


@dataclass(frozen=True)
class Readings:
    """What is read of B images; the first column of its rows is NaN where nothing is.

    Attributes:
        groups: number of the camera ``(B,)``, NaN where nothing is read.
        cameras: fx, fy, cx, cy, k1, k2, p1, p2, k3, ``(B, 9)``.
        to_camera: from the pixels of the images to the camera's ``(B, 2, 3)``.
        objects: ``T_base_object`` of the last link, ``(B, 4, 4)``.
        points: keypoints in the base's frame, metres ``(B, J, 3)``, NaN where not known.
    """

    groups: Tensor
    cameras: Tensor
    to_camera: Tensor
    objects: Tensor
    points: Tensor

    @staticmethod
    def width(keypoints: int) -> int:
        """R: numbers of each image in :meth:`pack`."""
        return 32 + 3 * keypoints

    @staticmethod
    def pack(group: int, camera: Floats, pose: Floats, points: Floats) -> Floats:
        """One image's numbers in a row ``(R,)``, its pixels being the camera's."""
        same = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        return np.concatenate([[float(group)], camera, same, pose.ravel(), points.ravel()])

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
            rows[:, 0], rows[:, CAMERA], rows[:, TO_CAMERA].view(-1, 2, 3), rows[:, OBJECT].view(-1, 4, 4),
            rows[:, POINTS].reshape(len(rows), -1, 3),
        )  # fmt: skip


def pairs(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Which images are compared: for each pair the place of the first, and of the second ``(P,)``.

    Args:
        groups: number of each image's camera ``(B,)``, NaN where it can't be compared. The images of each camera form a
            ring; two of them one pair.
    """
    first: list[int] = []
    second: list[int] = []
    rings: dict[float, list[int]] = {}
    for place, group in enumerate(groups.tolist()):
        if group == group:
            rings.setdefault(group, []).append(place)
    for ring in rings.values():
        if len(ring) == 2:
            first, second = [*first, ring[0]], [*second, ring[1]]
        elif len(ring) > 2:
            first, second = [*first, *ring], [*second, *ring[1:], ring[0]]
    return torch.tensor(first, dtype=torch.int64), torch.tensor(second, dtype=torch.int64)


class PairLoss:
    """The loss for the maps of one network."""

    def __init__(self, stride: int, sigma: float, *, is_distribution: bool, fitted: bool = False) -> None:
        """Take note of the maps' form; see :class:`.PoseLoss`."""
        self._stride = stride
        self._sigma = sigma
        self._is_distribution = is_distribution
        self._fitted = fitted

    def __call__(self, logits: Tensor, confidences: Tensor, rows: Tensor, to_rendering: Tensor | None) -> Tensor:
        """Loss of each image ``(B,)``: half of each pair's goes to either image, all of it where the two are no ring.
        Zero for images without a pair, and for pairs of which a pose isn't determined.

        Args:
            logits: of the last stage, ``(B, J, H, W)``.
            confidences: that the keypoints are in the image ``(B, J)``; those that the network isn't sure of don't
                count.
            rows: of :class:`Readings` ``(B, R)``.
            to_rendering: from the input's pixels to those of the images that the rows tell of, ``(B, 2, 3)``; None
                where they are the same.
        """
        first, second = (p.to(logits.device) for p in pairs(rows[:, 0]))
        if not len(first):
            return logits.new_zeros(len(logits))
        spots = located(
            logits, self._stride, self._sigma, is_distribution=self._is_distribution, fitted=self._fitted
        )  # fmt: skip
        read = Readings.of(rows)
        used = (confidences.detach() >= SURE) & spots.valid & read.points.isfinite().all(-1)
        used = used & (used.sum(1, keepdim=True) >= LEAST)

        # A target's width in the camera's pixels: images are shown smaller than they were taken.
        scale = _scale(read.to_camera) if to_rendering is None else _scale(read.to_camera) * _scale(to_rendering)
        scale = scale[first].mean()

        def losses(positions: Tensor, covariances: Tensor) -> Tensor:
            pixels, spread = in_rendering(positions, covariances, to_rendering, self._stride)
            pixels, spread = in_rendering(pixels.double(), spread.double(), read.to_camera, 0)
            found = self._pairs(read, pixels, spread, used, first, second, scale)
            result = found.new_zeros(len(logits))
            alone = torch.bincount(torch.cat([first, second]), minlength=len(logits)) == 1
            for places in (first, second):
                result = result.index_add(0, places, found * torch.where(alone[places], 1.0, 0.5))
            return result.to(logits.dtype)

        return with_bounded_gradient(losses, spots, self._sigma)

    def _pairs(
        self, read: Readings, pixels: Tensor, covariances: Tensor, used: Tensor, first: Tensor, second: Tensor,
        scale: Tensor,
    ) -> Tensor:  # fmt: skip
        """Losses ``(P,)``; ``scale``: pixels of the camera to one of the input."""

        # Each image is solved once, though it is in two pairs.
        own = torch.unique(torch.cat([first, second]))
        poses, good = View(
            read.points[own].nan_to_num(), pixels[own], read.cameras[own], covariances[own], used[own],
            read.objects[own],
        ).solve()  # fmt: skip
        before, after = (torch.searchsorted(own, places) for places in (first, second))
        reach = REACH * float(read.objects[first, :3, 3].norm(dim=-1).mean().clamp_min(1e-3))
        body = reach * torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).to(pixels)
        moved = displacement(read.objects[first], read.objects[second])
        return losses_of_poses(
            poses[before], poses[after], good[before] & good[after], read.cameras[first], moved, body,
            float(scale) * self._sigma,
        )  # fmt: skip


def _scale(affine: Tensor) -> Tensor:
    area: Tensor = torch.linalg.det(affine[:, :, :2].double())
    return area.abs().sqrt()
