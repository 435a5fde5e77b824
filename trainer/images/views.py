# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of images, as a network sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

FILLED = 0.6
"""Share of the closer crop's width or height that the found keypoints take up."""

WORTH_IT = 0.85
"""A crop of more of the image than this is not worth a pass."""

LEAST_FOUND = 2
"""Keypoints that say where to crop."""

Size = tuple[int, int]
"""Width and height, pixels."""


@dataclass(frozen=True)
class Views:
    """Parts of images, as the network sees them.

    Attributes:
        to_image: from pixels of the view to pixels of the image, ``(B, 2, 3)``.
    """

    to_image: Tensor

    def __len__(self) -> int:
        return len(self.to_image)

    def points_to_image(self, points: Tensor) -> Tensor:
        """``(B, J, 2)`` pixels of the views to pixels of the images."""
        matrix = self.to_image.to(points.dtype)
        return points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]

    def points_to_view(self, points: Tensor) -> Tensor:
        """Inverse of :meth:`points_to_image`."""
        matrix = self.to_image.to(points.dtype)
        back: Tensor = (points - matrix[:, None, :, 2]) @ torch.linalg.inv(matrix[:, :, :2]).transpose(1, 2)
        return back

    def covariances_to_image(self, covariances: Tensor) -> Tensor:
        """``(B, J, 2, 2)`` pixels² likewise."""
        turn = self.to_image[:, None, :, :2].to(covariances.dtype)
        return turn @ covariances @ turn.transpose(-1, -2)

    def of(self, inner: Tensor) -> Views:
        """These views after another change of pixels ``(B, 2, 3)``, from the final view's to this view's."""
        linear, offset = self.to_image[:, :, :2], self.to_image[:, :, 2:]
        return Views(torch.cat([linear @ inner[:, :, :2], linear @ inner[:, :, 2:] + offset], 2))

    def __getitem__(self, rows: Tensor) -> Views:
        return Views(self.to_image[rows])


def boxes(corner: Tensor, extent: Tensor, view: Size) -> Views:
    """Upright rectangles of images as views of size ``view``.

    Args:
        corner: upper left, ``(B, 2)``, pixels of the image counted from its edge.
        extent: width and height, ``(B, 2)``.
    """
    scale = extent / torch.tensor(view, dtype=extent.dtype, device=extent.device)
    offset = corner + 0.5 * scale - 0.5  # from edges to centres of pixels
    return Views(torch.cat([torch.diag_embed(scale), offset[..., None]], 2))


def whole(count: int, image: Size, view: Size, device: torch.device | None = None) -> Views:
    """Whole images, ``count`` times."""
    extent = torch.tensor(image, dtype=torch.float32, device=device).expand(count, 2)
    return boxes(torch.zeros_like(extent), extent, view)


def around(
    points: Tensor, counted: Tensor, image: Size, view: Size,
    zoom: Tensor | float = 1.0, shift: Tensor | float = 0.0,
) -> tuple[Views, Tensor]:  # fmt: skip
    """The part of each image around its keypoints: with no finer pixels than the image's, and not beyond its border.

    Args:
        points: pixels of the images ``(B, J, 2)``.
        counted: which of them say where the robot is, ``(B, J)``.
        zoom: makes the part so many times as large, ``(B,)``.
        shift: moves its middle, in shares of its size, ``(B, 2)``.

    Returns:
        The views, and for which images they are worth it ``(B,)``; the others' are whole.
    """
    size = torch.tensor(image, dtype=torch.float32, device=points.device)
    found = points.float() + 0.5
    low = torch.where(counted[..., None], found, math.inf).amin(1)
    high = torch.where(counted[..., None], found, -math.inf).amax(1)
    enough = counted.sum(1) >= LEAST_FOUND
    low, high = (torch.where(enough[:, None], edge, 0.0) for edge in (low, high))
    finest = torch.tensor([view[0] / image[0], view[1] / image[1]], device=points.device).amax()
    share = ((high - low) / size / FILLED).amax(1) * zoom
    share = share.clamp_min(float(finest)).clamp_max(1.0)
    share = torch.where(enough, share, 1.0)
    extent = share[:, None] * size
    corner = (low + high) / 2 + shift * extent - extent / 2
    corner = torch.minimum(corner.clamp_min(0.0), size - extent)
    return boxes(corner, extent, view), share < WORTH_IT


def sample(images: Tensor, views: Views, view: Size) -> Tensor:
    """What the views show of images ``(B, C, H, W)``, ``(B, C, h, w)``; beyond the border it is like the border."""
    _, _, height, width = images.shape
    across, down = view
    matrix = views.to_image.to(images)
    linear, offset = matrix[:, :, :2], matrix[:, :, 2:]
    # grid_sample counts in halves of the image's size, from its middle.
    half_in = torch.tensor([2 / width, 2 / height], device=images.device).view(1, 2, 1)
    half_out = torch.tensor([across / 2, down / 2], device=images.device)
    middle = torch.tensor([(across - 1) / 2, (down - 1) / 2], device=images.device).view(1, 2, 1)
    theta = torch.cat([linear * half_in * half_out, half_in * (linear @ middle + offset + 0.5) - 1], 2)
    result = images.new_empty(len(images), images.shape[1], down, across)
    level = _levels(linear)
    for k in sorted(set(level.tolist())):
        rows = torch.nonzero(level == k).flatten()
        chosen = images if len(rows) == len(images) else images[rows]
        if k:
            small = (max(1, height >> int(k)), max(1, width >> int(k)))
            chosen = F.interpolate(chosen, small, mode="area")
        grid = F.affine_grid(theta[rows], [len(rows), images.shape[1], down, across], align_corners=False)
        seen = F.grid_sample(chosen, grid, mode="bilinear", padding_mode="border", align_corners=False)
        if len(rows) == len(images):
            return seen
        result[rows] = seen
    return result


def _levels(linear: Tensor) -> Tensor:
    """How often each image is to be halved first, so that no pixel is passed over, ``(B,)``."""
    scale = torch.linalg.det(linear.float()).abs().sqrt()
    return torch.ceil(torch.log2(scale / 1.5)).clamp_min(0).long()
