# SPDX-License-Identifier: GPL-3.0-or-later
"""Coordinates with covariances from belief maps, differentiable [US12387346, paragraphs 14 to 16 and 23 to 25].

Coordinates are pixels of the network's input; cell ``i`` of a map with stride ``s`` has its centre at
``s·i + (s - 1)/2``, as in :mod:`.codec`. Everything is computed in float32 at least, whatever the maps are in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .codec import cell_centres

RIDGE = 1e-9
"""Share of the trace that is added where normal equations are solved."""


EXPECTED = 1e-3
"""What the width that a Gaussian is expected to have weighs against the cells."""


@dataclass(frozen=True)
class Spots:
    """Where maps have their keypoints.

    Attributes:
        positions: (u, v) in pixels, ``(…, 2)``.
        covariances: pixels², ``(…, 2, 2)``.
        amplitudes: height of the map's peak, ``(…)``.
        valid: whether the map has a peak of the kind looked for, ``(…)``; positions and covariances are finite where
            it doesn't, but mean nothing.
    """

    positions: Tensor
    covariances: Tensor
    amplitudes: Tensor
    valid: Tensor


def _wide(maps: Tensor) -> Tensor:
    return maps if maps.dtype == torch.float64 else maps.float()


def _moments(mass: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Mean ``(…, 2)`` and covariance ``(…, 2, 2)`` in pixels of a mass ``(…, H, W)`` that sums to one."""
    h, w = mass.shape[-2:]
    x = cell_centres(w, stride, mass.device).to(mass.dtype)
    y = cell_centres(h, stride, mass.device).to(mass.dtype)
    across, down = mass.sum(-2), mass.sum(-1)
    u, v = (across * x).sum(-1), (down * y).sum(-1)
    # About the mean: sums of squares less squares of sums would lose digits.
    dx, dy = x - u[..., None], y - v[..., None]
    uu, vv = (across * dx * dx).sum(-1), (down * dy * dy).sum(-1)
    uv = (dy * (mass * dx[..., None, :]).sum(-1)).sum(-1)
    covariance = torch.stack([torch.stack([uu, uv], -1), torch.stack([uv, vv], -1)], -2)
    return torch.stack([u, v], -1), covariance


def soft_argmax(maps: Tensor, stride: int = 1, temperature: Tensor | float = 1.0) -> Spots:
    """Expected coordinates under a spatial softmax of ``maps / temperature``, and their full covariance.

    Args:
        maps: scores, ``(…, J, H, W)``.
        temperature: positive, one for all or one per keypoint, ``(J,)``; it may be learned.
    """
    scores = _wide(maps)
    heat = torch.as_tensor(temperature, dtype=scores.dtype, device=scores.device)
    heat = heat.expand(scores.shape[-3])[:, None, None]
    finite = scores.isfinite().flatten(-2).all(-1)
    scores = torch.where(finite[..., None, None], scores, 0.0)
    mass = (scores / heat).flatten(-2).softmax(-1).reshape(scores.shape)
    positions, covariances = _moments(mass, stride)
    return Spots(positions, covariances, scores.flatten(-2).amax(-1), finite)


def gaussian_fit(
    maps: Tensor, stride: int = 1, *, floor: float = 0.01, rounds: int = 3, expected: float | None = None
) -> Spots:
    """Centre, covariance and amplitude of the Gaussian that fits each map best, by weighted least squares on its
    logarithm.

    The centre may lie outside the image, as the slope of a peak that is cut off tells where its top would be. The
    logarithm of a Gaussian is a quadratic function of the place, whose six coefficients one linear solution finds;
    a cell weighs the square of the value that the round before expects there, so that noise in the tails doesn't
    count.

    Args:
        maps: ``(…, H, W)``; what isn't positive counts as empty.
        floor: share of a map's highest value below which cells don't take part.
        rounds: solutions, each with the weights that the one before gives.
        expected: the standard deviation in pixels that the Gaussian is to have where the cells don't tell it, as where
            fewer than six take part; weak beside what they do tell.

    Returns:
        Spots that are not valid where a map is empty, curves upwards, or without ``expected`` has fewer than six cells
        above the floor.
    """
    values = _wide(maps)
    h, w = values.shape[-2:]
    finite = values.isfinite().flatten(-2).all(-1)
    values = torch.where(finite[..., None, None], values, 0.0)
    top = values.flatten(-2).amax(-1)
    valid = finite & (top > 0)
    safe_top = torch.where(valid, top, 1.0)
    share = torch.where(valid[..., None, None], values, 0.0) / safe_top[..., None, None].detach()
    taking = share > floor
    # In cells from the peak, divided by its width, so that the equations are well scaled in float32.
    place = share.detach().flatten(-2).argmax(-1)
    row, column = (place // w).to(values.dtype), (place % w).to(values.dtype)
    width = (taking.flatten(-2).sum(-1).to(values.dtype) / math.pi).sqrt().clamp_min(1.0)
    x = (torch.arange(w, device=values.device, dtype=values.dtype) - column[..., None]) / width[..., None]
    y = (torch.arange(h, device=values.device, dtype=values.dtype) - row[..., None]) / width[..., None]
    x, y = x[..., None, :].expand(values.shape), y[..., :, None].expand(values.shape)
    basis = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], -1).flatten(-3, -2)
    logarithm = torch.where(taking, share, 1.0).log().flatten(-2)
    taking = taking.flatten(-2)
    if expected is None:
        valid = valid & (taking.sum(-1) >= 6)
    weight = torch.where(taking, share.flatten(-2), 0.0).square()
    coefficients = basis.new_zeros(*basis.shape[:-2], 6)
    bad = torch.zeros_like(valid)
    curvature = None if expected is None else -0.5 * (width * stride / expected).square()
    for _ in range(rounds):
        coefficients, bad = _fit(basis, logarithm, weight, valid, curvature)
        modelled = (basis @ coefficients[..., None]).squeeze(-1).clamp(-30.0, 0.7)
        weight = torch.where(taking, (2 * modelled).exp(), 0.0)
    valid = valid & ~bad
    c0, cx, cy, cxx, cxy, cyy = coefficients.unbind(-1)
    # -½ (p - μ)ᵀ Σ⁻¹ (p - μ): the curvature is -Σ⁻¹.
    pxx, pyy, pxy = -2 * cxx, -2 * cyy, -cxy
    determinant = pxx * pyy - pxy * pxy
    peaked = (pxx > 1e-7) & (pyy > 1e-7) & (determinant > 1e-7 * pxx * pyy)
    valid = valid & peaked
    pxx, pyy = torch.where(valid, pxx, 1.0), torch.where(valid, pyy, 1.0)
    pxy = torch.where(valid, pxy, 0.0)
    cx, cy = torch.where(valid, cx, 0.0), torch.where(valid, cy, 0.0)
    determinant = pxx * pyy - pxy * pxy
    sxx, syy, sxy = pyy / determinant, pxx / determinant, -pxy / determinant
    mx, my = sxx * cx + sxy * cy, sxy * cx + syy * cy
    height = torch.where(valid, c0 + 0.5 * (mx * cx + my * cy), 0.0).clamp(-80.0, 80.0).exp()
    amplitude = torch.where(valid, safe_top.detach() * height, torch.zeros_like(height))
    middle = (stride - 1) / 2
    u = (column + mx * width) * stride + middle
    v = (row + my * width) * stride + middle
    scale = (width * stride) ** 2
    covariance = torch.stack([torch.stack([sxx, sxy], -1), torch.stack([sxy, syy], -1)], -2)
    return Spots(torch.stack([u, v], -1), covariance * scale[..., None, None], amplitude, valid)


def _fit(
    basis: Tensor, logarithm: Tensor, weight: Tensor, valid: Tensor, curvature: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Coefficients ``(…, 6)`` of weighted least squares, and where there are none, ``(…)``.

    ``curvature`` ``(…)`` is what the coefficients of the squares are to be where the cells don't tell.
    """
    weighted = basis * weight[..., None]
    # Normal equations square the condition number: float32 maps are solved in float64.
    normal = weighted.mT.double() @ basis.double()
    right = weighted.mT.double() @ logarithm.double()[..., None]
    trace = normal.diagonal(dim1=-2, dim2=-1).sum(-1)
    unit = torch.eye(6, dtype=normal.dtype, device=normal.device)
    if curvature is not None:
        # As much as EXPECTED of the cells' own weight, at a distance of one from the peak.
        pull = EXPECTED * weight.double().sum(-1)
        normal = normal + torch.diag_embed(pull[..., None] * unit[3:].sum(0))
        squares = unit[3] + unit[5]
        right = right + ((pull * curvature.double())[..., None] * squares)[..., None]
    normal = torch.where(valid[..., None, None], normal + RIDGE * 1e-3 * trace[..., None, None] * unit, unit)
    right = torch.where(valid[..., None, None], right, 0.0)
    solution, bad = _eliminated(torch.cat([normal, right], -1), unit)
    return solution.to(basis.dtype), bad


def _eliminated(system: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Solutions ``(…, N)`` of positive definite systems ``(…, N, N + 1)``, the last column being the right-hand side,
    and where there are none, ``(…)``; ``unit`` is the identity ``(N, N)``.

    By Gauss and Jordan, and not by a library, whose batched solutions can't be recorded as a CUDA graph.
    """
    bad = torch.zeros_like(system[..., 0, 0], dtype=torch.bool)
    for j, one in enumerate(unit):
        pivot = system[..., j, j]
        bad = bad | ~(pivot > 0) | ~pivot.isfinite()
        row = system[..., j, :] / torch.where(bad, 1.0, pivot)[..., None]
        system = torch.where(
            bad[..., None, None], 0.0, system - (system[..., :, j] - one)[..., None] * row[..., None, :]
        )
    return system[..., -1], bad


def squared_errors(positions: Tensor, covariances: Tensor, truth: Tensor) -> Tensor:
    """Errors over variances ``(…)``: the squared Mahalanobis distance of ``truth`` ``(…, 2)`` from ``positions``."""
    off = truth - positions
    a, b = covariances[..., 0, 0], covariances[..., 1, 1]
    c = covariances[..., 0, 1]
    x, y = off[..., 0], off[..., 1]
    return (b * x * x - 2 * c * x * y + a * y * y) / (a * b - c * c)
