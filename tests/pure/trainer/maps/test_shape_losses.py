# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervision of the maps' width and range: nothing where they are the target's, more the further they are off."""

from __future__ import annotations

import math

import pytest
import torch
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.maps import codec, losses
from robot_keypoints.trainer.maps.shape_losses import range_losses, width_losses
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.factory import Output
from robot_keypoints.trainer.training.objective import Objective
from torch import Tensor

WIDTH, HEIGHT, STRIDE, SIGMA = 96, 64, 4, 4.0
KEYPOINTS = torch.tensor([[[20.3, 30.1], [60.0, 40.0], [-9.0, 3.0]]])
KINDS = ("cross_entropy", "l2")


def target(loss: str, sigma: float = SIGMA, shift: float = 0.0) -> Tensor:
    return codec.encode(KEYPOINTS + shift, WIDTH, HEIGHT, STRIDE, sigma, peak=loss in losses.MAP_LOSSES)


def logits(loss: str, maps: Tensor) -> Tensor:
    return torch.logit(maps.clamp(1e-7, 1 - 1e-6)) if loss in losses.MAP_LOSSES else maps.clamp_min(1e-9).log()


@pytest.mark.parametrize("loss", KINDS)
def test_the_targets_own_shape_costs_nothing_wherever_it_is(loss: str) -> None:
    wanted = target(loss)
    for shift in (0.0, 8.0):
        shown = logits(loss, target(loss, shift=shift))
        assert width_losses(loss, shown, wanted, STRIDE)[:, :2].max() < 1e-2
        assert range_losses(loss, shown, wanted).max() < 1e-2


@pytest.mark.parametrize("loss", KINDS)
def test_maps_cost_the_more_the_wider_or_the_narrower_they_are(loss: str) -> None:
    wanted = target(loss)
    costs = {s: width_losses(loss, logits(loss, target(loss, sigma=s)), wanted, STRIDE)[:, :2] for s in (2.5, 6.0, 9.0)}
    assert costs[2.5].min() > 0.03 and (costs[9.0] > costs[6.0] + 0.1).all() and costs[6.0].min() > 0.03


@pytest.mark.parametrize("loss", KINDS)
def test_maps_cost_the_more_the_higher_or_the_lower_they_are(loss: str) -> None:
    wanted = target(loss)
    low, lower = (range_losses(loss, logits(loss, share * wanted + 1e-4), wanted) for share in (0.7, 0.3))
    if loss == "l2":
        assert (lower > low + 0.1)[:, :2].all() and low[:, :2].min() > 0.03
    else:
        narrow, wide = (range_losses(loss, logits(loss, target(loss, sigma=s)), wanted) for s in (2.5, 9.0))
        assert narrow[:, :2].min() > 0.1 and wide[:, :2].min() > 0.3
    # Of a keypoint outside there is no shape.
    assert low[0, 2] == width_losses(loss, logits(loss, wanted), wanted, STRIDE)[0, 2] == 0


def test_their_ratio_is_squared_where_it_is_small_and_bent_where_it_is_large() -> None:
    wanted = target("l2")
    flat = torch.full_like(wanted, 4.0)
    assert width_losses("l2", flat, wanted, STRIDE)[:, :2].max() < 3.0  # of some six times the width
    found = torch.zeros_like(wanted).requires_grad_()
    (
        width_losses("cross_entropy", found, wanted, STRIDE) + range_losses("cross_entropy", found, wanted)
    ).sum().backward()
    assert found.grad is not None and found.grad.isfinite().all() and found.grad.abs().max() < 2.0


def test_the_objective_adds_what_the_settings_weigh() -> None:
    config = factory.NetworkConfig("light", 3, SIGMA, width=8, loss="cross_entropy")
    torch.manual_seed(0)
    net = factory.build(config)
    output = Output((torch.randn(1, 3, HEIGHT // net.stride, WIDTH // net.stride),), torch.zeros(1, 3))
    plain = Objective(net, TrainingSettings(pose_weight=0.0))
    assert plain.extras == ()
    both = Objective(net, TrainingSettings(pose_weight=0.0, width_weight=0.5, range_weight=2.0))
    assert both.extras == ("width", "range")
    rows = both(output, KEYPOINTS, None, (WIDTH, HEIGHT), 0.0)
    maps = plain(output, KEYPOINTS, None, (WIDTH, HEIGHT), 0.0)
    assert maps.shape == (1, 1) and rows.shape == (3, 1) and torch.equal(rows[:1], maps)
    assert rows[1:].min() > 0.05
    expected = maps[0] + 0.5 * rows[1] + 2.0 * rows[2]
    assert torch.allclose(both.total(rows, 0.0), expected)
    nothing = both(output, KEYPOINTS, torch.zeros(1, 3), (WIDTH, HEIGHT), 0.0)
    assert torch.equal(nothing, torch.zeros(3, 1))
    assert math.isfinite(float(both.total(rows, 1.0)))
