# SPDX-License-Identifier: GPL-3.0-or-later
"""Derivatives of solved poses by the implicit function theorem.

At the solution the slope of the cost vanishes: ``g(x, z) = 0`` for unknowns x and data z, hence
``dx/dz = -H⁻¹ ∂g/∂z`` with the exact second derivatives H. One step of Newton's method with a constant H has just these
derivatives; and its value is zero up to what the solver has left, which it mends.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .problem import Observations, Options, bend
from .rigid_motion import move

Points = Callable[[Tensor | None], Tensor]
"""Points ``(B, M, 3)`` in the base frame after a change ``(B, Q)`` of the joints; None for none."""


def polish(
    rotation: Tensor,
    translation: Tensor,
    points: Points,
    observations: Observations,
    options: Options,
    solved: Tensor,
    *,
    frozen: Tensor | None = None,
    prior: Callable[[Tensor], Tensor] | None = None,
    joints: int = 0,
) -> Tensor:
    """The step ``(B, 6 + Q)`` of Newton's method at a solution, differentiable with respect to the data.

    Args:
        rotation, translation: the solution ``(B, 3, 3)``, ``(B, 3)``, without history.
        points: with their history.
        solved: entries ``(B,)`` that have a solution; the others get a step of zero.
        frozen: unknowns ``(B, 6 + Q)`` that stand at a limit or move nothing, and have no derivatives.
        prior: half the squared, whitened deviation ``(B,)`` from what sensors say after a change of the joints.
        joints: Q.
    """
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        zero = torch.zeros(len(rotation), 6 + joints, dtype=rotation.dtype, device=rotation.device, requires_grad=True)
        turned, moved = move(rotation, translation, zero[:, :6])
        own = points(zero[:, 6:] if joints else None)
        own = torch.where(solved[:, None, None], own, 0.0)
        placed = own @ turned.mT + moved[:, None]
        safe = observations.used & (placed[..., 2] > 0) & solved[:, None]
        ahead = torch.tensor([0.0, 0.0, 1.0], dtype=placed.dtype, device=placed.device)
        placed = torch.where(safe[..., None], placed, ahead)
        error = observations.camera.project(placed) - observations.pixels
        w00, w10, w11 = observations.whitening.unbind(-1)
        square = (w00 * error[..., 0]).square() + (w10 * error[..., 0] + w11 * error[..., 1]).square()
        cost = 0.5 * torch.where(safe, bend(torch.where(safe, square, 0.0), options)[0], 0.0).sum(1)
        if prior is not None:
            cost = cost + prior(zero[:, 6:])
        (slope,) = torch.autograd.grad(cost.sum(), zero, create_graph=True)
        columns = []
        for k in range(slope.shape[1]):
            (column,) = torch.autograd.grad(slope[:, k].sum(), zero, retain_graph=True)
            columns.append(column)
        curvature = torch.stack(columns, 1).detach()
        if frozen is not None:
            free = (~frozen).to(slope.dtype)
            slope = slope * free
            curvature = curvature * free[:, :, None] * free[:, None] + torch.diag_embed(1 - free)
        unit = torch.eye(curvature.shape[-1], dtype=curvature.dtype, device=curvature.device)
        good = solved & curvature.isfinite().flatten(1).all(1)
        curvature = torch.where(good[:, None, None], curvature, unit)
        inverse, failed = torch.linalg.inv_ex(curvature)
        good = good & (failed == 0) & inverse.isfinite().flatten(1).all(1)
        inverse = torch.where(good[:, None, None], inverse, 0.0)
        step: Tensor = -(inverse @ torch.where(good[:, None], slope, 0.0)[..., None]).squeeze(-1)
    return step if wanted else step.detach()
