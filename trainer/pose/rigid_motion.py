# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations and rigid motions in torch, batched and differentiable.

A small motion of a camera frame is six numbers ``(ω, v)``: a turn by the rotation vector ω in radians about the
camera's centre, then a shift by v in metres: a point p in the camera frame goes to ``exp(ω) p + v``.

Twists and logarithms on SE(3) have the same order (ω, v) and agree with small motions to first order. All perturb a
pose ``T_a_b`` from the left, in the frame a: ``T_a_b`` goes to ``exp(ξ) T_a_b``.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-4
"""Squared angles below which series stand in for the quotients; their error is below float64's rounding."""


def cross_matrix(vector: Tensor) -> Tensor:
    """``[v]×`` ``(…, 3, 3)`` of vectors ``(…, 3)``: ``[v]× p = v × p``."""
    x, y, z = vector.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*vector.shape, 3)


def exp_rotation(vector: Tensor) -> Tensor:
    """Rotation matrices ``(…, 3, 3)`` of rotation vectors ``(…, 3)``, radians; smooth at zero, twice over."""
    square = (vector * vector).sum(-1)
    small = square < SMALL
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    series_s = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    series_c = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    s = torch.where(small, series_s, angle.sin() / angle)[..., None, None]
    c = torch.where(small, series_c, (1 - angle.cos()) / safe)[..., None, None]
    k = cross_matrix(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + s * k + c * (k @ k)


def rotation_jacobian(vector: Tensor) -> Tensor:
    """``J`` ``(…, 3, 3)`` of rotation vectors ω ``(…, 3)``: ``exp(ω + δ)`` is ``exp(J δ) exp(ω)`` for small δ."""
    square = (vector * vector).sum(-1)
    small = square < SMALL
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    series_c = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    series_s = 1 / 6 - square / 120 * (1 - square / 42 * (1 - square / 72))
    c = torch.where(small, series_c, (1 - angle.cos()) / safe)[..., None, None]
    s = torch.where(small, series_s, (angle - angle.sin()) / (safe * angle))[..., None, None]
    k = cross_matrix(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + c * k + s * (k @ k)


def move(rotation: Tensor, translation: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """The pose ``(…, 3, 3)``, ``(…, 3)`` after a small ``motion`` ``(…, 6)`` of the camera frame."""
    turn = exp_rotation(motion[..., :3])
    moved = (turn @ translation[..., None]).squeeze(-1) + motion[..., 3:]
    return turn @ rotation, moved


def as_pose(rotation: Tensor, translation: Tensor) -> Tensor:
    """``(…, 4, 4)`` of a rotation ``(…, 3, 3)`` and a translation ``(…, 3)``."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 3] = 1.0
    return torch.cat([top, bottom], -2)


def invert(pose: Tensor) -> Tensor:
    """``T_b_a`` of rigid ``T_a_b`` ``(…, 4, 4)``."""
    rotation = pose[..., :3, :3].mT
    return as_pose(rotation, -(rotation @ pose[..., :3, 3:]).squeeze(-1))


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians ``(…)`` between rotations ``(…, 3, 3)``; exact for small ones too."""
    relative = a.mT @ b
    skew = torch.stack([
        relative[..., 2, 1] - relative[..., 1, 2],
        relative[..., 0, 2] - relative[..., 2, 0],
        relative[..., 1, 0] - relative[..., 0, 1],
    ], -1)  # fmt: skip
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(skew.norm(dim=-1), trace - 1)


def orthonormal(rotation: Tensor) -> Tensor:
    """The rotation ``(…, 3, 3)`` without what rounding has added, by one step of Newton's iteration."""
    return 1.5 * rotation - 0.5 * rotation @ (rotation.mT @ rotation)


def log_rotation(rotation: Tensor) -> Tensor:
    """Rotation vectors ``(…, 3)``, radians, of rotations ``(…, 3, 3)`` by less than π."""
    skew = torch.stack([
        rotation[..., 2, 1] - rotation[..., 1, 2],
        rotation[..., 0, 2] - rotation[..., 2, 0],
        rotation[..., 1, 0] - rotation[..., 0, 1],
    ], -1)  # fmt: skip
    sine = skew.norm(dim=-1)
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = torch.atan2(sine, trace - 1)
    small = sine < 1e-7
    return skew * torch.where(small, 0.5, angle / torch.where(small, 1.0, sine))[..., None]


def log_motion(pose: Tensor) -> Tensor:
    """Twists ``(…, 6)`` (ω, v) whose exponentials on SE(3) are ``pose`` ``(…, 4, 4)``, turned by less than π."""
    turn = log_rotation(pose[..., :3, :3])
    square = (turn * turn).sum(-1)
    small = square < SMALL
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    # 1/θ² - cot(θ/2)/(2θ)
    series = 1 / 12 + square / 720 * (1 + square / 42)
    factor = torch.where(small, series, 1 / safe - 1 / (2 * angle * (angle / 2).tan()))[..., None, None]
    k = cross_matrix(turn)
    inverse = torch.eye(3, dtype=pose.dtype, device=pose.device) - k / 2 + factor * (k @ k)
    return torch.cat([turn, (inverse @ pose[..., :3, 3:]).squeeze(-1)], -1)


def adjoint(pose: Tensor) -> Tensor:
    """``(…, 6, 6)`` that take twists (ω, v) in frame b to frame a, of poses ``T_a_b`` ``(…, 4, 4)``."""
    rotation = pose[..., :3, :3]
    top = torch.cat([rotation, torch.zeros_like(rotation)], -1)
    return torch.cat([top, torch.cat([cross_matrix(pose[..., :3, 3]) @ rotation, rotation], -1)], -2)


def left_jacobian(twist: Tensor) -> Tensor:
    """``(6, 6)``: ``exp(ξ + δ) ≈ exp(J δ) exp(ξ)`` of a twist ξ ``(6,)`` (ω, v); the right one is that of -ξ."""
    k = _bracket(twist)
    result, term = torch.eye(6, dtype=twist.dtype, device=twist.device), torch.eye(6, dtype=twist.dtype)
    for n in range(2, 40):
        term = term @ k / n
        result = result + term
        if float(term.abs().max()) < 1e-17:
            break
    return result


def _bracket(twist: Tensor) -> Tensor:
    turn, shift = cross_matrix(twist[..., :3]), cross_matrix(twist[..., 3:])
    return torch.cat([torch.cat([turn, torch.zeros_like(turn)], -1), torch.cat([shift, turn], -1)], -2)
