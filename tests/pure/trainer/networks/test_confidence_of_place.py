# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure a keypoint is depends on whether the belief lies at one place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from robot_keypoints.trainer.maps import codec
from robot_keypoints.trainer.maps.codec import Points
from robot_keypoints.trainer.networks import factory, two_passes
from robot_keypoints.trainer.networks.base import Beliefs
from robot_keypoints.trainer.networks.factory import NetworkConfig, Output
from torch import Tensor

VIEW, STRIDE, SIGMA = (160, 120), 4, 1.6
INSIDE, OUTSIDE = -20.0, 20.0
"""Logits of "outside the image"."""

Blobs = list[tuple[float, float, float]]
"""``(u, v, mass)`` of what one keypoint's map holds, pixels of the view."""


def belief_map(blobs: Blobs) -> Tensor:
    """``(h, w)``."""
    maps = [m * codec.encode(torch.tensor([[[u, v]]]), *VIEW, STRIDE, SIGMA)[0, 0] for u, v, m in blobs]
    return torch.stack(maps).sum(0)


def found(
    passes: Sequence[tuple[list[Blobs], list[float]]], loss: str = "cross_entropy", size: tuple[int, int] = VIEW
) -> two_passes.Found:
    """Of a picture of ``size``, of which a network says in each pass where two keypoints are and its logits of
    "outside the image"."""
    network = factory.build(NetworkConfig("light", 2, SIGMA, stride=STRIDE, loss=loss, width=8)).eval()
    script = iter(passes)

    def answer(images: Tensor) -> tuple[Output, Beliefs, Points]:
        assert tuple(images.shape) == (1, 3, VIEW[1], VIEW[0])
        keypoints, outside = next(script)
        logits = torch.log(torch.stack([belief_map(blobs) for blobs in keypoints]) + 1e-9)[None]
        output = Output((logits,), torch.tensor([outside]) if network.is_distribution else None)
        beliefs = network.beliefs(output)
        return output, beliefs, network.locate(beliefs.maps)

    result, taken = two_passes.find_keypoints(network, torch.zeros(1, 3, size[1], size[0]), VIEW, answer=answer)
    assert len(taken) == len(passes)
    return result


def test_who_wavers_between_places_is_sure_of_none() -> None:
    one = [(40.0, 30.0, 1.0)]
    two = [(40.0, 30.0, 0.6), (120.0, 90.0, 0.4)]
    answer = found([([one, two], [INSIDE, INSIDE])])
    torch.testing.assert_close(answer.positions[0].float(), torch.tensor([[40.0, 30.0]] * 2), atol=0.2, rtol=0)
    assert answer.inside.min() > 0.999
    assert answer.confidences[0].tolist() == pytest.approx([1.0, 0.6], abs=0.01)


def test_what_is_outside_is_not_sure_however_narrow_its_map() -> None:
    one = [(40.0, 30.0, 1.0)]
    answer = found([([one, one], [2.0, INSIDE])])
    assert answer.confidences[0].tolist() == pytest.approx([torch.sigmoid(torch.tensor(-2.0)).item(), 1.0], abs=0.01)


@pytest.mark.parametrize("loss", ["l2", "coordinates"])
def test_maps_that_are_no_distribution_of_places_do_not_tell(loss: str) -> None:
    two = [(40.0, 30.0, 0.6), (120.0, 90.0, 0.4)]
    answer = found([([two, two], [INSIDE, INSIDE])], loss)
    assert answer.near.tolist() == [[1.0, 1.0]] and torch.equal(answer.confidences, answer.inside)


def test_the_closer_pass_tells_of_the_keypoints_that_it_shows() -> None:
    """Of the others the first one does; that the keypoint is inside, both tell."""
    first = [[(60.0, 50.0, 0.6), (120.0, 90.0, 0.4)], [(80.0, 60.0, 0.7), (20.0, 20.0, 0.3)]]
    second = [[(70.0, 52.0, 0.9), (20.0, 20.0, 0.1)], [(100.0, 70.0, 1.0)]]
    answer = found([(first, [INSIDE, INSIDE]), (second, [INSIDE, OUTSIDE])], size=(320, 240))
    assert answer.near[0].tolist() == pytest.approx([0.9, 0.7], abs=0.01)
    assert answer.inside[0].tolist() == pytest.approx([1.0, 0.5], abs=0.01)
    assert answer.confidences[0].tolist() == pytest.approx([0.9, 0.35], abs=0.01)
    torch.testing.assert_close(answer.positions[0, 1].float(), torch.tensor([160.5, 120.5]), atol=0.4, rtol=0)


def test_who_wavers_looks_closer_all_the_same() -> None:
    """Or the second pass would be missing where it helps most."""
    wavers = [[(60.0, 50.0, 0.4), (120.0, 90.0, 0.3), (20.0, 90.0, 0.3)], [(80.0, 60.0, 0.4), (20.0, 20.0, 0.35)]]
    certain = [[(70.0, 52.0, 1.0)], [(100.0, 70.0, 1.0)]]
    answer = found([(wavers, [INSIDE, INSIDE]), (certain, [INSIDE, INSIDE])], size=(320, 240))
    assert answer.confidences.min() > 0.99
