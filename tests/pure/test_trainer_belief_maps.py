# SPDX-License-Identifier: GPL-3.0-or-later
"""Belief maps: encode and decode are inverses to a fraction of a pixel."""

from __future__ import annotations

import math

import pytest
import torch
from robot_keypoints.trainer import belief_maps

WIDTH, HEIGHT = 160, 120


def interior(count: int, margin: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    size = torch.tensor([WIDTH - 1 - 2 * margin, HEIGHT - 1 - 2 * margin])
    return (margin + torch.rand(1, count, 2, generator=generator) * size).double()


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("sigma", [0.6, 1.6, 4.0])
def test_round_trip(stride: int, sigma: float) -> None:
    points = interior(500, 4 * sigma + 2 * stride)
    maps = belief_maps.encode(points, WIDTH, HEIGHT, stride, sigma)
    found = belief_maps.decode(maps, stride, sigma)
    assert (found.positions.double() - points).abs().max() < 0.05


@pytest.mark.parametrize(("stride", "sigma"), [(2, 1.6), (4, 4.0)])
def test_round_trip_of_peaks(stride: int, sigma: float) -> None:
    """Sampled Gaussians of height one, as the paper's network learns them."""
    points = interior(500, 4 * sigma + 2 * stride)
    maps = belief_maps.encode(points, WIDTH, HEIGHT, stride, sigma, peak=True)
    assert maps.amax() <= 1.0
    found = belief_maps.decode(maps, stride, sigma)
    assert (found.positions.double() - points).abs().max() < 0.1


def test_a_cell_centre_is_where_the_convention_puts_it() -> None:
    """At stride 4 the second cell covers pixels 4 to 7, so its centre is at 5.5."""
    assert belief_maps.cell_centres(3, 4).tolist() == [1.5, 5.5, 9.5]
    maps = belief_maps.encode(torch.tensor([[[5.5, 9.5]]]), 32, 32, 4, 1.0)
    assert maps.shape == (1, 1, 8, 8)
    assert (maps[0, 0] == maps.max()).nonzero().tolist() == [[2, 1]]


def test_mass_is_one_inside_even_at_the_border_and_zero_outside() -> None:
    points = torch.tensor([[[-0.5, 0.0], [0.0, 119.4], [159.6, 60.0], [80.0, -0.6], [math.nan, math.nan]]])
    mass = belief_maps.encode(points, WIDTH, HEIGHT, 2, 1.6).sum((-2, -1))
    assert torch.allclose(mass, torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]]), atol=1e-5)
    assert belief_maps.inside(points, WIDTH, HEIGHT).tolist() == [[True, True, False, False, False]]


def test_the_highest_of_two_peaks_wins_and_does_not_pull() -> None:
    points = torch.tensor([[[40.2, 30.7], [110.0, 90.0]]])
    maps = belief_maps.encode(points, WIDTH, HEIGHT, 2, 1.6)
    both = 0.6 * maps[:, :1] + 0.4 * maps[:, 1:]
    found = belief_maps.decode(both, 2, 1.6)
    assert (found.positions[0, 0] - points[0, 0]).abs().max() < 0.05


def test_covariance_grows_with_the_belief_and_follows_its_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(20000, 2, generator=generator) * torch.tensor([5.0, 1.0])
    turn = torch.tensor([[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]])
    cells = (spread @ turn.T / 2 + torch.tensor([40.0, 30.0])).round().long()
    belief = torch.zeros(60, 80)
    belief.index_put_((cells[:, 1].clamp(0, 59), cells[:, 0].clamp(0, 79)), torch.ones(len(cells)), accumulate=True)
    found = belief_maps.decode(belief[None, None], 2, 8.0)
    expected = turn @ torch.diag(torch.tensor([25.0, 1.0])) @ turn.T
    assert torch.allclose(found.covariances[0, 0], expected, atol=1.5)
    assert found.covariances[0, 0, 0, 1] > 5
