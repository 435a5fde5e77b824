# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting poses: many triplets of points solved in closed form, judged by all the other points."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor

from .p3p import three_points
from .problem import INLIER, Observations, Options

POOL = 220
JUDGES = 64
"""So many points at most judge a pose."""
BEHIND = 1e12
NEAR = 1e-6
"""Depth in metres from which on a point counts as in front of the camera."""
HOPELESS = 30.0
"""A start whose squared errors are so many times those of the best isn't followed."""
DIFFERENT = 1 + 2 * math.cos(math.radians(15))
"""Trace of the rotation between two starts that are as good as the same."""
CHUNK = 32000
"""Numbers in a tensor that the processor's nearer memory holds many of, and that one thread works through."""


@lru_cache(maxsize=64)
def triplets(points: int) -> Tensor:
    """Triplets of ``points`` ranks, ``(T, 3)``: all of them, or all of the first eight and a random choice."""
    every = list(combinations(range(points), 3)) if points <= 12 else list(combinations(range(8), 3))
    chosen = torch.tensor(every, dtype=torch.long).reshape(-1, 3)
    if points > 12:
        generator = torch.Generator().manual_seed(0)
        more = torch.rand(POOL - len(every), points, generator=generator).topk(3).indices
        chosen = torch.cat([chosen, more.sort(1).values])
    return chosen


def starts(points: Tensor, seen: Observations, options: Options) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Poses to start from, the most promising first.

    Args:
        points: in the base frame, metres, ``(3, M, B)``, finite.
        seen: what the image shows of them.

    Returns:
        Rotations ``(3, 3, S, B)``, translations ``(3, S, B)`` of ``T_cam_base``, whether there is any, ``(B,)``, and
        which are worth following, ``(S, B)``: the first always.
    """
    sight = seen.camera.undistorted(seen.pixels).permute(2, 1, 0).contiguous()
    white = seen.whitening.permute(2, 1, 0).contiguous()
    used = seen.used.mT.contiguous()
    whole = bool(used.all())
    m = len(used)
    if not whole or m > 12:
        # Used points first; in a random order, so that the first ones are not neighbours.
        mixed = torch.randperm(m, generator=torch.Generator().manual_seed(1)).to(points.device)
        order = mixed[(~used[mixed]).to(torch.uint8).argsort(dim=0, stable=True)][:JUDGES]
        points, sight, white = (x.gather(1, order.expand(len(x), -1, -1)) for x in (points, sight, white))
        used = used.gather(0, order)
    corners, rays, usable = _triangles(points, sight, white, options, sparing=whole and not options.robust)
    number, b = corners.shape[2:]
    rotation, translation, valid = three_points(corners.flatten(2), rays.flatten(2))
    rotation, translation = rotation.reshape(3, 3, -1, b), translation.reshape(3, -1, b)  # four times K candidates
    valid = (valid.reshape(4, number, b) & usable).flatten(0, 1)

    matrix = seen.camera.matrix.mT
    white = torch.cat([white[:2] * matrix[0], white[2:] * matrix[1]])
    step = max(1, CHUNK // (b * points.shape[1]))
    score = torch.cat([
        _judged(rotation[:, :, k : k + step], translation[:, k : k + step], points, sight, white, used, options)
        for k in range(0, 4 * number, step)
    ])  # fmt: skip
    score = torch.where(valid, score, math.inf).nan_to_num_(nan=math.inf)

    flat = rotation.reshape(9, -1, b)
    chosen: list[Tensor] = []
    scores: list[Tensor] = []
    turns: list[Tensor] = []
    for k in range(options.starts):
        least, best = score.min(0)
        scores.append(least)
        if k:
            # Where nothing different is left, the first start serves twice.
            best = torch.where(least.isfinite(), best, chosen[0])
        chosen.append(best)
        turns.append(flat.gather(1, best.expand(9, 1, -1)))
        if k + 1 < options.starts:
            alike = flat[0] * turns[k][0]
            for one, other in zip(flat[1:], turns[k][1:], strict=True):
                alike.addcmul_(one, other)
            score = torch.where(alike > DIFFERENT, math.inf, score)
    rotation = torch.cat(turns, 1).reshape(3, 3, -1, b)
    translation = translation.gather(1, torch.stack(chosen).expand(3, -1, -1))
    together = torch.stack(scores)
    worth = together.isfinite()
    any_found = worth[0].clone()
    if not options.robust:
        worth = worth & (together < HOPELESS * (together[0] + INLIER))
    worth[0] = True
    if not bool(any_found.all()):
        unit = torch.eye(3, dtype=points.dtype, device=points.device)[..., None, None]
        rotation = torch.where(any_found, rotation, unit)
        translation = torch.where(any_found, translation, unit[2])
    return rotation, translation, any_found, worth


def _triangles(
    points: Tensor, sight: Tensor, white: Tensor, options: Options, *, sparing: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Three points each that promise a good start: large, sharp triangles, in the image too.

    Returns:
        Corners ``(3, 3, K, B)``: point, then coordinate; unit rays likewise; and whether all their points are used,
        ``(K, B)``.
    """
    m, b = points.shape[1:]
    pool = triplets(m).to(points.device)
    if sparing:
        pool = pool[:: max(1, len(pool) // (3 * options.triplets))]
    # Squared areas from the sides, and from the triangles of two points with the image's centre.
    one, two = torch.triu_indices(m, m, 1, device=points.device)
    side = sum((x[one] - x[two]).square_() for x in points)
    assert isinstance(side, Tensor)
    cross = sight[0][one] * sight[1][two] - sight[1][one] * sight[0][two]
    rank = torch.zeros(m, m, dtype=torch.long, device=points.device)
    rank[one, two] = torch.arange(len(one), device=points.device)
    i, j, k = pool.unbind(1)
    ij, ik, jk = rank[i, j], rank[i, k], rank[j, k]
    a, c = side[ij], side[ik]
    area = 4 * a * c - (a + c - side[jk]).square()
    flat = cross[ij] + cross[jk] - cross[ik]
    weight = (white[0] * white[2]).pow(2 / 3)
    quality = area.clamp_min_(0) * flat * flat * (weight[i] * weight[j] * weight[k])
    if options.robust:
        luck = torch.rand(len(pool), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        quality = quality * luck.square().to(quality)[:, None]
    number = min(len(pool), 8 * options.triplets if options.robust else options.triplets)
    best, picked = quality.topk(number, dim=0, sorted=False)
    chosen = pool[picked].permute(2, 0, 1).reshape(3, 1, number, b)  # ranks
    corners = torch.stack([points.gather(1, c.expand(3, -1, -1)) for c in chosen])
    rays = points.new_ones(3, 3, number, b)
    for ray, c in zip(rays, chosen, strict=True):
        torch.gather(sight, 1, c.expand(2, -1, -1), out=ray[:2])
    rays *= (rays[:, :1].square() + rays[:, 1:2].square() + 1).rsqrt()
    return corners, rays, best > 0


def _judged(
    rotation: Tensor, translation: Tensor, points: Tensor, sight: Tensor, white: Tensor, used: Tensor, options: Options
) -> Tensor:
    """Squared errors ``(C, B)`` of candidates ``(3, 3, C, B)``, ``(3, C, B)``, over all points."""

    def placed(i: int) -> Tensor:
        there = torch.addcmul(translation[i][:, None], rotation[i, 0][:, None], points[0])
        return there.addcmul_(rotation[i, 1][:, None], points[1]).addcmul_(rotation[i, 2][:, None], points[2])

    x, y, z = placed(0), placed(1), placed(2)  # (C, M, B)
    inverse = z.reciprocal()
    u = x.mul_(inverse).sub_(sight[0])
    v = y.mul_(inverse).sub_(sight[1])
    r0, r1 = u * white[0], v * white[2]
    r1.addcmul_(u, white[1])
    square = r0.square_().addcmul_(r1, r1)
    if options.robust:
        return (torch.where(z > NEAR, square.clamp_max(INLIER), 2 * INLIER) * used).sum(1)
    if not bool(used.all()):
        z, square = torch.where(used, z, 1.0), torch.where(used, square, 0.0)
    nearest = z.amin(1)
    return torch.where(nearest > NEAR, square.sum(1), BEHIND + nearest)
