# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose from three points, in closed form, for many triplets at once.

The depths along three rays fulfil three quadratic equations. Two combinations of them without a constant part span a
pencil of cones; one of the pencil is a pair of planes, found by a cubic; each plane cuts a cone in two rays. That is
the way of Persson and Nordberg's "Lambda Twist" (ECCV 2018), with the planes split by projective geometry.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TINY = 1e-30


def three_points(points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All poses of a frame in which three points are known and three rays see them.

    Args:
        points: ``(K, 3, 3)``: point, then coordinate; metres.
        rays: ``(K, 3, 3)``: unit vectors in the camera frame.

    Returns:
        Rotations ``(K, 4, 3, 3)`` and translations ``(K, 4, 3)`` of ``T_cam_frame``, and which of the four are
        solutions, ``(K, 4)``. The others are finite, but mean nothing.
    """
    p1, p2, p3 = points.unbind(1)
    y1, y2, y3 = rays.unbind(1)
    a12, a13, a23 = ((q * q).sum(-1) for q in (p1 - p2, p1 - p3, p2 - p3))
    b12, b13, b23 = ((u * v).sum(-1) for u, v in ((y1, y2), (y1, y3), (y2, y3)))

    # Symmetric matrices as (11, 22, 33, 12, 13, 23).
    o = torch.zeros_like(a12)
    first = (a23, a23 - a12, -a12, -a23 * b12, o, a12 * b23)
    second = (a23, -a13, a23 - a13, o, -a23 * b13, a13 * b23)
    gamma = _root(first, second)
    cone = tuple(x + gamma * y for x, y in zip(first, second, strict=True))
    planes = _split(cone)  # two of (K, 3)

    depths, good = [], []
    for plane in planes:
        l1, l2, l3 = plane.unbind(-1)
        l1 = torch.where(l1.abs() < TINY, torch.full_like(l1, TINY), l1)
        w0, w1 = -l2 / l1, -l3 / l1
        # λ1 = w0 λ2 + w1 λ3 in a13 · (first) - a12 · (second), which is free of γ: a quadratic for τ = λ3 / λ2.
        qa = a13 * w1 * w1 - a12 * (1 + w1 * w1) + 2 * a12 * b13 * w1
        qb = 2 * (a13 - a12) * w0 * w1 - 2 * a13 * b12 * w1 + 2 * a12 * b13 * w0
        qc = (a13 - a12) * w0 * w0 + a13 - 2 * a13 * b12 * w0
        # Noise can make two roots that nearly meet complex: their middle is then the best there is.
        root = (qb * qb - 4 * qa * qc).clamp_min(0).sqrt()
        q = -0.5 * (qb + torch.where(qb >= 0, root, -root))
        for tau in (q / _away(qa), qc / _away(q)):
            l2_ = (a23 / (tau * (tau - 2 * b23) + 1).clamp_min(TINY)).sqrt()
            depth = torch.stack([w0 * l2_ + w1 * tau * l2_, l2_, tau * l2_], -1)
            fine = ((depth > 0) & (depth < 1e9)).all(-1)
            good.append(fine)
            depths.append(torch.where(fine[:, None], depth, torch.ones_like(depth)))
    depth = torch.stack(depths, 1)
    valid = torch.stack(good, 1)

    seen = depth[..., None] * rays[:, None]
    frame_seen = _frame(seen)
    frame_own = _frame(points)
    rotation = frame_seen @ frame_own.mT[:, None]
    translation = seen.mean(2) - (rotation @ points.mean(1)[:, None, :, None]).squeeze(-1)
    return rotation, translation, valid


def _away(values: Tensor) -> Tensor:
    """``values`` moved off zero."""
    return torch.where(values.abs() < TINY, torch.full_like(values, TINY), values)


def _adjugate(m: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    a, b, c, d, e, f = m
    return (b * c - f * f, a * c - e * e, a * b - d * d, e * f - d * c, d * f - e * b, d * e - a * f)


def _product_trace(m: tuple[Tensor, ...], n: tuple[Tensor, ...]) -> Tensor:
    diagonal = m[0] * n[0] + m[1] * n[1] + m[2] * n[2]
    return diagonal + 2 * (m[3] * n[3] + m[4] * n[4] + m[5] * n[5])


def _root(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
    """γ for which ``first + γ · second`` is a pair of real planes as clearly as can be."""
    adjugate_1, adjugate_2 = _adjugate(first), _adjugate(second)
    c0 = _product_trace(adjugate_1, first) / 3
    c1 = _product_trace(adjugate_1, second)
    c2 = _product_trace(adjugate_2, first)
    c3 = _away(_product_trace(adjugate_2, second) / 3)
    b, c, d = c2 / c3, c1 / c3, c0 / c3
    shift = b / 3
    p = c - b * shift
    q = 2 * shift**3 - shift * c + d
    half, third = q / 2, p / 3
    discriminant = half * half + third**3
    # One real root: Cardano, with the sum that loses no digits.
    root = discriminant.clamp_min(0).sqrt()
    big = -half - torch.where(half >= 0, root, -root)
    u = big.sign() * big.abs().pow(1 / 3)
    single = u - third / _away(u)
    # Three: cosines.
    m = (-third).clamp_min(0).sqrt()
    angle = torch.acos((-half / _away(m**3)).clamp(-1, 1)) / 3
    options = [torch.where(discriminant > 0, single, 2 * m * torch.cos(angle - k * 2 * math.pi / 3)) for k in range(3)]
    best = best_score = None
    for x in options:
        gamma = x - shift
        for _ in range(2):
            value = ((gamma + b) * gamma + c) * gamma + d
            gamma = gamma - value / _away((3 * gamma + 2 * b) * gamma + c)
        cone = tuple(v + gamma * w for v, w in zip(first, second, strict=True))
        minors = sum(_adjugate(cone)[:3], torch.zeros_like(gamma))
        score = minors / (_product_trace(cone, cone) + TINY)
        if best is None or best_score is None:
            best, best_score = gamma, score
        else:
            better = score < best_score
            best, best_score = torch.where(better, gamma, best), torch.where(better, score, best_score)
    assert best is not None
    return best


def _split(cone: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The two planes ``(K, 3)`` of a degenerate cone: its matrix plus the cross matrix of their meeting line is their
    outer product."""
    a, b, c, d, e, f = cone
    g, h, i, j, k, m = _adjugate(cone)
    columns = torch.stack([torch.stack([-g, -j, -k], -1), torch.stack([-j, -h, -m], -1), torch.stack([-k, -m, -i], -1)])
    diagonal = torch.stack([-g, -h, -i])
    which = diagonal.argmax(0)
    rows = torch.arange(len(which), device=which.device)
    line = columns[which, rows] / diagonal[which, rows].clamp_min(TINY).sqrt()[:, None]
    x, y, z = line.unbind(-1)
    outer = torch.stack([a, d - z, e + y, d + z, b, f - x, e - y, f + x, c], -1)
    best = outer.abs().argmax(-1)
    outer = outer.reshape(-1, 3, 3)
    return outer[rows, best // 3], outer[rows, :, best % 3]


def _frame(triangle: Tensor) -> Tensor:
    """Orthonormal axes ``(…, 3, 3)``, as columns, of triangles ``(…, 3, 3)``."""
    one = triangle[..., 1, :] - triangle[..., 0, :]
    two = triangle[..., 2, :] - triangle[..., 0, :]
    x = one / one.norm(dim=-1, keepdim=True).clamp_min(TINY)
    z = torch.linalg.cross(x, two)
    z = z / z.norm(dim=-1, keepdim=True).clamp_min(TINY)
    return torch.stack([x, torch.linalg.cross(z, x), z], -1)
