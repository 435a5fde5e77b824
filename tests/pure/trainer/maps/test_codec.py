# SPDX-License-Identifier: GPL-3.0-or-later
"""Belief maps: encode and decode are inverses to a fraction of a pixel."""

from __future__ import annotations

import math

import pytest
import torch
from robot_keypoints.trainer.maps import codec

WIDTH, HEIGHT = 160, 120


def everywhere(count: int) -> torch.Tensor:
    """All over the image area, up to its edges, and in its corners."""
    generator = torch.Generator().manual_seed(1)
    size = torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    scattered = torch.rand(count, 2, generator=generator).double() * size - 0.5
    near_u = torch.tensor([-0.5, -0.2, 0.0, 1.5, 2.7, WIDTH - 4.0, WIDTH - 1.5, WIDTH - 0.51], dtype=torch.float64)
    near_v = torch.tensor([-0.5, 0.3, 1.5, 60.0, HEIGHT - 2.0, HEIGHT - 0.51], dtype=torch.float64)
    return torch.cat([scattered, torch.cartesian_prod(near_u, near_v)])[None]


@pytest.mark.parametrize("peak", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 1.6, 4.0, 10.0])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_round_trip(stride: int, sigma: float, peak: bool) -> None:
    points = everywhere(400)
    maps = codec.encode(points, WIDTH, HEIGHT, stride, sigma, peak=peak)
    assert maps.amax() <= 1.0
    found = codec.decode(maps, stride, sigma, peak=peak)
    assert (found.positions.double() - points).norm(dim=-1).max() < 0.05


def test_round_trip_of_belief_narrower_than_a_cell() -> None:
    points = everywhere(400)
    found = codec.decode(codec.encode(points, WIDTH, HEIGHT, 4, 0.6), 4, 0.6)
    assert (found.positions.double() - points).norm(dim=-1).max() < 0.05


def test_round_trip_where_the_grid_reaches_beyond_the_image() -> None:
    """161 × 119 pixels at stride 4 are 41 × 30 cells."""
    points = torch.tensor([[[160.4, 118.4], [160.49, 0.0], [80.0, 118.49]]])
    maps = codec.encode(points, 161, 119, 4, 1.6)
    assert maps.shape[-2:] == (30, 41)
    assert (codec.decode(maps, 4, 1.6).positions - points).norm(dim=-1).max() < 0.05


def test_round_trip_in_an_image_smaller_than_the_belief() -> None:
    points = torch.tensor([[[0.4, 1.1], [5.9, 2.0], [3.0, -0.3]]])
    maps = codec.encode(points, 7, 5, 2, 3.0)
    assert (codec.decode(maps, 2, 3.0).positions - points).norm(dim=-1).max() < 0.05


def test_a_cell_centre_is_where_the_convention_puts_it() -> None:
    """At stride 4 the second cell covers pixels 4 to 7, so its centre is at 5.5."""
    assert codec.cell_centres(3, 4).tolist() == [1.5, 5.5, 9.5]
    maps = codec.encode(torch.tensor([[[5.5, 9.5]]]), 32, 32, 4, 1.0)
    assert maps.shape == (1, 1, 8, 8)
    assert (maps[0, 0] == maps.max()).nonzero().tolist() == [[2, 1]]


def test_mass_is_one_inside_even_at_the_border_and_zero_outside() -> None:
    points = torch.tensor([[[-0.5, 0.0], [0.0, 119.4], [159.6, 60.0], [80.0, -0.6], [math.nan, math.nan]]])
    mass = codec.encode(points, WIDTH, HEIGHT, 2, 1.6).sum((-2, -1))
    assert torch.allclose(mass, torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]]), atol=1e-5)
    assert codec.inside(points, WIDTH, HEIGHT).tolist() == [[True, True, False, False, False]]


def test_the_highest_of_two_peaks_wins_and_does_not_pull() -> None:
    points = torch.tensor([[[40.2, 30.7], [110.0, 90.0]]])
    maps = codec.encode(points, WIDTH, HEIGHT, 2, 1.6)
    both = 0.6 * maps[:, :1] + 0.4 * maps[:, 1:]
    found = codec.decode(both, 2, 1.6)
    assert (found.positions[0, 0] - points[0, 0]).abs().max() < 0.05


def test_covariance_grows_with_the_belief_and_follows_its_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(20000, 2, generator=generator) * torch.tensor([5.0, 1.0])
    turn = torch.tensor([[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]])
    cells = (spread @ turn.T / 2 + torch.tensor([40.0, 30.0])).round().long()
    belief = torch.zeros(60, 80)
    belief.index_put_((cells[:, 1].clamp(0, 59), cells[:, 0].clamp(0, 79)), torch.ones(len(cells)), accumulate=True)
    found = codec.decode(belief[None, None], 2, 8.0)
    expected = turn @ torch.diag(torch.tensor([25.0, 1.0])) @ turn.T
    assert torch.allclose(found.covariances[0, 0], expected, atol=1.5)
    assert found.covariances[0, 0, 0, 1] > 5


def test_the_ways_to_decode() -> None:
    """Far from the border a lone belief has its mean where its peak is; the highest cell is half a cell off at most."""
    points = torch.tensor([[[40.2, 30.7], [110.0, 90.0]]])
    maps = codec.encode(points, WIDTH, HEIGHT, 4, 4.0)
    mean = codec.decode(maps, 4, 4.0, method="mean")
    assert (mean.positions - points).abs().max() < 0.01
    # Splitting between two cells adds a sixth of a squared cell.
    assert torch.allclose(mean.covariances, (16 + 16 / 6) * torch.eye(2), atol=0.05)
    highest = codec.decode(maps, 4, 4.0, method="highest").positions
    assert torch.equal(highest, torch.tensor([[[41.5, 29.5], [109.5, 89.5]]]))
    both = 0.5 * (maps[:, :1] + maps[:, 1:])
    between = codec.decode(both, 4, 4.0, method="mean")
    assert torch.allclose(between.positions, points.mean(1, keepdim=True), atol=0.01)
    apart = points[0, 1] - points[0, 0]
    assert torch.allclose(between.covariances[0, 0, 0, 1], apart[0] * apart[1] / 4, rtol=0.01)


@pytest.mark.parametrize("peak", [False, True])
def test_several_peaks_come_with_their_scores_best_first(peak: bool) -> None:
    points = torch.tensor([[[40.2, 30.7], [110.0, 90.0], [0.3, 118.0]]])
    maps = codec.encode(points, WIDTH, HEIGHT, 4, 2.5, peak=peak)
    weights = (0.3, 0.5, 0.2)
    mixed = sum(w * maps[:, i : i + 1] for i, w in enumerate(weights))
    positions, scores = codec.peaks(mixed, 4, 2.5, 5, 0.05, peak=peak)
    assert positions.shape == (1, 1, 5, 2) and scores.shape == (1, 1, 5)
    assert (positions[0, 0, :3] - points[0, [1, 0, 2]]).abs().max() < 0.05
    assert positions[0, 0, 3:].isnan().all() and scores[0, 0, 3:].tolist() == [0.0, 0.0]
    if peak:
        assert (scores[0, 0, :3] <= torch.tensor([0.5, 0.3, 0.2])).all() and (scores[0, 0, :3] > 0.1).all()
    else:
        assert torch.allclose(scores[0, 0, :3], torch.tensor([0.5, 0.3, 0.2]), atol=0.01)
    assert codec.peaks(mixed, 4, 2.5, 2, 0.4, peak=peak)[0].isnan().all(-1).tolist() == [[[False, True]]]


def test_an_empty_map_and_a_tiny_one_have_no_more_peaks_than_cells() -> None:
    positions, scores = codec.peaks(torch.zeros(2, 1, 1, 2), 4, 1.6, 4, 0.0)
    assert positions.shape == (2, 1, 4, 2) and positions.isnan().all() and not scores.any()


@pytest.mark.parametrize("scale", [0.4, 0.5, 1.0, 1.37, 3.0])
def test_maps_of_a_resized_image_lie_right_on_the_grid_of_the_image(scale: float) -> None:
    points = torch.tensor([[[40.2, 30.7], [110.0, 90.0]]])
    size = (round(HEIGHT * scale), round(WIDTH * scale))
    factors = torch.tensor([size[1] / WIDTH, size[0] / HEIGHT])
    resized = (points + 0.5) * factors - 0.5
    maps = codec.resample(
        codec.encode(resized, size[1], size[0], 4, 8.0 * scale), (30, 40), (size[0] / HEIGHT, size[1] / WIDTH)
    )
    assert maps.shape == (1, 2, 30, 40)
    found = codec.decode(maps, 4, 8.0)
    assert (found.positions - points).abs().max() < 0.1
