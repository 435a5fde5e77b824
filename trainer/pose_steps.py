# SPDX-License-Identifier: GPL-3.0-or-later
"""Levenberg–Marquardt on camera poses and joints, for a whole batch at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .lie import cross_matrix, orthonormal
from .pose_camera import distort
from .pose_problem import Observations, Options, bend

NEAR = 1e-6
"""Depth in metres from which on a point counts as in front of the camera."""
BEHIND = 1e12
"""Squared error of a point that isn't."""
FLOOR = 1e-20
"""Squared error, in standard deviations, below which nothing is left to gain."""

Geometry = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From joints ``(B, Q)`` of the entries at some index ``(B,)``: points ``(B, 3, M)`` and their derivatives
``(B, Q, 3, M)``, in the base frame."""


@dataclass(frozen=True)
class State:
    """Where the steps have come to: ``T_cam_base`` as ``(B, 3, 3)`` and ``(B, 3)``, and joints ``(B, Q)``."""

    rotation: Tensor
    translation: Tensor
    joints: Tensor

    def take(self, index: Tensor) -> State:
        """The entries at ``index``."""
        return State(self.rotation[index], self.translation[index], self.joints[index])

    def put(self, index: Tensor, other: State) -> None:
        """Overwrite the entries at ``index``."""
        self.rotation[index] = other.rotation
        self.translation[index] = other.translation
        self.joints[index] = other.joints

    def where(self, choice: Tensor, other: State) -> State:
        """This state where ``choice`` ``(B,)``, the other elsewhere."""
        return State(
            torch.where(choice[:, None, None], self.rotation, other.rotation),
            torch.where(choice[:, None], self.translation, other.translation),
            torch.where(choice[:, None], self.joints, other.joints) if self.joints.shape[1] else self.joints,
        )


@dataclass(frozen=True)
class Joints:
    """What is known about the joints sought, each ``(B, Q)``.

    Attributes:
        lower, upper: limits, infinite where there are none.
        expected: what sensors say.
        precision: one over the variance of that, zero where nothing is known.
        geometry: see :data:`Geometry`.
    """

    lower: Tensor
    upper: Tensor
    expected: Tensor
    precision: Tensor
    geometry: Geometry

    def take(self, index: Tensor) -> Joints:
        """The entries at ``index``; the geometry is told of it by its caller."""
        return replace(
            self,
            lower=self.lower[index],
            upper=self.upper[index],
            expected=self.expected[index],
            precision=self.precision[index],
        )


@dataclass(frozen=True)
class Terms:
    """The least-squares problem of a batch.

    Attributes:
        points: in the base frame ``(B, 3, M)``, metres; not looked at where there are joints.
        entries: number of each entry in the whole batch, ``(B,)``, for the joints' geometry.
    """

    points: Tensor
    observations: Observations
    options: Options
    entries: Tensor
    joints: Joints | None = None

    def take(self, index: Tensor) -> Terms:
        """The entries at ``index``."""
        return replace(
            self,
            points=self.points[index],
            observations=self.observations.take(index),
            entries=self.entries[index],
            joints=None if self.joints is None else self.joints.take(index),
        )

    def target(self) -> tuple[Tensor, ...]:
        """Distorted normalised coordinates (B, M) of the pixels, and the whitening of such coordinates."""
        o = self.observations
        a, b = o.camera.normalise(o.pixels).unbind(-1)
        fx, fy = o.camera.matrix[:, 0:1], o.camera.matrix[:, 1:2]
        w00, w10, w11 = o.whitening.unbind(-1)
        return a.contiguous(), b.contiguous(), w00 * fx, w10 * fx, w11 * fy

    def normal(self, state: State, target: tuple[Tensor, ...], skewed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """``JᵀJ`` ``(B, P, P)``, ``Jᵀr`` ``(B, P)`` and the cost ``(B,)`` at ``state``."""
        joints, derivatives = self.joints, None
        points = self.points
        if joints is not None:
            points, derivatives = joints.geometry(state.joints, self.entries)
        placed = torch.baddbmm(state.translation[..., None], state.rotation, points)
        x, y, z = placed.unbind(1)
        front = z > NEAR
        inside = bool(front.all())
        inverse = (z if inside else torch.where(front, z, 1.0)).reciprocal()
        a, b = x * inverse, y * inverse
        ta, tb, m00, w10, m11 = target
        m01 = m10 = None
        if self.observations.camera.distortion is None:
            ea, eb = a - ta, b - tb
            if skewed:
                m10 = w10
        else:
            (da, db), (jaa, jab, jba, jbb) = distort(a, b, self.observations.camera.distortion)
            ea, eb = da - ta, db - tb
            w00, w11 = m00, m11
            m00, m01 = w00 * jaa, w00 * jab
            m10, m11 = w11 * jba + w10 * jaa, w11 * jbb + w10 * jab
        r0, r1 = target[2] * ea, target[4] * eb
        if skewed:
            r1 = r1 + w10 * ea
        square = r0 * r0 + r1 * r1
        gate = None
        if self.options.robust or not inside:
            value, slope = bend(square, self.options)
            if not inside:
                used = self.observations.used
                value = torch.where(front, value, bend(torch.full_like(value, BEHIND), self.options)[0] * used)
                slope = slope * front
            gate = slope.sqrt()
            r0, r1, m00, m11 = r0 * gate, r1 * gate, m00 * gate, m11 * gate
            m01 = None if m01 is None else m01 * gate
            m10 = None if m10 is None else m10 * gate
            cost = 0.5 * value.sum(1)
        else:
            cost = 0.5 * square.sum(1)

        number, extra = len(x), 0 if derivatives is None else derivatives.shape[1]
        size, m = 6 + extra, x.shape[1]
        u = x.new_empty(number, size, m)
        v = x.new_empty(number, size, m)
        ab = a * b
        torch.neg(ab, out=u[:, 0])
        torch.addcmul(x.new_ones(()), a, a, out=u[:, 1])
        torch.neg(b, out=u[:, 2])
        u[:, 3] = inverse
        u[:, 4] = 0
        torch.mul(a, -inverse, out=u[:, 5])
        torch.addcmul(x.new_full((), -1.0), b, b, value=-1, out=v[:, 0])
        v[:, 1] = ab
        v[:, 2] = a
        v[:, 3] = 0
        v[:, 4] = inverse
        torch.mul(b, -inverse, out=v[:, 5])
        if derivatives is not None:
            dx, dy, dz = (state.rotation[:, None] @ derivatives).unbind(2)  # (B, Q, M)
            u[:, 6:] = (dx - a[:, None] * dz) * inverse[:, None]
            v[:, 6:] = (dy - b[:, None] * dz) * inverse[:, None]
        rows = x.new_empty(number, size + 1, 2, m)
        torch.mul(u, m00[:, None], out=rows[:, :size, 0])
        torch.mul(v, m11[:, None], out=rows[:, :size, 1])
        if m01 is not None:
            rows[:, :size, 0] += v * m01[:, None]
        if m10 is not None:
            rows[:, :size, 1] += u * m10[:, None]
        rows[:, size, 0] = r0
        rows[:, size, 1] = r1
        flat = rows.flatten(2)
        product = flat @ flat.mT
        hessian, gradient = product[:, :size, :size], product[:, :size, size]
        if joints is not None:
            off = state.joints - joints.expected
            pull = joints.precision * off
            hessian = hessian.clone()
            hessian.diagonal(dim1=-2, dim2=-1)[:, 6:] += joints.precision
            gradient = torch.cat([gradient[:, :6], gradient[:, 6:] + pull], 1)
            cost = cost + 0.5 * (pull * off).sum(1)
        return hessian, gradient, cost

    def held(self, state: State, gradient: Tensor) -> Tensor | None:
        """Which unknowns ``(B, P)`` stand at a limit and would go beyond it."""
        if self.joints is None:
            return None
        q, slope = state.joints, gradient[:, 6:]
        stuck = ((q <= self.joints.lower) & (slope > 0)) | ((q >= self.joints.upper) & (slope < 0))
        return torch.cat([torch.zeros_like(gradient[:, :6], dtype=torch.bool), stuck], 1)

    def moved(self, state: State, step: Tensor) -> State:
        """The state after ``step`` ``(B, P)``, joints kept within their limits."""
        turn = _turned(step[:, :3])
        translation = torch.baddbmm(step[:, 3:6, None], turn, state.translation[..., None]).squeeze(-1)
        joints = state.joints
        if self.joints is not None:
            joints = (joints + step[:, 6:]).clamp(self.joints.lower, self.joints.upper)
        return State(turn @ state.rotation, translation, joints)


def _turned(vector: Tensor) -> Tensor:
    """Rotations ``(B, 3, 3)`` that agree with those of rotation vectors ``(B, 3)`` to second order: Cayley's."""
    half = 0.5 * vector
    cross = cross_matrix(half)
    factor = 2 / (1 + (half * half).sum(1))
    turn = factor[:, None, None] * torch.baddbmm(cross, cross, cross)
    turn.diagonal(dim1=-2, dim2=-1).add_(1)
    return turn


@dataclass(frozen=True)
class Rest:
    """Where the steps came to rest.

    Attributes:
        information: ``JᵀJ`` there, ``(B, P, P)``.
        held: unknowns at a limit, ``(B, P)``, or None.
    """

    state: State
    cost: Tensor
    converged: Tensor
    information: Tensor
    held: Tensor | None


def descend(terms: Terms, start: State, owners: Tensor | None = None, patience: int = 10) -> Rest:
    """Levenberg–Marquardt from ``start``; entries that have come to rest are left out of further work.

    Args:
        owners: number of the problem that each entry is a start of, ``(B,)``, where there are several: one that is
            still far above another of its problem after a while is given up.
        patience: steps before that.
    """
    options, origin = terms.options, terms
    whole = len(start.translation)
    final = State(start.rotation.clone(), start.translation.clone(), start.joints.clone())
    device = start.translation.device
    position = torch.arange(whole, device=device)
    skewed = bool((terms.observations.whitening[..., 1] != 0).any())
    target = terms.target()
    state = start
    hessian, gradient, cost = terms.normal(state, target, skewed)
    final_cost, final_hessian, final_gradient = cost.clone(), hessian.clone(), gradient.clone()
    converged = torch.zeros(whole, dtype=torch.bool, device=device)
    rest = torch.zeros_like(converged)
    damping = torch.full_like(cost, 1e-3)
    for k in range(options.iterations):
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        diagonal = torch.where(diagonal > 0, diagonal, 1.0)
        slope = gradient
        matrix = hessian.clone()
        held = terms.held(state, gradient)
        if held is not None:
            free = (~held).to(matrix.dtype)
            matrix = matrix * free[:, :, None] * free[:, None]
            slope = gradient * free
            diagonal = torch.where(held, 1.0, diagonal)
        damp = damping[:, None] * diagonal
        matrix.diagonal(dim1=-2, dim2=-1).copy_(diagonal + damp)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        step = -torch.cholesky_solve(slope[..., None], factor).squeeze(-1)
        bad = (failed != 0) | ~step.isfinite().all(1)
        step = torch.where(bad[:, None], 0.0, step)
        promise = 0.5 * (step * (damp * step - slope)).sum(1)
        small = (promise <= options.tolerance * cost + FLOOR) & ~bad & (damping <= 1)
        new = terms.moved(state, step)
        new_hessian, new_gradient, new_cost = terms.normal(new, target, skewed)
        better = new_cost <= cost
        state = new.where(better, state)
        hessian = torch.where(better[:, None, None], new_hessian, hessian)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, (damping * 0.1).clamp_min(1e-14), damping * 10)
        rest = rest | small
        stopped = rest | (damping > 1e12)
        if owners is not None and k >= patience:
            final_cost[position] = cost
            ends = torch.full_like(final_cost, math.inf).scatter_reduce(0, owners, final_cost, "amin")
            stopped = stopped | (cost - 4 * promise.clamp_min(0) > ends[owners[position]])
        converged[position] = rest
        left = int((~stopped).sum())
        last = left == 0 or k + 1 == options.iterations
        if last or (left < 0.7 * len(position) and len(position) > 32):
            final.put(position, state)
            final_cost[position] = cost
            final_hessian[position] = hessian
            final_gradient[position] = gradient
            if last:
                break
            keep = (~stopped).nonzero().squeeze(1)
            position, state, terms = position[keep], state.take(keep), terms.take(keep)
            hessian, gradient, cost = hessian[keep], gradient[keep], cost[keep]
            damping, rest = damping[keep], rest[keep]
            target = tuple(x[keep] for x in target)
    final = State(orthonormal(final.rotation), final.translation, final.joints)
    return Rest(final, final_cost, converged, final_hessian, origin.held(final, final_gradient))
