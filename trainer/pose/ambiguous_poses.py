# SPDX-License-Identifier: GPL-3.0-or-later
"""Other poses that explain an image about as well: from afar, a robot looks much like its mirror image in depth."""

from __future__ import annotations

from itertools import permutations, product

import torch
from torch import Tensor

from .camera import Camera
from .problem import Options, Status
from .rigid_motion import angle_between, as_pose
from .solve_pose import solve_pose

UNLIKELY = 4.6
"""Half the sum of squared, whitened errors by which a pose may fit worse: it is a hundred times less likely then."""

DIFFERENT = 0.26
"""Radians between poses that are not the same."""

TOGETHER = 256
"""Images whose further starts are followed at once; all of these are in memory."""


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
    starts = _starts(points[None], used[None], pose[None])[0]
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


def likeliest(
    points: Tensor, pixels: Tensor, camera: Camera, covariances: Tensor, used: Tensor, options: Options
) -> tuple[Tensor, Tensor]:
    """The poses of many images of objects whose points are known: what :func:`.solve_pose` finds, or what fits better
    from the starts of :func:`alternatives`.

    Args:
        points: metres, ``(B, N, 3)``.
        pixels, covariances, used: ``(B, N, 2)``, ``(B, N, 2, 2)`` and ``(B, N)``, as in :func:`.solve_pose`.
        camera: one, or one for each image.

    Returns:
        ``T_cam_base`` ``(B, 4, 4)``, NaN where there is none, and :class:`.Status` ``(B,)``.
    """
    lenses = camera.expand(len(pixels), options.dtype, pixels.device)
    first = solve_pose(points, pixels, lenses, covariances=covariances, used=used, options=options)
    poses = first.pose.clone()
    rows = (first.status == Status.SOLVED).nonzero().flatten()
    for part in torch.split(rows, TOGETHER) if len(rows) else ():
        starts = _starts(points[part].to(poses), used[part], poses[part])
        many = starts.shape[1]
        each = (t[part].repeat_interleave(many, 0) for t in (points, pixels, covariances, used))
        place, seen, spread, gate = each
        found = solve_pose(
            place, seen, lenses.take(part).repeat(many), covariances=spread, used=gate,
            initial=starts.flatten(0, 1), options=options,
        )  # fmt: skip
        fine = (found.status == Status.SOLVED) & found.converged
        cost, best = torch.where(fine, found.cost, torch.inf).view(-1, many).min(1)
        ends = found.pose.view(-1, many, 4, 4)[torch.arange(len(part)), best]
        poses[part] = torch.where((cost < first.cost[part])[:, None, None], ends, poses[part])
    return poses, first.status


def _starts(points: Tensor, used: Tensor, pose: Tensor) -> Tensor:
    """``(B, K, 4, 4)``, the poses ``(B, 4, 4)`` themselves first, then the object ``(B, N, 3)`` turned in its place and
    mirrored in depth."""
    turns = _turns().to(points)
    gate = used.to(points.dtype)[..., None]
    centre = (torch.where(used[..., None], points, 0.0)).sum(1) / gate.sum(1)
    place = (pose[:, :3, :3] @ centre[..., None]).squeeze(-1) + pose[:, :3, 3]
    offsets = torch.where(used[..., None], points - centre[:, None], 0.0)
    turned = torch.cat([turns @ pose[:, None, :3, :3], _mirrored(offsets, pose, place)], 1)
    return as_pose(turned, place[:, None] - (turned @ centre[:, None, :, None]).squeeze(-1))


def _mirrored(offsets: Tensor, pose: Tensor, place: Tensor) -> Tensor:
    """Rotations ``(B, 3, 3, 3)`` of objects mirrored along the line of sight and along one of their principal axes: if
    one is thin in that direction, nearly its mirror image in depth."""
    sight = place / place.norm(dim=-1, keepdim=True)
    axes = torch.linalg.svd(offsets @ pose[:, :3, :3].mT, full_matrices=True).Vh
    one = torch.eye(3).to(pose)
    across = one - 2 * axes[..., :, None] * axes[..., None, :]
    along = one - 2 * sight[:, :, None] * sight[:, None]
    mirrored: Tensor = along[:, None] @ across @ pose[:, None, :3, :3]
    return mirrored


def _turns() -> Tensor:
    """The turns of a cube ``(24, 3, 3)``, the identity first."""
    signed = [
        torch.diag(torch.tensor(signs, dtype=torch.float64))[list(order)]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return torch.stack([m for m in signed if torch.linalg.det(m) > 0])
