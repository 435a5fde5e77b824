# SPDX-License-Identifier: GPL-3.0-or-later
"""Belief-map codec: keypoints in pixels to maps at a network's stride, and back, to a fraction of a pixel.

Cell ``i`` of a map with stride ``s`` has its centre at pixel ``s·i + (s - 1)/2``: it covers pixels ``s·i`` to
``s·i + s - 1``. A keypoint outside the image area, or NaN (behind the camera), has an empty map.

Maps come in two kinds. Those of mass one are beliefs where a keypoint is; ``peak`` stands for those of height one at
the keypoint [Heindl2019, III-A].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

METHODS = ("local", "mean", "highest")
"""Ways to decode; see :func:`decode`."""

FINE = 32
"""Positions per cell at which the codec's own error is tabulated."""

LEVEL = 1e-10
"""Means that differ by less, in pixels, are the same."""


@dataclass(frozen=True)
class Points:
    """Decoded keypoints, in pixels of the network's input.

    Attributes:
        positions: (u, v), ``(B, J, 2)``.
        covariances: second moments of the belief around them, pixels², ``(B, J, 2, 2)``.
        peaks: highest value of each map, ``(B, J)``.
        masses: the belief that lies around the peak, ``(B, J)``: of a map of mass one, its share of the map. One where
            the whole map counts.
    """

    positions: Tensor
    covariances: Tensor
    peaks: Tensor
    masses: Tensor


def grid_size(pixels: int, stride: int) -> int:
    """Cells along an edge of ``pixels`` pixels."""
    return -(-pixels // stride)


def cell_centres(count: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Pixel coordinate of each cell's centre along one axis, ``(count,)`` float64."""
    return torch.arange(count, dtype=torch.float64, device=device) * stride + (stride - 1) / 2


def inside(keypoints: Tensor, width: int, height: int, margin: float = 0.0) -> Tensor:
    """Whether each keypoint ``(…, 2)`` lies in the image area, or at most ``margin`` pixels outside; NaN does not.
    Boolean ``(…)``.
    """
    u, v = keypoints[..., 0], keypoints[..., 1]
    low, right, bottom = -0.5 - margin, width - 0.5 + margin, height - 0.5 + margin
    return (u >= low) & (u < right) & (v >= low) & (v < bottom)


def encode(
    keypoints: Tensor, width: int, height: int, stride: int, sigma: float, *, peak: bool = False, margin: float = 0.0
) -> Tensor:
    """Gaussian targets with sub-pixel centres.

    Args:
        keypoints: pixels ``(B, J, 2)``.
        sigma: standard deviation, pixels.
        peak: height 1 at the keypoint [Heindl2019, III-A] instead of a total mass of 1. Samples of a Gaussian narrower
            than a quarter of a cell no longer tell where it is.
        margin: how far outside the image a keypoint may lie, pixels, and still leave its Gaussian's flank in the map.
            With a margin, maps of mass one are samples of a Gaussian as well, which a curve fits exactly.

    Returns:
        ``(B, J, H, W)`` float32, all zero for keypoints further outside.
    """
    within = inside(keypoints, width, height, margin)
    points = torch.where(within[..., None], keypoints, 0.0).double()
    axis = _gaussian if peak or margin > 0 else _spread
    across = axis(_distances(points[..., 0], grid_size(width, stride), stride), stride, sigma)
    down = axis(_distances(points[..., 1], grid_size(height, stride), stride), stride, sigma)
    if not peak:
        across = across / across.sum(-1, keepdim=True)
        down = down / down.sum(-1, keepdim=True)
    down = down * within[..., None]
    return (down[..., :, None] * across[..., None, :]).float()


def _distances(centre: Tensor, count: int, stride: int) -> Tensor:
    """From each point to the cells' centres along one axis, pixels ``(…, count)``."""
    return cell_centres(count, stride, centre.device) - centre[..., None]


def _gaussian(distance: Tensor, stride: int, sigma: float) -> Tensor:
    return torch.exp(-0.5 * (distance / sigma) ** 2)


def _spread(distance: Tensor, stride: int, sigma: float) -> Tensor:
    """Share of a Gaussian's mass for each cell, every point's mass split linearly between its two nearest cells.

    Linear splitting keeps the mean exact however narrow the Gaussian is; sampling or integrating it does not. The
    share is the second difference of the Gaussian's twice integrated density.
    """

    def twice_integrated(z: Tensor) -> Tensor:
        density = torch.exp(-0.5 * (z / sigma) ** 2) / math.sqrt(2 * math.pi)
        below: Tensor = torch.special.ndtr(z / sigma)
        return z * below + sigma * density

    # The second difference of values near zero keeps their digits; of large ones it would not.
    distance = -distance.abs()
    difference = (
        twice_integrated(distance + stride) - 2 * twice_integrated(distance) + twice_integrated(distance - stride)
    )
    return (difference / stride).clamp_min(0.0)


def decode(maps: Tensor, stride: int, sigma: float, *, peak: bool = False, method: str = "local") -> Points:
    """One keypoint for each map.

    Args:
        maps: ``(B, J, H, W)``, not negative.
        sigma: the targets' standard deviation, pixels.
        peak: whether the maps are of height one; see :func:`encode`.
        method: ``local`` takes the mean of the belief around the highest peak, less what this mean is off for a perfect
            map; ``highest`` the centre of the peak's cell [Heindl2019, IV]; ``mean`` the mean of the whole map
            (soft-argmax), likewise, and the covariance is that of the whole map.

    The peak is the cell whose neighbourhood of 3 × 3 holds most belief, which for one robot is what non-maximum
    suppression and choosing the best survivor come to.

    Raises:
        ValueError: if there is no such method.
    """
    if method not in METHODS:
        raise ValueError(f"no such way to decode: {method}")
    maps = maps.float()
    highest = maps.flatten(2).amax(-1)
    if method == "mean":
        positions, covariances = moments(maps, stride)
        straight = _straighten(positions.double(), maps.shape[-2:], stride, sigma, peak)
        return Points(straight, covariances, highest, torch.ones_like(highest))
    cells = smooth(maps).flatten(2).argmax(-1)
    positions, covariances, masses = around(maps, cells[..., None], stride, sigma)
    covariances, masses = covariances[..., 0, :, :], masses[..., 0]
    if method == "highest":
        w = maps.shape[-1]
        centre = torch.stack([cells % w, cells // w], -1).to(maps.dtype) * stride + (stride - 1) / 2
        return Points(centre, covariances, highest, masses)
    return Points(_straighten(positions[..., 0, :], maps.shape[-2:], stride, sigma, peak), covariances, highest, masses)


def peaks(
    maps: Tensor, stride: int, sigma: float, count: int, threshold: float, *, peak: bool = False
) -> tuple[Tensor, Tensor]:
    """Several keypoints for each map, as where several robots are in the image, best first.

    A peak is a cell with the highest neighbourhood within two standard deviations and a cell; each is refined as by
    :func:`decode`. Its score is the belief that lies around it, so that the scores of a map add up to one at most, or
    with ``peak`` the height of the map there.

    Args:
        count: the most to find, P.
        threshold: lowest score.

    Returns:
        Positions in pixels ``(B, J, P, 2)``, NaN where there are fewer, and scores ``(B, J, P)``, 0 there.
    """
    maps = maps.float()
    b, j, h, w = maps.shape
    whole = smooth(maps)
    reach = math.ceil(2 * sigma / stride) + 1
    best = F.max_pool2d(whole, 2 * reach + 1, stride=1, padding=reach)
    survivors = torch.where(whole == best, whole, -1.0).flatten(2)
    found = min(count, h * w)
    heights, cells = survivors.topk(found, -1)
    positions, _, mass = around(maps, cells, stride, sigma)
    positions = _straighten(positions, (h, w), stride, sigma, peak)
    near = F.max_pool2d(maps, 3, stride=1, padding=1).flatten(2).gather(2, cells)
    scores = near if peak else mass
    valid = (heights > 0) & (scores >= threshold)
    scores = torch.where(valid, scores, 0.0)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    positions = torch.where(valid[..., None], positions, math.nan).gather(2, order[..., None].expand(b, j, found, 2))
    missing = count - found
    return F.pad(positions, (0, 0, 0, missing), value=math.nan), F.pad(scores.gather(2, order), (0, missing))


def smooth(maps: Tensor) -> Tensor:
    """The mean of each cell's neighbourhood of 3 × 3, with nothing beyond the border."""
    return F.avg_pool2d(maps, 3, stride=1, padding=1)


def resample(maps: Tensor, size: tuple[int, int], scale: tuple[float, float]) -> Tensor:
    """Maps of a resized image on the grid of the image itself.

    Args:
        maps: ``(B, J, H', W')``.
        size: cells wanted, (H, W).
        scale: size of the resized image over that of the image, (down, across).

    Returns:
        ``(B, J, H, W)``: a weighted mean of the cells around each centre, of as many as lie in one cell.
    """
    rows = _mixing(size[0], maps.shape[-2], scale[0]).to(maps)
    columns = _mixing(size[1], maps.shape[-1], scale[1]).to(maps)
    return rows @ maps @ columns.T


def _mixing(wanted: int, given: int, scale: float) -> Tensor:
    """``(wanted, given)``, each row of sum one."""
    # In cells, a place is counted from the outer edge of the first one, which all scales share.
    place = (torch.arange(wanted, dtype=torch.float64) + 0.5) * scale - 0.5
    place = place.clamp(0, given - 1)
    distance = (torch.arange(given, dtype=torch.float64) - place[:, None]).abs()
    weight = (1 - distance / max(1.0, scale)).clamp_min(0.0)
    return weight / weight.sum(-1, keepdim=True)


def moments(maps: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Means ``(B, J, 2)`` and covariances ``(B, J, 2, 2)`` of whole maps, pixels."""
    h, w = maps.shape[-2:]
    share = maps / maps.sum((-2, -1), keepdim=True).clamp_min(1e-30)
    x = cell_centres(w, stride, maps.device).to(maps.dtype)
    y = cell_centres(h, stride, maps.device).to(maps.dtype)
    across, down = share.sum(-2), share.sum(-1)
    u, v = (across * x).sum(-1, keepdim=True), (down * y).sum(-1, keepdim=True)
    dx, dy = x - u, y - v
    uv = (dy[..., None, :] @ share @ dx[..., None])[..., 0]
    parts = torch.cat([(across * dx**2).sum(-1, keepdim=True), uv, uv, (down * dy**2).sum(-1, keepdim=True)], -1)
    return torch.cat([u, v], -1), parts.view(*parts.shape[:-1], 2, 2)


def radius(stride: int, sigma: float, scale: float = 1.0) -> int:
    """Cells on each side of a peak that are its own: three standard deviations, and a cell.

    Args:
        scale: the least size of the image, of which the maps are averages on this grid.
    """
    return math.ceil((3 * sigma / stride + 1) / min(scale, 1.0))


def masses(maps: Tensor, stride: int, sigma: float, scale: float) -> Tensor:
    """The belief around each map's peak, ``(B, J)``; see :func:`decode` and :func:`radius`."""
    maps = maps.float()
    cells = smooth(maps).flatten(2).argmax(-1)
    return cut(maps, cells[..., None], radius(stride, sigma, scale)).sum((-2, -1))[..., 0].float()


def cut(maps: Tensor, cells: Tensor, reach: int) -> Tensor:
    """The cells within ``reach`` of those numbered ``cells`` ``(B, J, P)``, zero beyond the border: float64
    ``(B, J, P, 2·reach + 1, 2·reach + 1)``.
    """
    h, w = maps.shape[-2:]
    offset = torch.arange(-reach, reach + 1, device=maps.device)
    rows = (cells // w)[..., None] + offset
    columns = (cells % w)[..., None] + offset
    valid = ((rows >= 0) & (rows < h))[..., :, None] & ((columns >= 0) & (columns < w))[..., None, :]
    index = rows.clamp(0, h - 1)[..., :, None] * w + columns.clamp(0, w - 1)[..., None, :]
    return maps.flatten(2).gather(2, index.flatten(2)).view(index.shape).double() * valid


def around(maps: Tensor, cells: Tensor, stride: int, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Means in pixels ``(B, J, P, 2)`` float64, covariances ``(B, J, P, 2, 2)`` and masses ``(B, J, P)`` around cells
    ``(B, J, P)``, given by their number.
    """
    # In float64: the smallest shares tell how near the border a keypoint is.
    w = maps.shape[-1]
    row, column = cells // w, cells % w
    reach = radius(stride, sigma)
    offset = torch.arange(-reach, reach + 1, device=maps.device)
    weight = cut(maps, cells, reach)
    mass = weight.sum((-2, -1))
    weight = weight / mass[..., None, None].clamp_min(1e-30)

    d = offset.to(weight.dtype)
    across, down = weight.sum(-2), weight.sum(-1)
    du, dv = (across * d).sum(-1), (down * d).sum(-1)
    uu = (across * d**2).sum(-1) - du**2
    vv = (down * d**2).sum(-1) - dv**2
    uv = (weight * d[:, None] * d[None, :]).sum((-2, -1)) - du * dv
    covariance = torch.stack([torch.stack([uu, uv], -1), torch.stack([uv, vv], -1)], -2) * stride**2
    position = torch.stack([column + du, row + dv], -1) * stride + (stride - 1) / 2
    return position, covariance.float(), mass.float()


def _straighten(
    positions: Tensor, cells: tuple[int, ...] | torch.Size, stride: int, sigma: float, peak: bool
) -> Tensor:
    """Take back what the mean around a peak is off: at the border, beyond which there are no cells, and for samples of
    a Gaussian narrower than the cells.
    """
    axes = []
    for axis, count in ((0, cells[1]), (1, cells[0])):
        at, mean = _own_error(count, stride, sigma, peak, positions.device)
        found = positions[..., axis].contiguous()
        # Where many places have the same mean, the one in the middle.
        axes.append(0.5 * (_at(found - LEVEL, at, mean) + _at(found + LEVEL, at, mean)))
    return torch.stack(axes, -1).float()


def _at(mean: Tensor, positions: Tensor, means: Tensor) -> Tensor:
    """Where a table of rising ``means`` has each mean, between the entries too."""
    above = torch.searchsorted(means, mean).clamp(1, len(means) - 1)
    low, high = means[above - 1], means[above]
    share = ((mean - low) / (high - low).clamp_min(1e-15)).clamp(0.0, 1.0)
    return torch.lerp(positions[above - 1], positions[above], share)


@lru_cache(maxsize=64)
def _own_error(count: int, stride: int, sigma: float, peak: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions along an axis of ``count`` cells, from edge to edge, and the means that :func:`around` has of perfect
    maps of them, both in pixels, rising, float64.
    """
    at = torch.linspace(-0.5, count * stride - 0.5, count * FINE + 1, dtype=torch.float64)
    reach = radius(stride, sigma)
    offset = torch.arange(-reach - 3, reach + 4)
    cell = ((at - (stride - 1) / 2) / stride).round().long().clamp(0, count - 1)[:, None] + offset
    distance = cell.double() * stride + (stride - 1) / 2 - at[:, None]
    share = (_gaussian if peak else _spread)(distance, stride, sigma) * ((cell >= 0) & (cell < count))
    best = F.avg_pool1d(share[:, None], 3, stride=1, padding=1)[:, 0].argmax(-1, keepdim=True)
    share = share * ((offset - offset[best]).abs() <= reach)
    mean = (share * cell).sum(-1) / share.sum(-1).clamp_min(1e-300) * stride + (stride - 1) / 2
    return at.to(device), mean.cummax(0).values.to(device)
