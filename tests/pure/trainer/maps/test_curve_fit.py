# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves that are fitted to belief maps: exact inside and outside the image, and finite whatever a map holds."""

from __future__ import annotations

import math

import pytest
import torch
from robot_keypoints.trainer.maps import codec, curve_fit
from torch import Tensor

WIDTH, HEIGHT = 80, 64


def about_the_edges(sigma: float, most: float = curve_fit.MARGIN) -> Tensor:
    """Keypoints ``(1, N, 2)`` float64 from 3σ outside to 3σ inside every edge and corner."""
    off = torch.linspace(-most, 3.0, 13, dtype=torch.float64) * sigma
    along = torch.linspace(-most * sigma, WIDTH - 1 + most * sigma, 11, dtype=torch.float64)
    down = torch.linspace(-most * sigma, HEIGHT - 1 + most * sigma, 9, dtype=torch.float64)
    left, top = torch.cartesian_prod(off - 0.5, down), torch.cartesian_prod(along, off - 0.5)
    right, bottom = left * torch.tensor([-1.0, 1.0]), top * torch.tensor([1.0, -1.0])
    right, bottom = right + torch.tensor([WIDTH - 1.0, 0]), bottom + torch.tensor([0, HEIGHT - 1.0])
    points = torch.cat([left, right, top, bottom])
    return points[codec.inside(points, WIDTH, HEIGHT, most * sigma)][None]


@pytest.mark.parametrize("peak", [False, True])
@pytest.mark.parametrize("cells", [1.0, 1.6, 3.0])
@pytest.mark.parametrize("stride", [2, 4])
def test_round_trip_up_to_three_deviations_outside(stride: int, cells: float, peak: bool) -> None:
    sigma = cells * stride
    points = about_the_edges(sigma)
    maps = codec.encode(points, WIDTH, HEIGHT, stride, sigma, peak=peak, margin=curve_fit.margin(sigma))
    assert (maps.flatten(2).amax(-1) > 0).all()
    found = curve_fit.locate(maps, stride, sigma)
    error = (found.positions.double() - points).norm(dim=-1) / sigma
    outside = ~codec.inside(points, WIDTH, HEIGHT)
    assert outside.sum() > 150
    assert error.max() < 0.01
    spread = found.covariances.double() / sigma**2 - torch.eye(2, dtype=torch.float64)
    assert spread.abs().max() < 0.02
    # What a mean of cells can't do.
    means = codec.decode(maps, stride, sigma, peak=peak).positions.double()
    assert ((means - points).norm(dim=-1)[outside].mean() / sigma) > 0.5


def test_what_lies_further_outside_has_no_target() -> None:
    sigma = 4.0
    points = torch.tensor([[[-0.5 - 3.1 * sigma, 30.0], [math.nan, math.nan], [-0.5 - 2.9 * sigma, 30.0]]])
    maps = codec.encode(points, WIDTH, HEIGHT, 4, sigma, margin=curve_fit.margin(sigma))
    sums = maps.sum((-2, -1))
    assert sums[0, :2].tolist() == [0.0, 0.0] and abs(float(sums[0, 2]) - 1.0) < 1e-6


def test_another_peak_does_not_pull() -> None:
    points = torch.tensor([[[30.0, 40.0]]])
    own = codec.encode(points, WIDTH, HEIGHT, 4, 4.0, margin=12.0)
    other = codec.encode(torch.tensor([[[70.0, 20.0]]]), WIDTH, HEIGHT, 4, 4.0, margin=12.0)
    found = curve_fit.locate(0.6 * own + 0.4 * other, 4, 4.0)
    assert (found.positions - points).abs().max() < 0.01
    assert abs(float(found.masses) - 0.6) < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_map_has_a_finite_place(dtype: torch.dtype) -> None:
    """Flat, empty, one cell, two cells, a bowl, noise, and a network's overconfident map."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.zeros(1, 8, 12, 16)
    maps[0, 1] = 1.0
    maps[0, 2, 0, 15] = 1.0
    maps[0, 3, 5, 5:7] = 0.5
    maps[0, 4] = ((torch.arange(16.0) - 8) / 8).square()
    maps[0, 5] = torch.rand(12, 16, generator=generator)
    maps[0, 6] = torch.softmax(60 * torch.randn(192, generator=generator), 0).view(12, 16)
    maps[0, 7] = 1e-7
    maps = maps.to(dtype).float().requires_grad_()  # half precision can't hold gradients by a value of 1e-7
    found = curve_fit.locate(maps, 4, 4.0)
    assert torch.equal(curve_fit.locate(maps.to(dtype), 4, 4.0).positions, found.positions)
    for numbers in (found.positions, found.covariances, found.masses, found.peaks):
        assert numbers.isfinite().all() and numbers.dtype == torch.float32
    assert codec.inside(found.positions, 64, 48, curve_fit.margin(4.0)).all()
    assert (found.positions[0, 2] - torch.tensor([61.5, 1.5])).abs().max() < 1e-3  # the only cell's centre
    assert (found.positions[0, 3] - torch.tensor([23.5, 21.5])).abs().max() < 1e-3  # between the two
    (found.positions.sum() + found.covariances.sum()).backward()
    assert maps.grad is not None and maps.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_maps_of_hardly_any_cells(shape: tuple[int, int]) -> None:
    found = curve_fit.locate(torch.full((1, 1, *shape), 0.5), 4, 4.0)
    assert found.positions.isfinite().all() and found.covariances.isfinite().all()


def test_no_number_stays_none() -> None:
    """The predictor refuses such a model, which a made-up place would hide."""
    assert curve_fit.locate(torch.full((1, 1, 12, 16), math.nan), 4, 4.0).positions.isnan().all()


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision(dtype: torch.dtype, limit: float) -> None:
    """Centres up to two deviations outside, in units of one."""
    sigma = 6.0
    points = about_the_edges(sigma, 2.0)
    maps = codec.encode(points, WIDTH, HEIGHT, 4, sigma, margin=curve_fit.margin(sigma))
    error = (curve_fit.locate(maps.to(dtype), 4, sigma).positions - points).norm(dim=-1) / sigma
    assert error.mean() < limit


def test_derivatives() -> None:
    points = torch.tensor([[[9.3, 11.1], [-5.0, 9.0], [-3.0, -2.0]]], dtype=torch.float64)
    maps = codec.encode(points, 24, 20, 4, 5.0, margin=15.0).double()
    generator = torch.Generator().manual_seed(3)
    maps = maps * torch.exp(0.05 * torch.randn(maps.shape, generator=generator, dtype=torch.float64))
    # Cells about the floor, below which they don't take part, would make steps.
    maps = torch.where((maps / maps.amax((-2, -1), keepdim=True) - 0.01).abs() < 1e-4, 0.0, maps).requires_grad_()

    def located(m: Tensor) -> tuple[Tensor, Tensor]:
        found = curve_fit.locate(m, 4, 5.0)
        return found.positions, found.covariances

    assert torch.autograd.gradcheck(located, (maps,), atol=1e-4)
