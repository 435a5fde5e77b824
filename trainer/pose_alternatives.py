# SPDX-License-Identifier: GPL-3.0-or-later
"""Other poses that explain an image about as well: from afar, a robot looks much like its mirror image in depth."""

from __future__ import annotations

from itertools import permutations, product

import torch
from torch import Tensor

from .lie import angle_between, as_pose
from .pose_camera import Camera
from .pose_problem import Options, Status
from .pose_solver import solve_pose

UNLIKELY = 4.6
"""Half the sum of squared, whitened errors by which a pose may fit worse: it is a hundred times less likely then."""

DIFFERENT = 0.26
"""Radians between poses that are not the same."""


def alternatives(
    points: Tensor, pixels: Tensor, camera: Camera, covariances: Tensor, used: Tensor, pose: Tensor, options: Options
) -> Tensor:
    """Poses ``(K, 4, 4)``, the likeliest first, each from other starts: the object turned in its place, every which
    way, and mirrored in depth.

    Args:
        points: metres, ``(N, 3)``.
        pixels, covariances, used: ``(N, 2)``, ``(N, 2, 2)`` and ``(N,)``, as in :func:`.solve_pose`.
        pose: ``T_cam_base`` ``(4, 4)`` that was found, which is among the answers unless a far likelier one is.
    """
    turns = _turns().to(points)
    centre = points[used].mean(0)
    place = pose[:3, :3] @ centre + pose[:3, 3]
    turned = torch.cat([turns @ pose[:3, :3], _mirrored(points[used] - centre, pose, place)])
    starts = as_pose(turned, place - turned @ centre)
    many = len(starts)
    found = solve_pose(
        points, pixels.expand(many, -1, -1), camera, covariances=covariances.expand(many, -1, -1, -1),
        used=used.expand(many, -1), initial=starts, options=options,
    )  # fmt: skip
    fine = (found.status == Status.SOLVED) & found.converged
    fine[0] = found.status[0] == Status.SOLVED  # where it was found, it stays
    if not bool(fine.any()):
        return pose[None]
    costs = torch.where(fine, found.cost, torch.inf)
    kept: list[int] = []
    for k in costs.argsort().tolist():
        if not costs[k] < costs.min() + UNLIKELY:
            break
        if all(float(angle_between(found.pose[k, :3, :3], found.pose[j, :3, :3])) > DIFFERENT for j in kept):
            kept.append(k)
    return found.pose[kept]


def _mirrored(offsets: Tensor, pose: Tensor, place: Tensor) -> Tensor:
    """Rotations ``(3, 3, 3)`` of an object mirrored along the line of sight and along one of its principal axes: if it
    is thin in that direction, nearly its mirror image in depth."""
    sight = place / place.norm()
    axes = torch.linalg.svd(offsets @ pose[:3, :3].mT, full_matrices=True).Vh
    one = torch.eye(3).to(pose)
    across = one - 2 * axes[:, :, None] * axes[:, None]
    mirrored: Tensor = (one - 2 * torch.outer(sight, sight)) @ across @ pose[:3, :3]
    return mirrored


def _turns() -> Tensor:
    """The turns of a cube ``(24, 3, 3)``, the identity first."""
    signed = [
        torch.diag(torch.tensor(signs, dtype=torch.float64))[list(order)]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return torch.stack([m for m in signed if torch.linalg.det(m) > 0])
