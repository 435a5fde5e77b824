# SPDX-License-Identifier: GPL-3.0-or-later
"""A loss on poses, which trains what finds the keypoints through all that lies between [US12387346, paragraphs 22 to
28 and 36 to 38]: maps, coordinates with covariances, the weighted solver, the pose.

The pose is sought in the true camera's frame: with the keypoints where the joints' true positions put them there, the
right answer is no motion at all, and neither joints nor ``T_cam_base`` need to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..maps import curve_fit
from ..maps.codec import inside, radius, smooth
from ..maps.soft_argmax import Spots, soft_argmax
from .camera import Camera
from .problem import Options
from .solve_pose import solve_pose

LEAST = 4
"""Keypoints of a robot inside the image, below which its pose isn't asked for: three have several."""

STEEPEST = 1.0
"""The longest gradient of one robot's loss with respect to its keypoints' coordinates, in targets' widths: where a pose
hardly depends on the image, or depends on it wildly, the rest of the batch should not suffer."""

SOLVER = Options(kernel="huber", starts=1, triplets=1, iterations=20)
"""Followed from the true pose, so that nothing is sampled; the kernel is the one that predictions are solved with."""

FAR = -1e4
"""Logit of cells that don't take part."""


def places(keypoints: Tensor, depths: Tensor, cameras: Tensor) -> Tensor:
    """Where keypoints are in the camera frame, metres ``(B, J, 3)`` float64; NaN where that can't be told.

    Args:
        keypoints: pixels ``(B, J, 2)``.
        depths: metres along the camera's z, ``(B, J)``.
        cameras: ``(B, 9)``.
    """
    camera = Camera.of_rows(cameras.double())
    seen = keypoints.double()
    rays = camera.undistorted(seen)
    # Beyond the fold of a lens's polynomial there may be no ray, or another one.
    again = camera.project(F.pad(rays, (0, 1), value=1.0))
    good = (depths > 0) & rays.isfinite().all(-1) & ((again - seen).abs().amax(-1) < 0.01)
    found = F.pad(rays, (0, 1), value=1.0) * depths.double()[..., None]
    return torch.where(good[..., None], found, torch.nan)


class PoseLoss:
    """The loss for the maps of one network and the robots of one scene."""

    def __init__(
        self, keypoints: int, stride: int, sigma: float, *, is_distribution: bool, fitted: bool = False,
        robots: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Sort the keypoints by robot.

        Args:
            sigma: width of the targets, pixels of the input.
            is_distribution: whether a map is a distribution over its cells, and not sigmoids of height one.
            fitted: whether keypoints are decoded by :mod:`.curve_fit`; those a little outside the image then count.
            robots: whose each keypoint is; none for one robot.
        """
        names = list(robots) or [""] * keypoints
        groups = [[j for j, robot in enumerate(names) if robot == name] for name in dict.fromkeys(names)]
        self._groups = [g for g in groups if len(g) >= LEAST]
        self._stride = stride
        self._sigma = sigma
        self._is_distribution = is_distribution
        self._fitted = fitted

    def __call__(
        self, logits: Tensor, keypoints: Tensor, weights: Tensor | None, places: Tensor, cameras: Tensor,
        to_rendering: Tensor | None, size: tuple[int, int],
    ) -> Tensor:  # fmt: skip
        """Loss of each image ``(B,)``, a mean over its robots; zero for those whose pose can't be determined.

        Args:
            logits: of the last stage, ``(B, J, H, W)``.
            keypoints: true ones, pixels of the input ``(B, J, 2)``.
            weights: of the keypoints, ``(B, J)``; one of weight zero isn't used.
            places: as from :func:`places`, ``(B, J, 3)``.
            cameras: of the renderings, fx, fy, cx, cy, k1, k2, p1, p2, k3 in their pixels, ``(B, 9)``.
            to_rendering: from the input's pixels to those of the renderings, ``(B, 2, 3)``; None where they are the
                same.
            size: width and height of the input.
        """
        spots = located(
            logits, self._stride, self._sigma, is_distribution=self._is_distribution, fitted=self._fitted
        )  # fmt: skip
        margin = curve_fit.margin(self._sigma) if self._fitted else 0.0
        used = inside(keypoints, *size, margin) & spots.valid

        def losses(positions: Tensor, spread: Tensor) -> Tensor:
            pixels, covariances = in_rendering(positions, spread, to_rendering, self._stride)
            found = logits.new_zeros(len(logits))
            for group in self._groups:
                found = found + self._robot(
                    pixels[:, group], covariances[:, group], used[:, group],
                    None if weights is None else weights[:, group], places[:, group], cameras,
                )  # fmt: skip
            return found / max(1, len(self._groups))

        return with_bounded_gradient(losses, spots, self._sigma)

    def _robot(
        self, pixels: Tensor, covariances: Tensor, used: Tensor, weights: Tensor | None, points: Tensor, cameras: Tensor
    ) -> Tensor:
        """The loss of one robot's keypoints, ``(B,)``."""
        result = pixels.new_zeros(len(pixels))
        known = points.isfinite().all(-1)
        counted = used & known if weights is None else used & known & (weights > 0)
        rows = (counted.sum(1) >= LEAST).nonzero().squeeze(1)
        if not len(rows):
            return result
        points, known, cameras = points[rows], known[rows], cameras[rows]
        still = torch.eye(4, dtype=torch.float64, device=pixels.device).expand(len(rows), 4, 4)
        found = solve_pose(
            points, pixels[rows], Camera.of_rows(cameras), covariances=covariances[rows],
            weights=None if weights is None else weights[rows], used=counted[rows], initial=still, options=SOLVER,
        )  # fmt: skip
        good = found.determined & found.pose.detach().isfinite().flatten(1).all(1)
        pose, own, there = found.pose[good], points[good].nan_to_num(), known[good]
        placed = own @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
        off = (placed - own).square().sum(-1).add(1e-12).sqrt()
        share = there / there.sum(1, keepdim=True)
        # In what a target's width spans at the robot's distance, so that neither size nor distance matter.
        width = self._sigma * (share * own[..., 2]).sum(1) / cameras[good, :2].mean(1)
        distance = (share * off).sum(1) / width
        return result.index_put((rows[good],), bent(distance).to(result.dtype))


def with_bounded_gradient(losses: Callable[[Tensor, Tensor], Tensor], spots: Spots, sigma: float) -> Tensor:
    """Losses ``(B,)`` of keypoints' positions ``(B, J, 2)`` and covariances ``(B, J, 2, 2)``, whose gradient with
    respect to these is none longer than :data:`STEEPEST` for an image, in targets' widths, and nowhere NaN."""
    # The gradient is computed at once, so that it can be looked at before the network gets it.
    asked = torch.is_grad_enabled() and spots.positions.requires_grad
    own = [t.detach().requires_grad_(asked) for t in (spots.positions, spots.covariances)]
    with torch.set_grad_enabled(asked):
        found = losses(own[0], own[1])
    if not found.requires_grad:
        return found
    slopes = _shortened(torch.autograd.grad(found.sum(), own), sigma)
    linear = sum(
        (slope * (t - t.detach())).flatten(1).sum(1)
        for slope, t in zip(slopes, (spots.positions, spots.covariances), strict=True)
    )
    return found.detach() + linear


def _shortened(slopes: Sequence[Tensor], sigma: float) -> list[Tensor]:
    """Gradients with respect to coordinates and covariances, together none longer than :data:`STEEPEST` for an image,
    none of them NaN."""
    units = (sigma, sigma**2)
    clean = [(s * unit).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for s, unit in zip(slopes, units, strict=True)]
    length = torch.cat([s.flatten(1) for s in clean], 1).norm(dim=1).clamp_min(1e-30)
    factor = (STEEPEST / length).clamp_max(1.0)
    return [
        s * factor.view(-1, *[1] * (s.dim() - 1)) / unit for s, unit in zip(clean, units, strict=True)
    ]  # fmt: skip


def located(
    logits: Tensor, stride: int, sigma: float, *, is_distribution: bool, fitted: bool = False
) -> Spots:  # fmt: skip
    """Soft-argmax of the cells around each map's peak, which are those that predictions are decoded from, or their
    curve; in float32 at least."""
    scores = logits if logits.dtype == torch.float64 else logits.float()
    scores = scores if is_distribution else F.logsigmoid(scores)
    h, w = scores.shape[-2:]
    if fitted:
        maps = scores.flatten(2).softmax(-1).view_as(scores) if is_distribution else scores.exp()
        points = curve_fit.locate(maps, stride, sigma)
        valid = points.positions.isfinite().all(-1) & points.covariances.isfinite().flatten(-2).all(-1)
        return Spots(points.positions, points.covariances, points.peaks, valid)
    with torch.no_grad():
        beliefs = scores.flatten(2).softmax(-1).view_as(scores)
        cells = smooth(beliefs).flatten(2).argmax(-1)
        reach = radius(stride, sigma)
        rows = torch.arange(h, device=scores.device) - (cells // w)[..., None]
        columns = torch.arange(w, device=scores.device) - (cells % w)[..., None]
        near = (rows.abs() <= reach)[..., :, None] & (columns.abs() <= reach)[..., None, :]
    return soft_argmax(torch.where(near, scores, FAR), stride)


def in_rendering(
    pixels: Tensor, covariances: Tensor, to_rendering: Tensor | None, stride: int
) -> tuple[Tensor, Tensor]:
    """Pixels ``(B, J, 2)`` and covariances ``(B, J, 2, 2)`` of the rendering; a cell's own extent counts as variance,
    so that a map with all in one cell doesn't claim to know better."""
    unit = torch.eye(2, dtype=covariances.dtype, device=covariances.device)
    covariances = covariances + unit * (stride * stride / 12)
    if to_rendering is None:
        return pixels, covariances
    linear = to_rendering[:, :, :2].to(pixels.dtype)
    moved = pixels @ linear.mT + to_rendering[:, None, :, 2].to(pixels.dtype)
    return moved, linear[:, None] @ covariances @ linear.mT[:, None]


def bent(distance: Tensor) -> Tensor:
    """Grows like the distance's square where that is small, and ever more slowly, so that one wild pose doesn't shout
    down the others."""
    return 0.5 * torch.log1p(distance.square())
