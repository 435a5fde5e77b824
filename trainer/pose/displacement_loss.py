# SPDX-License-Identifier: GPL-3.0-or-later
"""A loss on how far an object has moved between two images [US12387346, paragraphs 52 to 57 and claim 10].

Joint sensors may be off by a constant, but tell well how far the robot has moved. So no image's pose is compared with
what kinematics say, only the displacement from one to the other: ``T_first_second = T_cam_first⁻¹ · T_cam_second`` in
the object's own frame, in which it depends neither on the camera's place nor on an offset of the first joint. The
gradient goes back through the solver to the keypoints' coordinates and covariances, and to what found them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import Camera
from .loss import bent
from .problem import Options
from .rigid_motion import invert
from .solve_pose import solve_pose

SOLVER = Options(kernel="huber", starts=1, triplets=2)
"""That predictions are solved with; nothing is known that it could start from."""


@dataclass(frozen=True)
class View:
    """What is found in the first, or in the second, image of each of B pairs.

    Attributes:
        points: of the keypoints, metres, ``(B, N, 3)``, in the frame whose pose is solved for: the object's own, or the
            robot's base at the joints that were read.
        pixels: where they are found, ``(B, N, 2)``.
        cameras: fx, fy, cx, cy, k1, k2, p1, p2, k3, ``(B, 9)``.
        covariances: of the pixels, ``(B, N, 2, 2)``; None is one pixel each way.
        used: which keypoints count, ``(B, N)``; None is all.
        T_points_object: where the object is in the frame of the points, ``(B, 4, 4)``: of a robot the pose of the link
            that is looked at, by forward kinematics; None where the two frames are the same.
    """

    points: Tensor
    pixels: Tensor
    cameras: Tensor
    covariances: Tensor | None = None
    used: Tensor | None = None
    T_points_object: Tensor | None = None

    def solve(self) -> tuple[Tensor, Tensor]:
        """``T_cam_object`` ``(B, 4, 4)``, differentiable, and which of them are determined ``(B,)``."""
        found = solve_pose(
            self.points, self.pixels, Camera.of_rows(self.cameras), covariances=self.covariances, used=self.used,
            options=SOLVER,
        )  # fmt: skip
        good = found.determined & found.pose.detach().isfinite().flatten(1).all(1)
        pose = found.pose
        if self.T_points_object is not None:
            pose = pose @ self.T_points_object.to(pose.dtype)
        return pose, good


def displacement(first: Tensor, second: Tensor) -> Tensor:
    """``T_first_second`` ``(…, 4, 4)`` of an object's poses ``(…, 4, 4)`` in one frame."""
    return invert(first) @ second


def displacement_errors(first: Tensor, second: Tensor, moved: Tensor, body: Tensor) -> Tensor:
    """How far points of the object are from where the displacement would have them, metres ``(B, M)``.

    Args:
        first, second: ``T_cam_object``, ``(B, 4, 4)``.
        moved: displacement of the object by kinematics, as :func:`displacement` has it, ``(B, 4, 4)``.
        body: points of the object in its own frame, metres, ``(M, 3)``.
    """
    off = displacement(first, second) - moved
    apart = body @ off[:, :3, :3].mT + off[:, None, :3, 3]
    return apart.square().sum(-1).add(1e-18).sqrt()


def displacement_loss(first: View, second: View, moved: Tensor, body: Tensor, sigma: float) -> Tensor:
    """Loss of each pair ``(B,)``; zero, with no gradient, for pairs of which a pose isn't determined.

    The unit is what a target's width spans at the object's distance, so that neither its size nor its distance matter.

    Args:
        moved, body: see :func:`displacement_errors`.
        sigma: width of the targets, pixels.

    Raises:
        ValueError: if the shapes don't fit.
    """
    (before, good), (after, also) = first.solve(), second.solve()
    return losses_of_poses(before, after, good & also, first.cameras, moved, body, sigma)


def losses_of_poses(
    before: Tensor, after: Tensor, good: Tensor, cameras: Tensor, moved: Tensor, body: Tensor, sigma: float
) -> Tensor:
    """:func:`displacement_loss` of poses ``T_cam_object`` ``(B, 4, 4)``, of which those count that are ``good``
    ``(B,)``, before ``cameras`` ``(B, 9)``."""
    result = before.new_zeros(len(before))
    rows = good.nonzero().squeeze(1)
    if not len(rows):
        return result
    before, after = before[rows], after[rows]
    off = displacement_errors(before, after, moved[rows].to(before.dtype), body.to(before.dtype)).mean(1)
    with torch.no_grad():
        depth = (before[:, 2, 3] + after[:, 2, 3]) / 2
        width = sigma * depth.abs().clamp_min(1e-6) / cameras[rows, :2].to(before.dtype).mean(1)
    return result.index_put((rows,), bent(off / width))
