# SPDX-License-Identifier: GPL-3.0-or-later
"""A loss on how far a robot has moved between images [US12387346, paragraphs 47 and 52 to 57].

Joint sensors may be off by a constant, but tell well how far the robot has moved. So no image's pose is compared with
what kinematics say, only the displacement from one to the other. Its keypoints are given in a frame that rests, as the
robot's base does, so that the displacement by kinematics is in these points, and predicted poses of that frame differ
by the error of the predicted displacement alone. An error that is common to all images, as of the camera's place or of
the first joint, makes no difference.

One image's pose is a poor thing to compare with: it comes from a few keypoints, some of which are far off before
anything has been learned, and such a pose may be mirrored. So each image is compared with all others of its camera
together, whose keypoints give one pose robustly. Moved by the kinematics' displacement it says where the image's own
keypoints should be. How far these are from there is, to first order, how far the image's own pose is from the others',
weighed by its information, and what no pose explains; and at the solver's solution, where the cost has no slope by
the pose, the gradient through the solver is that with the pose held.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .camera import Camera
from .loss import LEAST
from .problem import Options
from .solve_pose import solve_pose

TOGETHER = Options(kernel="cauchy", starts=1, triplets=2, iterations=30, tolerance=1e-6)
"""For one pose of several images, of whose keypoints many may be far off."""

BLUR = 2.5
"""Sum of a keypoint's variances in squared widths of a target up to which it counts as sharp: a target has two."""


@dataclass(frozen=True)
class Found:
    """What is found in I images that one resting camera took.

    Attributes:
        points: of the keypoints, metres, ``(I, N, 3)``, by kinematics in a frame that rests; NaN where not known.
        pixels: where they are found, ``(I, N, 2)``.
        cameras: fx, fy, cx, cy, k1, k2, p1, p2, k3, ``(I, 9)``, the same in each row.
        covariances: of the pixels, ``(I, N, 2, 2)``.
        used: which keypoints count, ``(I, N)``.
    """

    points: Tensor
    pixels: Tensor
    cameras: Tensor
    covariances: Tensor
    used: Tensor

    def project(self, poses: Tensor) -> Tensor:
        """Where ``T_cam_base`` ``(I, 4, 4)`` has the keypoints, pixels ``(I, N, 2)``."""
        placed = self.points.nan_to_num() @ poses[:, :3, :3].mT + poses[:, None, :3, 3]
        return Camera.of_rows(self.cameras).project(placed)


@torch.no_grad()
def poses_by_others(found: Found) -> tuple[Tensor, Tensor]:
    """``T_cam_base`` ``(I, 4, 4)`` of each image by all the other ones, and which of them are determined ``(I,)``;
    the identity where they aren't."""
    count = len(found.pixels)
    camera = Camera.of_rows(found.cameras)
    every = solve_pose(
        found.points[None], found.pixels[None], camera.take(torch.arange(1, device=found.pixels.device)),
        covariances=found.covariances[None], used=found.used[None], options=TOGETHER,
    )  # fmt: skip
    unit = torch.eye(4, dtype=every.pose.dtype, device=every.pose.device).expand(count, 4, 4)
    if count < 2 or not bool(every.determined[0]):
        return unit, torch.zeros(count, dtype=torch.bool, device=unit.device)
    others = ~torch.eye(count, dtype=torch.bool, device=unit.device)[:, :, None] & found.used
    result = solve_pose(
        found.points.expand(count, *found.points.shape), found.pixels.expand(count, *found.pixels.shape), camera,
        covariances=found.covariances.expand(count, *found.covariances.shape), used=others,
        initial=every.pose.expand(count, 4, 4), options=TOGETHER,
    )  # fmt: skip
    good = result.determined & result.pose.isfinite().flatten(1).all(1) & (others.flatten(1).sum(1) >= LEAST)
    return torch.where(good[:, None, None], result.pose, unit), good


def displacement_losses(
    expected: Tensor, positions: Tensor, covariances: Tensor, counted: Tensor, sigma: float
) -> Tensor:  # fmt: skip
    """Loss of each image ``(I,)``, a mean over its keypoints: how far they are found from where displacements have
    them, in widths of a target.

    Blur costs, too, so that being right on average is not enough: it is the expected distance under the map.

    Args:
        expected: where the pose by the other images has the keypoints, pixels ``(I, N, 2)``.
        positions, covariances: where they are found, ``(I, N, 2)`` and ``(I, N, 2, 2)``.
        counted: those that have a loss, ``(I, N)``.
        sigma: width of the targets, pixels.
    """
    blur = covariances.diagonal(dim1=-2, dim2=-1).sum(-1) / sigma**2 - BLUR
    square = (positions - torch.where(counted[..., None], expected, 0.0)).square().sum(-1) / sigma**2 + F.relu(blur)
    return torch.where(counted, 0.5 * torch.log1p(square), 0.0).mean(1)
