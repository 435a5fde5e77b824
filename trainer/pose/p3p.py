# SPDX-License-Identifier: GPL-3.0-or-later
"""P3P: the pose from three points, in closed form, for many triplets at once.

The depths along three rays fulfil three quadratic equations. Two combinations of them without a constant part span a
pencil of cones; one of the pencil is a pair of planes, found by a cubic; each plane cuts a cone in two rays. That is
the way of Lambda Twist [Persson2018], with the planes split by projective geometry.

The triplets are the last dimension of every tensor, so that each operation runs over all of them without a gap.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TINY = 1e-30

Vector = tuple[Tensor, Tensor, Tensor]
Symmetric = tuple[Tensor, ...]
"""Symmetric matrices as (11, 22, 33, 12, 13, 23)."""


def three_points(points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All poses of a frame in which three points are known and three rays see them.

    Args:
        points: ``(3, 3, K)``: point, then coordinate; metres.
        rays: ``(3, 3, K)``: unit vectors in the camera frame.

    Returns:
        Rotations ``(3, 3, 4, K)`` and translations ``(3, 4, K)`` of ``T_cam_frame``, and which of the four are
        solutions, ``(4, K)``. The others mean nothing.
    """
    p1, p2, p3 = points
    y1, y2, y3 = rays
    a12, a13, a23 = ((q * q).sum(0) for q in (p1 - p2, p1 - p3, p2 - p3))
    b12, b13, b23 = ((u * v).sum(0) for u, v in ((y1, y2), (y1, y3), (y2, y3)))
    o = torch.zeros_like(a12)
    first = (a23, a23 - a12, -a12, -a23 * b12, o, a12 * b23)
    second = (a23, -a13, a23 - a13, o, -a23 * b13, a13 * b23)
    gamma = _root(first, second)
    planes = _split(tuple(x + gamma * y for x, y in zip(first, second, strict=True)))  # (3, 2, K)

    l1 = _away(planes[0])
    w0, w1 = -planes[1] / l1, -planes[2] / l1
    # λ1 = w0 λ2 + w1 λ3 in a13 · (first) - a12 · (second), which is free of γ: a quadratic for τ = λ3 / λ2.
    across = 2 * a12 * b13
    qa = a13 * w1 * w1 - a12 * (1 + w1 * w1) + across * w1
    qb = 2 * w1 * ((a13 - a12) * w0 - a13 * b12) + across * w0
    qc = (a13 - a12) * w0 * w0 + a13 - 2 * a13 * b12 * w0
    # Noise can make two roots that nearly meet complex: their middle is then the best there is.
    root = (qb * qb - 4 * qa * qc).clamp_min(0).sqrt()
    q = -0.5 * (qb + torch.copysign(root, qb))
    tau = torch.cat([q / _away(qa), qc / _away(q)])  # (4, K)
    w0, w1 = w0.repeat(2, 1), w1.repeat(2, 1)
    l2 = (a23 / (tau * (tau - 2 * b23) + 1).clamp_min(TINY)).sqrt()
    depths = (w0 * l2 + w1 * tau * l2, l2, tau * l2)
    least = torch.minimum(torch.minimum(*depths[:2]), depths[2])
    most = torch.maximum(torch.maximum(*depths[:2]), depths[2])
    valid = (least > 0) & (most < 1e9)

    seen_1, seen_2, seen_3 = (tuple(d * c for c in y) for d, y in zip(depths, (y1, y2, y3), strict=True))
    axes_seen = _frame(_minus(seen_2, seen_1), _minus(seen_3, seen_1))
    axes_own = _frame(tuple(p2 - p1), tuple(p3 - p1))
    rotation = tau.new_empty(3, 3, *tau.shape)
    translation = tau.new_empty(3, *tau.shape)
    for i in range(3):
        for j in range(3):
            entry = torch.mul(axes_seen[0][i], axes_own[0][j], out=rotation[i, j])
            entry.addcmul_(axes_seen[1][i], axes_own[1][j]).addcmul_(axes_seen[2][i], axes_own[2][j])
        turned = rotation[i, 0] * p1[0] + rotation[i, 1] * p1[1] + rotation[i, 2] * p1[2]
        torch.sub(seen_1[i], turned, out=translation[i])
    return rotation, translation, valid


def _away(values: Tensor) -> Tensor:
    """``values``, none of them zero."""
    return values + TINY


def _adjugate(m: Symmetric) -> Symmetric:
    a, b, c, d, e, f = m
    return (b * c - f * f, a * c - e * e, a * b - d * d, e * f - d * c, d * f - e * b, d * e - a * f)


def _product_trace(m: Symmetric, n: Symmetric) -> Tensor:
    diagonal = m[0] * n[0] + m[1] * n[1] + m[2] * n[2]
    return diagonal + 2 * (m[3] * n[3] + m[4] * n[4] + m[5] * n[5])


def _root(first: Symmetric, second: Symmetric) -> Tensor:
    """γ ``(K,)`` for which ``first + γ · second`` is a pair of real planes as clearly as can be."""
    adjugate_1, adjugate_2 = _adjugate(first), _adjugate(second)
    c0 = _product_trace(adjugate_1, first) / 3
    c1 = _product_trace(adjugate_1, second)
    c2 = _product_trace(adjugate_2, first)
    c3 = _away(_product_trace(adjugate_2, second) / 3)
    b, c, d = c2 / c3, c1 / c3, c0 / c3
    shift = b / 3
    half = shift * (shift * shift - 0.5 * c) + 0.5 * d
    third = (c - b * shift) / 3
    discriminant = half * half + third * third * third
    # One real root: Cardano, with the sum that loses no digits.
    root = discriminant.clamp_min(0).sqrt()
    big = -half - torch.copysign(root, half)
    u = torch.copysign(big.abs().pow(1 / 3), big)
    single = u - third / _away(u)
    # Three: cosines.
    m = (-third).clamp_min(0).sqrt()
    angle = torch.acos((-half / _away(m * m * m)).clamp(-1, 1)) / 3
    turns = torch.arange(3, dtype=angle.dtype, device=angle.device)[:, None] * (2 * math.pi / 3)
    gamma = torch.where(discriminant > 0, single, 2 * m * torch.cos(angle - turns)) - shift  # (3, K)
    for _ in range(2):
        value = ((gamma + b) * gamma + c) * gamma + d
        gamma = gamma - value / _away((3 * gamma + 2 * b) * gamma + c)
    cone = tuple(v + gamma * w for v, w in zip(first, second, strict=True))
    x, y, z, xy, xz, yz = cone
    minors = x * y + z * (x + y) - xy * xy - xz * xz - yz * yz
    score = minors / (_product_trace(cone, cone) + TINY)
    one, two, three = gamma
    best = torch.where(score[1] < score[0], two, one)
    return torch.where(score[2] < torch.minimum(score[0], score[1]), three, best)


def _split(cone: Symmetric) -> Tensor:
    """The two planes ``(3, 2, K)`` of a degenerate cone: its matrix plus the cross matrix of their meeting line is
    their outer product."""
    a, b, c, d, e, f = cone
    g, h, i, j, k, m = _adjugate(cone)
    columns = torch.stack([-g, -j, -k, -j, -h, -m, -k, -m, -i]).reshape(3, 3, -1)
    largest, which = torch.stack([-g, -h, -i]).max(0)
    line = columns.gather(0, which.expand(1, 3, -1))[0]
    x, y, z = line * largest.clamp_min(TINY).rsqrt()
    outer = torch.stack([a, d - z, e + y, d + z, b, f - x, e - y, f + x, c])
    best = outer.abs().max(0).indices
    outer = outer.reshape(3, 3, -1)
    row = outer.gather(0, (best // 3).expand(1, 3, -1))[0]
    column = outer.gather(1, (best % 3).expand(3, 1, -1))[:, 0]
    return torch.stack([row, column], 1)


def _minus(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _cross(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    scale = (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]).clamp_min(TINY).rsqrt()
    return tuple(x * scale for x in a)


def _frame(one: tuple[Tensor, ...], two: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """Orthonormal axes of triangles with sides ``one`` and ``two`` from their first corner."""
    x = _unit(one)
    z = _unit(_cross(x, two))
    return x, _cross(z, x), z
