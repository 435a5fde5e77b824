# SPDX-License-Identifier: GPL-3.0-or-later
"""Levenberg–Marquardt [Levenberg1944, Marquardt1963] on camera poses and joints, for a whole batch at once.

The batch is the last dimension of every tensor here, so that each operation runs over all entries without a gap: with a
few points and unknowns to an entry, that is what takes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .batched_linear import gram, mirrored, solve
from .camera import distort
from .problem import Observations, Options, bend
from .rigid_motion import orthonormal

NEAR = 1e-6
"""Depth in metres from which on a point counts as in front of the camera."""
BEHIND = 1e12
"""Squared error of a point that isn't."""
FLOOR = 1e-20
"""Squared error, in standard deviations, below which nothing is left to gain."""
IDLE = 1e-6
"""Metres per radian, or per metre, up to which a joint doesn't move the keypoints: axes are given with so many digits
only, and rounding moves a keypoint on an axis as well."""
DAMPING = 1e-4
"""Share of the curvature that holds the first step back."""

Geometry = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From joints ``(Q, B)`` of the entries at some index ``(B,)``: points ``(3, M, B)`` and their derivatives
``(Q, 3, M, B)``, in the base frame."""


@dataclass(frozen=True)
class State:
    """Where the steps have come to: ``T_cam_base`` as ``(3, 3, B)`` and ``(3, B)``, and joints ``(Q, B)``."""

    rotation: Tensor
    translation: Tensor
    joints: Tensor

    @classmethod
    def rigid(cls, rotation: Tensor, translation: Tensor) -> State:
        """The state without its joints."""
        return cls(rotation, translation, translation.new_empty(0, translation.shape[-1]))

    def take(self, index: Tensor) -> State:
        """The entries at ``index``."""
        return State(self.rotation[..., index], self.translation[..., index], self.joints[..., index])

    def put(self, index: Tensor, other: State) -> None:
        """Overwrite the entries at ``index``."""
        self.rotation[..., index] = other.rotation
        self.translation[..., index] = other.translation
        self.joints[..., index] = other.joints


@dataclass(frozen=True)
class Joints:
    """What is known about the joints sought, each ``(Q, B)``.

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
            lower=self.lower[..., index],
            upper=self.upper[..., index],
            expected=self.expected[..., index],
            precision=self.precision[..., index],
        )


@dataclass(frozen=True)
class Terms:
    """The least-squares problem of a batch.

    Attributes:
        points: in the base frame ``(3, M, B)``, metres; not looked at where there are joints.
        target: distorted normalised coordinates of the pixels, ``(2, M, B)``.
        whitening: lower triangle of what makes errors of such coordinates white: 00, 10, 11, ``(3, M, B)``.
        used: ``(M, B)``.
        distortion: k1, k2, p1, p2, k3, ``(5, B)``, or ``(5, M, B)`` where points are of several cameras; None where the
            lens is straight.
        skewed: whether any 10 of the whitening isn't zero.
        entries: number of each entry in the whole batch, ``(B,)``, for the joints' geometry.
        pose_known: whether the pose stays where it starts, and only joints are sought.
    """

    points: Tensor
    target: Tensor
    whitening: Tensor
    used: Tensor
    distortion: Tensor | None
    skewed: bool
    options: Options
    entries: Tensor
    joints: Joints | None = None
    pose_known: bool = False

    @classmethod
    def of(cls, points: Tensor, seen: Observations, options: Options, joints: Joints | None = None) -> Terms:
        """Compute them from points ``(3, M, B)`` and what the image shows of them."""
        matrix = seen.camera.matrix.mT  # (4, B)
        whitening = seen.whitening.permute(2, 1, 0).contiguous()
        skewed = bool((whitening[1] != 0).any())
        whitening[:2] *= matrix[0]
        whitening[2] *= matrix[1]
        target = (seen.pixels.permute(2, 1, 0) - matrix[2:, None]) / matrix[:2, None]
        distortion = None if seen.camera.distortion is None else seen.camera.distortion.mT.contiguous()
        entries = torch.arange(target.shape[-1], device=target.device)
        return cls(
            points, target.contiguous(), whitening, seen.used.mT.contiguous(), distortion, skewed, options, entries,
            joints,
        )  # fmt: skip

    def take(self, index: Tensor) -> Terms:
        """The entries at ``index``."""
        return replace(
            self,
            points=self.points[..., index],
            target=self.target[..., index],
            whitening=self.whitening[..., index],
            used=self.used[..., index],
            distortion=None if self.distortion is None else self.distortion[..., index],
            entries=self.entries[index],
            joints=None if self.joints is None else self.joints.take(index),
        )

    def room(self) -> Tensor:
        """Memory for the derivatives and errors of all points, ``(P + 1, 2, M, B)``."""
        unknowns = 6 if self.joints is None else 6 + len(self.joints.expected)
        return self.target.new_empty(unknowns + 1, *self.target.shape)

    def normal(self, state: State, room: Tensor) -> tuple[Tensor, Tensor]:
        """``JᵀJ`` and beside it ``Jᵀr``, ``(P, P + 1, B)``, of which the upper half counts, and the cost ``(B,)``.

        Args:
            room: what :meth:`room` gives, to be overwritten.
        """
        joints, derivatives = self.joints, None
        points = self.points
        if joints is not None:
            points, derivatives = joints.geometry(state.joints, self.entries)
        placed = torch.addcmul(state.translation[:, None], state.rotation[:, 0, None], points[0])
        placed.addcmul_(state.rotation[:, 1, None], points[1]).addcmul_(state.rotation[:, 2, None], points[2])
        z = placed[2]
        inside = bool(z.min() > NEAR) if z.numel() else True
        front = None if inside else z > NEAR
        inverse = (z if front is None else torch.where(front, z, 1.0)).reciprocal()
        a, b = placed[0] * inverse, placed[1] * inverse

        w00, w10, w11 = self.whitening
        # Slopes of the two whitened errors by a and by b; None is zero.
        slopes: list[tuple[Tensor | None, Tensor | None]] = [(w00, None), (w10 if self.skewed else None, w11)]
        if self.distortion is None:
            ea, eb = a - self.target[0], b - self.target[1]
        else:
            (da, db), (jaa, jab, jba, jbb) = distort(a, b, self.distortion.unbind())
            ea, eb = da - self.target[0], db - self.target[1]
            slopes = [(w00 * jaa, w00 * jab), (w11 * jba + w10 * jaa, w11 * jbb + w10 * jab)]
        size = len(room) - 1
        r0, r1 = room[size]
        torch.mul(w00, ea, out=r0)
        torch.mul(w11, eb, out=r1)
        if self.skewed:
            r1.addcmul_(w10, ea)
        square = (r0 * r0).addcmul_(r1, r1)
        if self.options.robust or front is not None:
            value, bent = bend(square, self.options)
            if front is not None:
                value = torch.where(front, value, bend(torch.full_like(value, BEHIND), self.options)[0] * self.used)
                bent = bent * front
            gate = bent.sqrt()
            room[size] *= gate
            slopes = [(None if p is None else p * gate, None if q is None else q * gate) for p, q in slopes]
            cost = 0.5 * value.sum(0)
        else:
            cost = 0.5 * square.sum(0)
        moves = None
        if derivatives is not None:
            moves = [torch.einsum("jb,qjmb->qmb", row, derivatives) for row in state.rotation]
        for k, (by_a, by_b) in enumerate(slopes):
            _derive(room[:size, k], a, b, inverse, by_a, by_b, moves)
        system = gram(room.flatten(1, 2))[:size]
        if joints is not None:
            off = state.joints - joints.expected
            pull = joints.precision * off
            system[:, :size].diagonal()[:, 6:] += joints.precision.mT
            system[6:, size] += pull
            cost = cost + 0.5 * (pull * off).sum(0)
        return system, cost

    def frozen(self, state: State, system: Tensor) -> Tensor | None:
        """Which unknowns ``(P, B)`` move nothing, or stand at a limit and would go beyond it; None without joints."""
        if self.joints is None:
            return None
        q, slope = state.joints, system[6:, -1]
        stuck = ((q <= self.joints.lower) & (slope > 0)) | ((q >= self.joints.upper) & (slope < 0))
        frozen = idle(system)
        frozen[6:] |= stuck
        frozen[:6] |= self.pose_known
        return frozen

    def moved(self, state: State, step: Tensor) -> State:
        """The state after ``step`` ``(P, B)``, joints kept within their limits."""
        turn = _turned(step[:3])
        was, at = state.rotation, state.translation
        rotation = turn[:, 0, None] * was[0]
        rotation.addcmul_(turn[:, 1, None], was[1]).addcmul_(turn[:, 2, None], was[2])
        translation = torch.addcmul(step[3:6], turn[:, 0], at[0])
        translation.addcmul_(turn[:, 1], at[1]).addcmul_(turn[:, 2], at[2])
        joints = state.joints
        if self.joints is not None:
            joints = (joints + step[6:]).clamp(self.joints.lower, self.joints.upper)
        return State(rotation, translation, joints)


def idle(information: Tensor) -> Tensor:
    """Which unknowns ``(P, B)`` move nothing, by the diagonal of ``(P, ·, B)``; joints are compared with shifts of the
    camera."""
    diagonal = information.diagonal().mT
    still = diagonal <= 0
    still[6:] |= diagonal[6:] <= IDLE**2 * diagonal[3:6].amax(0)
    return still


def _derive(
    rows: Tensor, a: Tensor, b: Tensor, inverse: Tensor, p: Tensor | None, q: Tensor | None, moves: list[Tensor] | None
) -> None:
    """Write the derivatives ``(6 + Q, M, B)`` of ``p a + q b``, by a turn and a shift of the camera and by joints.

    Args:
        a, b, inverse: x/z, y/z and 1/z of the points, ``(M, B)``.
        p, q: ``(M, B)``; None is zero.
        moves: derivatives of x, y and z by the joints, each ``(Q, M, B)``.
    """
    pitch, yaw, roll, x, y, z = rows[:6].unbind()
    if p is None:
        assert q is not None
        s = q * b
        torch.mul(s, b, out=pitch).add_(q).neg_()
        torch.mul(s, a, out=yaw)
        torch.mul(q, a, out=roll)
        x.zero_()
        torch.mul(q, inverse, out=y)
    else:
        s = p * a
        if q is not None:
            s.addcmul_(q, b)
        torch.mul(s, b, out=pitch)
        torch.mul(s, a, out=yaw).add_(p)
        torch.mul(p, b, out=roll)
        torch.mul(p, inverse, out=x)
        if q is None:
            y.zero_()
        else:
            pitch.add_(q)
            roll.addcmul_(q, a, value=-1)
            torch.mul(q, inverse, out=y)
        pitch.neg_()
        roll.neg_()
    torch.mul(s, inverse, out=z).neg_()
    if moves is not None:
        torch.mul(x, moves[0], out=rows[6:]).addcmul_(y, moves[1]).addcmul_(z, moves[2])


def _turned(vector: Tensor) -> Tensor:
    """Rotations ``(3, 3, B)`` that agree with those of rotation vectors ``(3, B)`` to second order: Cayley's."""
    half = 0.5 * vector
    square = (half * half).sum(0)
    factor = 2 / (1 + square)
    scaled = factor * half
    turn = scaled[:, None] * half
    straight = 1 - factor * square
    for i in range(3):
        turn[i, i].add_(straight)
        turn[(i + 2) % 3, (i + 1) % 3].add_(scaled[i])
        turn[(i + 1) % 3, (i + 2) % 3].sub_(scaled[i])
    return turn


@dataclass(frozen=True)
class Rest:
    """Where the steps came to rest.

    Attributes:
        information: ``JᵀJ`` there, ``(P, P, B)``.
        frozen: unknowns that move nothing or stand at a limit, ``(P, B)``, or None.
    """

    state: State
    cost: Tensor
    converged: Tensor
    information: Tensor
    frozen: Tensor | None

    def take(self, index: Tensor) -> Rest:
        """The entries at ``index``."""
        frozen = None if self.frozen is None else self.frozen[..., index]
        return Rest(
            self.state.take(index), self.cost[index], self.converged[index], self.information[..., index], frozen
        )

    def put(self, index: Tensor, other: Rest) -> None:
        """Overwrite the entries at ``index``, :attr:`frozen` left as it is."""
        self.state.put(index, other.state)
        self.cost[index] = other.cost
        self.converged[index] = other.converged
        self.information[..., index] = other.information


def descend(terms: Terms, start: State, owners: Tensor | None = None, patience: int = 10) -> Rest:
    """Levenberg–Marquardt from ``start``; entries that have come to rest are left out of further work.

    Args:
        owners: number of the problem that each entry is a start of, ``(B,)``, where there are several: one that is
            still far above another of its problem after a while is given up.
        patience: steps before that.
    """
    options, origin = terms.options, terms
    whole, device = start.translation.shape[-1], start.translation.device
    position = torch.arange(whole, device=device)
    state = start
    room = terms.room()
    system, cost = terms.normal(state, room)
    size = len(system)
    final, final_cost, final_system = state, cost.clone(), system
    converged = torch.zeros(whole, dtype=torch.bool, device=device)
    rest = torch.zeros_like(converged)
    damping = torch.full_like(cost, DAMPING)
    for k in range(options.iterations):
        slope = system[:, size]
        diagonal = system.diagonal().mT.clamp_min(torch.finfo(system.dtype).tiny)
        trial = system.clone()
        frozen = terms.frozen(state, system)
        if frozen is not None:
            free = (~frozen).to(slope.dtype)
            trial[:, :size] *= free[:, None] * free[None]
            slope = slope * free
            trial[:, size] = slope
            diagonal = torch.where(frozen, 1.0, diagonal)
        damp = damping * diagonal
        torch.add(diagonal, damp, out=trial.diagonal().mT)
        answer, pivot = solve(trial)
        step = -answer[:, 0]
        fine = (pivot > 0) & (step.abs().sum(0) < math.inf)
        if not bool(fine.all()):
            step = torch.where(fine, step, 0.0)
        promise = 0.5 * (step * (damp * step - slope)).sum(0)
        small = (promise <= options.tolerance * cost + FLOOR) & fine & (damping <= 1)
        new = terms.moved(state, step)
        new_system, new_cost = terms.normal(new, room)
        worse = (~(new_cost <= cost)).nonzero().squeeze(1)
        calmer = (damping * 0.1).clamp_min(1e-14)
        if len(worse):
            new.put(worse, state.take(worse))
            new_system[..., worse], new_cost[worse] = system[..., worse], cost[worse]
            calmer[worse] = damping[worse] * 10
        state, system, cost, damping = new, new_system, new_cost, calmer
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
            if len(position) == whole:
                final, final_cost, final_system = state, cost.clone(), system
            else:
                final.put(position, state)
                final_cost[position] = cost
                final_system[..., position] = system
            if last:
                break
            keep = (~stopped).nonzero().squeeze(1)
            position, state, terms = position[keep], state.take(keep), terms.take(keep)
            room = terms.room()
            system, cost, damping, rest = system[..., keep], cost[keep], damping[keep], rest[keep]
    rotation = orthonormal(final.rotation.permute(2, 0, 1)).permute(1, 2, 0).contiguous()
    final = State(rotation, final.translation, final.joints)
    frozen = origin.frozen(final, final_system)
    return Rest(final, final_cost, converged, mirrored(final_system[:, :size]), frozen)
