# SPDX-License-Identifier: GPL-3.0-or-later
"""Coordinates from belief maps, against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from robot_keypoints.trainer.maps import soft_argmax
from scipy import optimize, special
from torch import Tensor


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians(centres: Tensor, spread: Tensor, height: float, size: tuple[int, int], stride: int) -> Tensor:
    """Sampled Gaussians ``(K, H, W)`` about ``centres`` ``(K, 2)`` in pixels."""
    h, w = size
    x = torch.arange(w, dtype=torch.float64) * stride + (stride - 1) / 2
    y = torch.arange(h, dtype=torch.float64) * stride + (stride - 1) / 2
    place = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    off = place - centres[:, None, None]
    inverse = torch.linalg.inv(spread)
    return height * torch.exp(-0.5 * torch.einsum("khwi,kij,khwj->khw", off, inverse, off))


def spreads(count: int, seed: int) -> Tensor:
    factor = torch.tril(0.5 * normal((count, 2, 2), seed)) + 2.5 * torch.eye(2, dtype=torch.float64)
    return factor @ factor.mT


@pytest.mark.parametrize("stride", [1, 4])
def test_soft_argmax_is_the_mean_of_a_softmax(stride: int) -> None:
    maps = 5 * normal((3, 2, 9, 13), 0)
    heat = torch.tensor([0.7, 2.0], dtype=torch.float64)
    found = soft_argmax.soft_argmax(maps, stride, heat)
    x = np.arange(13) * stride + (stride - 1) / 2
    y = np.arange(9) * stride + (stride - 1) / 2
    place = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    for b in range(3):
        for j in range(2):
            mass = special.softmax(maps[b, j].numpy().ravel() / heat[j].item())
            assert np.abs(found.positions[b, j].numpy() - mass @ place).max() < 1e-10
            covariance = np.cov(place.T, aweights=mass, ddof=0)
            assert np.abs(found.covariances[b, j].numpy() - covariance).max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_soft_argmax_is_stable(dtype: torch.dtype) -> None:
    """Large scores, sharp maps, and a peak in a corner, in low precision."""
    maps = torch.full((1, 2, 120, 160), -3e4, dtype=dtype)
    maps[0, 0, 0, 0] = 3e4
    maps[0, 1, 119, 159] = 3e4
    found = soft_argmax.soft_argmax(maps, 2)
    assert torch.equal(found.positions[0], torch.tensor([[0.5, 0.5], [318.5, 238.5]]))
    assert (found.covariances == 0).all()
    maps[0, 0, 3, 3] = math.nan
    found = soft_argmax.soft_argmax(maps)
    assert found.valid.tolist() == [[False, True]] and found.positions.isfinite().all()


@pytest.mark.parametrize("stride", [1, 2])
def test_gaussians_are_found_inside_and_outside(stride: int) -> None:
    """Centres up to two standard deviations outside the image."""
    generator = torch.Generator().manual_seed(1)
    size = torch.tensor([40.0, 30.0], dtype=torch.float64) * stride
    centres = (torch.rand(200, 2, generator=generator, dtype=torch.float64) * 1.2 - 0.1) * size
    spread = spreads(200, 2) * stride**2
    found = soft_argmax.gaussian_fit(gaussians(centres, spread, 3.0, (30, 40), stride), stride, floor=1e-4)
    assert ((centres < 0) | (centres > size)).any(1).sum() > 30
    assert found.valid.double().mean() > 0.95
    good = found.valid
    assert (found.positions - centres)[good].abs().max() < 1e-4
    assert (found.covariances - spread)[good].abs().max() < 1e-3
    # A peak far outside shows little of itself.
    assert (found.amplitudes[good].log() - math.log(3)).abs().max() < 1e-3


def test_gaussian_fit_under_noise_is_as_good_as_scipys() -> None:
    """Against non-linear least squares on the values themselves."""
    centres = 8 + 14 * torch.rand(20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    spread = spreads(20, 4)
    maps = gaussians(centres, spread, 1.0, (30, 32), 1) + 0.02 * normal((20, 30, 32), 5)
    found = soft_argmax.gaussian_fit(maps, floor=0.1)
    x, y = np.meshgrid(np.arange(32.0), np.arange(30.0))

    def residual(p: np.ndarray, values: np.ndarray) -> np.ndarray:
        dx, dy = x - p[0], y - p[1]
        return np.asarray(p[2] * np.exp(-0.5 * (p[3] * dx**2 + 2 * p[4] * dx * dy + p[5] * dy**2)) - values).ravel()

    theirs = [optimize.least_squares(residual, [*c, 1, 0.2, 0, 0.2], args=(m,)).x[:2] for c, m in
              zip(centres.numpy(), maps.numpy(), strict=True)]  # fmt: skip
    ours = (found.positions - centres).norm(dim=1).mean()
    other = np.linalg.norm(np.array(theirs) - centres.numpy(), axis=1).mean()
    assert found.valid.all() and ours < 1.5 * other


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 0.002), (torch.bfloat16, 0.1)])
def test_gaussian_fit_is_stable(dtype: torch.dtype, limit: float) -> None:
    centres = torch.tensor([[150.0, 100.0], [3.2, 2.7], [-1.5, 60.0], [0.0, 0.0]], dtype=torch.float64)
    spread = (4.0 * torch.eye(2, dtype=torch.float64)).expand(4, 2, 2)
    maps = gaussians(centres, spread, 0.05, (120, 160), 1).to(dtype)
    found = soft_argmax.gaussian_fit(maps)
    assert found.positions.dtype == torch.float32 and found.valid.all()
    assert (found.positions - centres).abs().max() < limit


def test_maps_without_a_peak_are_not_valid() -> None:
    maps = torch.zeros(5, 20, 20)
    maps[1] = math.nan
    maps[2, 5, 5] = 1.0
    maps[3] = 1.0
    maps[4] = (torch.arange(20.0) - 10).square()
    maps.requires_grad_()
    found = soft_argmax.gaussian_fit(maps)
    assert not found.valid.any() and found.positions.isfinite().all() and found.covariances.isfinite().all()
    (found.positions.sum() + found.covariances.sum() + found.amplitudes.sum()).backward()
    assert maps.grad is not None and maps.grad.isfinite().all()


def test_derivatives() -> None:
    maps = normal((1, 2, 5, 6), 6).requires_grad_()
    heat = torch.tensor([0.8, 1.5], dtype=torch.float64, requires_grad=True)

    def soft(m: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        found = soft_argmax.soft_argmax(m, 2, t)
        return found.positions, found.covariances

    assert torch.autograd.gradcheck(soft, (maps, heat))

    centres = torch.tensor([[4.3, 3.1], [-0.5, 5.0]], dtype=torch.float64)
    peaks = gaussians(centres, spreads(2, 7), 1.0, (8, 9), 1) * torch.exp(0.05 * normal((2, 8, 9), 8))

    def fit(m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = soft_argmax.gaussian_fit(m)
        assert found.valid.all()
        return found.positions, found.covariances, found.amplitudes

    assert torch.autograd.gradcheck(fit, (peaks.requires_grad_(),), atol=1e-5)
