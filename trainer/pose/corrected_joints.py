# SPDX-License-Identifier: GPL-3.0-or-later
"""Joints whose sensors are a little off, and the camera's pose, from the image and the readings together
[US12387346, paragraphs 15 and 21].

A reading is where the search begins, and evidence as weak as its standard deviation is large.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from .ambiguous_poses import DIFFERENT, UNLIKELY, alternatives, likeliest
from .camera import Camera
from .kinematics import Chain
from .problem import Options, Solution, Status
from .rigid_motion import angle_between
from .solve_joints import JointStart, solve_joints


def correct_joints(
    chain: Chain, pixels: Tensor, camera: Camera, readings: JointStart, *, covariances: Tensor, used: Tensor,
    options: Options,
) -> Solution:  # fmt: skip
    """Poses and joints of many images: what :func:`.solve_joints` finds, or what fits better from a pose that explains
    the corrected robot as well, such as its mirror image in depth.

    Args:
        pixels, covariances, used: ``(B, N, 2)``, ``(B, N, 2, 2)`` and ``(B, N)``, as in :func:`.solve_joints`.
        readings: with angles ``(B, D)`` and their deviations.
    """
    first = solve_joints(chain, pixels, camera, covariances=covariances, used=used, start=readings, options=options)
    rows = first.determined.nonzero().flatten()
    if not len(rows):
        return first
    assert first.angles is not None
    places = chain(first.angles[rows, 0])
    lenses = camera.expand(len(pixels), options.dtype, pixels.device).take(rows)
    poses, status = likeliest(places, pixels[rows], lenses, covariances[rows], used[rows], options)
    other = torch.where((status == Status.SOLVED)[:, None, None], poses, first.pose[rows])
    again = solve_joints(
        chain, pixels[rows], lenses, covariances=covariances[rows], used=used[rows],
        start=replace(_rows(readings, rows, len(pixels)), pose=other), options=options,
    )  # fmt: skip
    better = again.determined & (again.cost < first.cost[rows])
    return _replaced(first, rows[better], again, better.nonzero().flatten())


def correct_one(
    chain: Chain, pixels: Tensor, camera: Camera, readings: JointStart, *, covariances: Tensor, used: Tensor,
    options: Options,
) -> tuple[Solution, Tensor]:  # fmt: skip
    """The same for one image (B = 1), and other poses ``(K, 4, 4)`` that are at most a hundred times less likely."""
    first = solve_joints(chain, pixels, camera, covariances=covariances, used=used, start=readings, options=options)
    if not bool(first.determined.all()):
        return first, first.pose[:0]
    assert first.angles is not None
    poses = alternatives(
        chain(first.angles[0, 0]), pixels[0], camera, covariances[0], used[0], first.pose[0], options
    )  # fmt: skip
    many = len(poses)
    index = torch.zeros(many, dtype=torch.long, device=pixels.device)
    found = solve_joints(
        chain, pixels[index], camera, covariances=covariances[index], used=used[index],
        start=replace(_rows(readings, index, 1), pose=poses), options=options,
    )  # fmt: skip
    costs = torch.where(found.determined & found.converged, found.cost, math.inf)
    order = costs.argsort()
    best = _replaced(first, index[:1], found, order[:1]) if bool(costs.min() < first.cost[0]) else first
    kept = [best.pose[0]]
    for k in order.tolist():
        likely = bool(costs[k] < best.cost[0] + UNLIKELY)
        if likely and all(float(angle_between(found.pose[k, :3, :3], p[:3, :3])) > DIFFERENT for p in kept):
            kept.append(found.pose[k])
    return best, torch.stack(kept)[1:]


def _rows(readings: JointStart, index: Tensor, count: int) -> JointStart:
    """The readings of the entries at ``index``, of ``count``."""
    assert readings.angles is not None and readings.deviations is not None
    deviations = torch.as_tensor(readings.deviations).to(readings.angles).expand(count, *readings.angles.shape[1:])
    return replace(readings, angles=readings.angles[index], deviations=deviations[index][:, None])


def _replaced(solution: Solution, rows: Tensor, other: Solution, others: Tensor) -> Solution:
    """The solution with its entries ``rows`` taken from the entries ``others`` of another one."""
    changed: dict[str, Any] = {}
    for field in fields(Solution):
        own, new = getattr(solution, field.name), getattr(other, field.name)
        changed[field.name] = None if own is None else own.index_put((rows,), new[others])
    return Solution(**changed)
