# SPDX-License-Identifier: GPL-3.0-or-later
"""Two passes over an image: the whole of it, small, and then a crop around the robot, closer.

A network of a given cost sees the robot with up to ``1 / coarse_scale`` times as many pixels in each direction as in
the whole picture. The same network makes both passes; in training the crop is around the true keypoints, roughly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...core.robot.visibility import SURE
from ..images.views import Size, Views, around, sample, whole
from ..maps.codec import Points, inside
from .base import Beliefs, KeypointNetwork, Output, normalise
from .multi_scale import beliefs_over_scales


@dataclass(frozen=True)
class Found:
    """Keypoints in pixels of the images.

    Attributes:
        positions: ``(B, J, 2)``.
        covariances: ``(B, J, 2, 2)``.
        inside: belief that each keypoint lies inside the image, ``(B, J)``.
        near: belief that it lies near its position and not elsewhere in the image, ``(B, J)``; one where the network
            does not tell.
    """

    positions: Tensor
    covariances: Tensor
    inside: Tensor
    near: Tensor

    @property
    def confidences(self) -> Tensor:
        """Belief that each keypoint lies inside the image and near its position, ``(B, J)``."""
        return self.inside * self.near


@dataclass(frozen=True)
class Pass:
    """One pass over some of the images: which ones ``(b,)``, what part of each, what the network said, and its belief
    maps, which may be averages over scales."""

    rows: Tensor
    views: Views
    output: Output
    beliefs: Beliefs


Answer = Callable[[Tensor], tuple[Output, Beliefs, Points]]
"""From images to what the network says of them."""


def answered(
    network: KeypointNetwork, images: Tensor, scales: Sequence[float] = (1.0,),
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Output, Beliefs, Points]:  # fmt: skip
    """What the network says of images ``(B, 3, H, W)`` in 0 … 1, its belief maps, and the keypoints in their pixels."""
    pixels = normalise(images).contiguous(memory_format=torch.channels_last)
    with autocast():
        output = network(pixels)
    beliefs = network.beliefs(output) if tuple(scales) == (1.0,) else beliefs_over_scales(network, pixels, scales)
    return output, beliefs, network.locate(beliefs.maps)


@torch.no_grad()
def find_keypoints(
    network: KeypointNetwork, images: Tensor, view: Size, scales: Sequence[float] = (1.0,), *, closer: bool = True,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext, answer: Answer | None = None,
) -> tuple[Found, list[Pass]]:  # fmt: skip
    """Keypoints of images ``(B, 3, H, W)`` in 0 … 1: from the whole of each, and where they are larger than ``view``
    and it is worth it, once more from the part with the robot.

    Args:
        view: size of the network's input.
        scales: see :func:`.multi_scale.beliefs_over_scales`.
        closer: whether to make the second pass.
        autocast: what the network computes in.
        answer: stands in for :func:`answered` where ``scales`` are 1 alone: the same, recorded as a graph.
    """
    height, width = images.shape[-2:]
    at_once = answer if answer is not None and tuple(scales) == (1.0,) else partial(
        answered, network, scales=scales, autocast=autocast)  # fmt: skip

    def once(rows: Tensor, views: Views) -> tuple[Found, Pass]:
        chosen = images if len(rows) == len(images) else images[rows]
        seen = chosen if (width, height) == view else sample(chosen, views, view)
        output, beliefs, points = at_once(seen)
        positions, covariances = views.points_to_image(points.positions), views.covariances_to_image(points.covariances)
        near = points.masses.clamp_max(1.0) if network.is_distribution else torch.ones_like(points.masses)
        return Found(positions, covariances, beliefs.confidence, near), Pass(rows, views, output, beliefs)

    rows = torch.arange(len(images), device=images.device)
    found, first = once(rows, whole(len(images), (width, height), view, images.device))
    if not closer or (width, height) == view:
        return found, [first]
    counted = (found.inside >= SURE) & inside(found.positions, width, height)
    views, worth = around(found.positions, counted, (width, height), view)
    rows = torch.nonzero(worth).flatten()
    if not len(rows):
        return found, [first]
    closer_found, second = once(rows, views[rows])
    return _joined(found, closer_found, second, view), [first, second]


def _joined(first: Found, second: Found, closer: Pass, view: Size) -> Found:
    """The closer pass's answers for the keypoints that it shows, the first one's for the others."""
    rows, views = closer.rows, closer.views
    shown = (second.inside >= SURE) & inside(views.points_to_view(second.positions), *view)
    positions, covariances, within, near = (
        t.clone() for t in (first.positions, first.covariances, first.inside, first.near)
    )  # fmt: skip
    positions[rows] = torch.where(shown[..., None], second.positions, first.positions[rows])
    covariances[rows] = torch.where(shown[..., None, None], second.covariances, first.covariances[rows])
    near[rows] = torch.where(shown, second.near, first.near[rows])
    there = inside(views.points_to_view(first.positions[rows]), *view)
    both = (first.inside[rows] + second.inside) / 2
    within[rows] = torch.where(there, both, first.inside[rows])
    return Found(positions, covariances, within, near)
