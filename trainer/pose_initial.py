# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting poses: many triplets of points solved in closed form, judged by all the other points."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor

from .pose_minimal import three_points
from .pose_problem import INLIER, Observations, Options

POOL = 220
JUDGES = 64
"""So many points at most judge a pose."""
BEHIND = 1e12
HOPELESS = 30.0
"""A start whose squared errors are so many times those of the best isn't followed."""
DIFFERENT = 1 + 2 * math.cos(math.radians(15))
"""Trace of the rotation between two starts that are as good as the same."""


@lru_cache(maxsize=64)
def triplets(points: int) -> Tensor:
    """Triplets of ``points`` ranks, ``(T, 3)``: all of them, or all of the first eight and a random choice."""
    every = list(combinations(range(points), 3)) if points <= 12 else list(combinations(range(8), 3))
    chosen = torch.tensor(every, dtype=torch.long).reshape(-1, 3)
    if points > 12:
        generator = torch.Generator().manual_seed(0)
        more = torch.rand(POOL - len(every), points, generator=generator).topk(3).indices
        chosen = torch.cat([chosen, more])
    return chosen


def starts(points: Tensor, observations: Observations, options: Options) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Poses to start from, the most promising first.

    Args:
        points: in the base frame, metres, ``(B, M, 3)``, finite.

    Returns:
        Rotations ``(B, S, 3, 3)``, translations ``(B, S, 3)`` of ``T_cam_base``, whether there is any, ``(B,)``, and
        which are worth following, ``(B, S)``: the first always.
    """
    b, m, _ = points.shape
    used = observations.used
    seen = observations.camera.undistorted(observations.pixels)
    scale = observations.camera.matrix[:, None, :2]
    w = observations.whitening
    whole = bool(used.all())
    if not whole or m > 12:
        # Used points first; in a random order, so that the first ones are not neighbours.
        mixed = torch.randperm(m, generator=torch.Generator().manual_seed(1)).to(points.device)
        order = mixed[(~used[:, mixed]).to(torch.uint8).argsort(dim=1, stable=True)][:, :JUDGES]
        points, seen, w = (x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])) for x in (points, seen, w))
        used = used.gather(1, order)
    m = points.shape[1]
    pool = triplets(m).to(points.device)
    robust = options.robust
    if whole and not robust:
        pool = pool[:: max(1, len(pool) // (4 * options.triplets))]

    corner, sight, weight = points[:, pool], seen[:, pool], (w[..., 0] * w[..., 2])[:, pool]
    area = torch.linalg.cross(corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0]).norm(dim=-1)
    one, two = sight[:, :, 1] - sight[:, :, 0], sight[:, :, 2] - sight[:, :, 0]
    quality = area * (one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]).abs() * weight.prod(-1).pow(1 / 3)
    quality = torch.where(used[:, pool].all(-1), quality, -1.0)
    if robust:
        luck = torch.rand(len(pool), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        quality = quality * luck.to(quality)
    number = min(len(pool), 8 * options.triplets if robust else options.triplets)
    picked = quality.topk(number, dim=1, sorted=False).indices
    chosen = pool[picked]  # (B, K, 3)
    flat = chosen.reshape(b, -1, 1)
    corner = points.gather(1, flat.expand(-1, -1, 3)).reshape(b * number, 3, 3)
    ray = seen.gather(1, flat.expand(-1, -1, 2)).reshape(b * number, 3, 2)
    ray = torch.cat([ray, torch.ones_like(ray[..., :1])], -1)
    rotation, translation, valid = three_points(corner, ray / ray.norm(dim=-1, keepdim=True))
    rotation = rotation.reshape(b, -1, 3, 3)
    translation = translation.reshape(b, -1, 3)
    fine = rotation.isfinite().flatten(-2).all(-1) & translation.isfinite().all(-1)
    valid = valid.reshape(b, -1) & (quality.gather(1, picked) > 0).repeat_interleave(4, 1) & fine

    placed = (rotation.reshape(b, -1, 3) @ points.mT).reshape(b, -1, 3, m) + translation[..., None]
    x, y, z = placed.unbind(2)  # (B, 4 K, M)
    front = z > 1e-6
    inverse = 1 / torch.where(front, z, 1.0)
    du = (x * inverse - seen[:, None, :, 0]) * scale[:, None, :, 0]
    dv = (y * inverse - seen[:, None, :, 1]) * scale[:, None, :, 1]
    w00, w10, w11 = w[:, None].unbind(-1)
    second = w11 * dv if bool((w10 == 0).all()) else w11 * dv + w10 * du
    square = (w00 * du).square() + second.square()
    if robust:
        square = torch.where(front, square.clamp_max(INLIER), 2 * INLIER) * (w00 > 0)
    else:
        square = torch.where(front | (w00 == 0), square, BEHIND)
    score = torch.where(valid, square.sum(-1), math.inf).nan_to_num(nan=math.inf)

    entries = torch.arange(b, device=points.device)
    found: list[Tensor] = []
    scores: list[Tensor] = []
    for k in range(options.starts):
        least, best = score.min(1)
        scores.append(least)
        if k:
            # Where nothing different is left, the first start serves twice.
            best = torch.where(score[entries, best].isfinite(), best, found[0])
        found.append(best)
        if k + 1 < options.starts:
            alike = (rotation.flatten(2) * rotation[entries, best].flatten(1)[:, None]).sum(-1) > DIFFERENT
            score = torch.where(alike, math.inf, score)
    index = torch.stack(found, 1)
    together = torch.stack(scores, 1)
    worth = together.isfinite()
    if not robust:
        worth = worth & (together < HOPELESS * (together[:, :1] + INLIER))
    worth[:, 0] = True
    any_found = valid.any(1)
    rotation = rotation[entries[:, None], index]
    translation = translation[entries[:, None], index]
    unit = torch.eye(3, dtype=points.dtype, device=points.device)
    rotation = torch.where(any_found[:, None, None, None], rotation, unit)
    away = torch.tensor([0.0, 0.0, 1.0], dtype=points.dtype, device=points.device)
    return rotation, torch.where(any_found[:, None, None], translation, away), any_found, worth
