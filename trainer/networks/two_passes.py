# SPDX-License-Identifier: GPL-3.0-or-later
"""Two passes over an image: the whole of it, small, and then a crop around the robot, closer.

A network of a given cost sees the robot with up to ``1 / coarse_scale`` times as many pixels in each direction as in
the whole picture. The same network makes both passes; in training the crop is around the true keypoints, roughly.

What is hidden has no evidence of its own, and something far away may look like it. So before the second pass, where
there is time for it, parts of the image around the surest keypoint are looked at as well, which leave such things out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...core.robot.visibility import SURE
from ..images.views import Size, Views, around, boxes, sample, whole
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
class Inspection:
    """How thoroughly an image is looked at.

    Attributes:
        scales: sizes of the closer crop whose belief maps are averaged, or of the whole image where it is worth no
            crop; see :func:`.multi_scale.beliefs_over_scales`.
        search: likewise of what is looked at before, the whole image and its parts.
        parts: sizes of the parts around the surest keypoint that are looked at besides the whole image, as shares of
            its width and height. The closer crop is around what the surest of them shows.
    """

    scales: Sequence[float] = (1.0,)
    search: Sequence[float] = (1.0,)
    parts: Sequence[float] = ()

    @classmethod
    def averaged(cls, scales: Sequence[float]) -> Inspection:
        """Both passes in the same sizes, and nothing else."""
        return cls(scales, scales)


ONCE = Inspection()
"""One size and two passes, as in training."""

MOVING = Inspection(parts=(0.65,))
"""For videos, cameras and the viewport: half as long again."""

STILL = Inspection((0.7, 0.85, 1.0, 1.15), (0.8, 1.0), (0.5, 0.75))
"""For single pictures: five times as long. In larger sizes robots are nearer than in training, and joints are taken for
one another."""


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
    return output, beliefs, network.locate(beliefs.maps, scale=min(scales))


@torch.no_grad()
def find_keypoints(
    network: KeypointNetwork, images: Tensor, view: Size, inspection: Inspection = ONCE, *, closer: bool = True,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext, answer: Answer | None = None,
) -> tuple[Found, list[Pass]]:  # fmt: skip
    """Keypoints of images ``(B, 3, H, W)`` in 0 … 1: from the whole of each, and where they are larger than ``view``
    and it is worth it, once more from the part with the robot.

    Args:
        view: size of the network's input.
        inspection: how thoroughly; parts are looked at only with ``closer``.
        closer: whether to make the second pass.
        autocast: what the network computes in.
        answer: stands in for :func:`answered` where scales are 1 alone: the same, recorded as a graph.

    Returns:
        What was found, the pass over the whole images and, where it was made, the closer one.
    """
    height, width = images.shape[-2:]

    def once(rows: Tensor, views: Views, scales: Sequence[float]) -> tuple[Found, Pass]:
        chosen = images if len(rows) == len(images) else images[rows]
        seen = chosen if (width, height) == view else sample(chosen, views, view)
        at_once = answer if answer is not None and tuple(scales) == (1.0,) else partial(
            answered, network, scales=scales, autocast=autocast)  # fmt: skip
        output, beliefs, points = at_once(seen)
        positions, covariances = views.points_to_image(points.positions), views.covariances_to_image(points.covariances)
        near = points.masses.clamp_max(1.0) if network.is_distribution else torch.ones_like(points.masses)
        return Found(positions, covariances, beliefs.confidence, near), Pass(rows, views, output, beliefs)

    rows = torch.arange(len(images), device=images.device)
    alone = not closer or (width, height) == view
    scales = inspection.scales if alone else inspection.search
    found, first = once(rows, whole(len(images), (width, height), view, images.device), scales)
    if alone:
        return found, [first]
    parts = [part(found, (width, height), view, share) for share in inspection.parts]
    found = surest([found, *(once(rows, views, inspection.search)[0] for views in parts)])
    counted = (found.inside >= SURE) & inside(found.positions, width, height)
    views, worth = around(found.positions, counted, (width, height), view)
    # Where a crop isn't, the view is whole, and worth it in other sizes.
    rows = torch.nonzero(worth | (tuple(inspection.scales) != tuple(inspection.search))).flatten()
    if not len(rows):
        return found, [first]
    closer_found, second = once(rows, views[rows], inspection.scales)
    return _joined(found, closer_found, second, view), [first, second]


def part(found: Found, image: Size, view: Size, share: float) -> Views:
    """The part of each image around its surest keypoint, with no finer pixels than the image's.

    Args:
        share: its width and height, as a share of the image's.
    """
    rows = torch.arange(len(found.positions), device=found.positions.device)
    anchor = found.positions[rows, found.confidences.argmax(1)].float() + 0.5
    size = torch.tensor(image, dtype=torch.float32, device=anchor.device)
    finest = max(view[0] / image[0], view[1] / image[1])
    extent = (size * min(max(share, finest), 1.0)).expand(len(rows), 2)
    return boxes(torch.minimum((anchor - extent / 2).clamp_min(0.0), size - extent), extent, view)


def surest(candidates: Sequence[Found]) -> Found:
    """Of several answers for the same images that whose keypoints are surest together, image by image."""
    best = torch.stack([c.confidences.sum(1) for c in candidates]).argmax(0)
    rows = torch.arange(len(best), device=best.device)

    def taken(values: list[Tensor]) -> Tensor:
        return torch.stack(values)[best, rows]

    return Found(
        taken([c.positions for c in candidates]), taken([c.covariances for c in candidates]),
        taken([c.inside for c in candidates]), taken([c.near for c in candidates]),
    )  # fmt: skip


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
