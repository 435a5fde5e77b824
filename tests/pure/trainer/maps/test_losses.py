# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses: zero where all is learned, larger where it is not, and weighted by what hides a keypoint."""

from __future__ import annotations

import math

import pytest
import torch
from robot_keypoints.trainer.maps import codec, losses

WIDTH, HEIGHT, STRIDE, SIGMA = 64, 48, 4, 4.0
KEYPOINTS = torch.tensor([[[20.3, 30.1], [-5.0, 3.0], [40.0, 10.0]], [[1.0, 0.2], [50.0, 40.0], [math.nan, math.nan]]])
INSIDE = torch.tensor([[True, False, True], [True, True, False]])
BEYOND = torch.where(INSIDE, -40.0, 40.0)


def perfect(loss: str) -> torch.Tensor:
    """Logits of the targets themselves."""
    maps = codec.encode(KEYPOINTS, WIDTH, HEIGHT, STRIDE, SIGMA, peak=loss in losses.MAP_LOSSES)
    if loss in losses.MAP_LOSSES:
        return torch.logit(maps.clamp(1e-9, 1 - 1e-9))
    return torch.log(maps.clamp_min(1e-12))


def of(
    loss: str, *stages: torch.Tensor, outside: torch.Tensor | None = BEYOND, weights: torch.Tensor | None = None
) -> torch.Tensor:
    return losses.stage_losses(loss, stages, outside, KEYPOINTS, WIDTH, HEIGHT, STRIDE, SIGMA, weights)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_nothing_left_to_learn_costs_nothing(loss: str) -> None:
    found = of(loss, perfect(loss))
    assert found.shape == (1, 2)
    assert found.abs().max() < 2e-3


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_the_wrong_place_costs_more_the_wrong_way_round(loss: str) -> None:
    right = perfect(loss)
    assert (of(loss, right.flip(-1)) > of(loss, right) + 0.1).all()


@pytest.mark.parametrize("loss", losses.DISTRIBUTION_LOSSES)
def test_taking_a_keypoint_outside_for_one_inside_costs(loss: str) -> None:
    assert (of(loss, perfect(loss), outside=-BEYOND) > 5).all()


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_each_stage_and_each_keypoint_has_its_share(loss: str) -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = (torch.randn(2, 3, 12, 16, generator=generator) for _ in range(2))
    both = of(loss, a, b)
    assert both.shape == (2, 2)
    assert torch.allclose(both[0], of(loss, a)[0]) and torch.allclose(both[1], of(loss, b)[0])
    alone = [of(loss, a, weights=torch.eye(3)[j].expand(2, 3)) for j in range(3)]
    assert torch.allclose(sum(alone), of(loss, a), rtol=1e-5)
    assert torch.equal(of(loss, a, weights=torch.zeros(2, 3)), torch.zeros(1, 2))


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_descent_finds_the_keypoints(loss: str) -> None:
    """The gradients of free maps lead to maps that decode to the keypoints, and to the right confidence."""
    logits = torch.zeros(2, 3, 12, 16)
    logits = (logits - 4 if loss in losses.MAP_LOSSES else logits).requires_grad_()
    outside = torch.zeros(2, 3, requires_grad=True)
    optimiser = torch.optim.Adam([logits, outside], lr=0.2)
    for _ in range(150):
        optimiser.zero_grad()
        of(loss, logits, outside=outside).sum().backward()
        optimiser.step()
    maps = losses.squash(loss, logits.detach())
    peak = loss in losses.MAP_LOSSES
    method = "mean" if loss == "coordinates" else "local"
    found = codec.decode(maps, STRIDE, SIGMA, peak=peak, method=method).positions
    assert ((found - KEYPOINTS).norm(dim=-1)[INSIDE] < 0.5).all()
    confidence = losses.confidence(loss, logits.detach(), None if peak else outside.detach())
    assert torch.equal(confidence > 0.3, INSIDE)


def test_the_sum_is_the_sum() -> None:
    """Of the cross-entropy and the coordinates' distance; where each keypoint is outside, there is no distance."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(2, 3, 12, 16, generator=generator)
    known = torch.full((2, 3), -40.0)
    # With keypoints known to be inside, the coordinates' loss is all distance.
    weights = INSIDE.float()
    parts = [of(loss, maps, outside=known, weights=weights) for loss in ("cross_entropy", "coordinates")]
    assert torch.allclose(of("sum", maps, outside=known, weights=weights), parts[0] + parts[1], rtol=1e-4)


def test_smooth_l1_forgives_gross_errors_sooner() -> None:
    """Squares below the bend, lines above: the ratio of a gross to a small error is smaller than for L2."""
    right = perfect("l2")
    small, gross = right + 0.3, right.flip(-1)
    ratio = {loss: (of(loss, gross) / of(loss, small)).mean() for loss in losses.MAP_LOSSES}
    assert ratio["smooth_l1"] < 0.7 * ratio["l2"]


def test_hidden_keypoints_weigh_what_the_user_says() -> None:
    visibility = torch.tensor([[0, 1, 2]])
    assert losses.weights_of(visibility, 1.0) is None
    weights = losses.weights_of(visibility, 0.25)
    assert weights is not None and weights.tolist() == [[1.0, 0.25, 1.0]]
