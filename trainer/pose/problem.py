# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pose is solved from: points, pixels and their weights, cleaned; and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from .camera import Camera

INLIER = 9.21
"""Squared error over variance under which a point counts as an inlier: 99 % of chi-square with two degrees."""

KERNELS = ("none", "huber", "cauchy")


class Status(IntEnum):
    """Whether a pose could be determined, and why not."""

    SOLVED = 0
    TOO_FEW = 1
    DEGENERATE = 2
    NOT_FINITE = 3
    HIDDEN = 4
    NOT_FOUND = 5

    @property
    def sentence(self) -> str:
        """The status as one sentence for people."""
        return SENTENCES[self]


SENTENCES = {
    Status.SOLVED: "The pose was found.",
    Status.TOO_FEW: "There are too few visible points to determine the pose: at least four different ones are needed, "
    "or three with a pose to start from, and enough for every joint that is sought.",
    Status.DEGENERATE: "The visible points don't determine the pose: they lie on one line, or a motion exists that the "
    "image doesn't show.",
    Status.NOT_FINITE: "The camera's numbers or the starting pose are not finite, or a focal length is not positive.",
    Status.HIDDEN: "All points are hidden, so that the pose can't be determined.",
    Status.NOT_FOUND: "No pose puts the points in front of the camera where the image shows them.",
}


@dataclass(frozen=True)
class Options:
    """How to solve.

    Attributes:
        kernel: robust kernel on each point's error: ``none``, ``huber`` or ``cauchy``. With one, the start is sampled
            robustly as well.
        scale: error in standard deviations at which the kernel begins to bend.
        iterations: at most so many steps.
        tolerance: stop when a step promises to lower the cost by less than this share.
        starts: so many different starting poses are followed to their end, the best one counts.
        triplets: so many triplets of points are tried for starts, more with a robust kernel.
    """

    kernel: str = "none"
    scale: float = 1.5
    iterations: int = 40
    tolerance: float = 1e-8
    starts: int = 3
    triplets: int = 4
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {self.kernel!r}")
        if self.starts < 1 or self.triplets < 1 or self.iterations < 1 or self.scale <= 0:
            raise ValueError("starts, triplets, iterations and scale must be positive")

    @classmethod
    def quick(cls) -> Options:
        """Fewer starts, for training and video: about one problem in 10,000 then ends in a second-best valley."""
        return cls(starts=2, triplets=2, tolerance=1e-6)

    @property
    def robust(self) -> bool:
        """Whether outliers are reckoned with."""
        return self.kernel != "none"


@dataclass(frozen=True)
class Solution:
    """Poses of a batch, with what is known about them.

    Attributes:
        pose: ``T_cam_base`` ``(B, 4, 4)``; NaN where it can't be determined. Differentiable.
        covariance: of the small motion (ω, v) of :mod:`.rigid_motion` and then of the joints sought, ``(B, P, P)``,
            radians and metres, from the points' covariances (one pixel² each where none were given); infinite variance
            for a joint that moves nothing visible; NaN where there is no pose.
        residuals: seen minus given pixels, ``(B, …, N, 2)``; NaN for points that were not used.
        inliers: used points within 99 % of their covariance, ``(B, …, N)``.
        converged: whether the steps came to rest, ``(B,)``.
        status: :class:`Status` by number, ``(B,)``.
        cost: half the sum of squared, whitened and robustly bent errors, ``(B,)``.
        angles: joints by name order of the chain, ``(B, I, D)``, radians or metres; None for a rigid object.
    """

    pose: Tensor
    covariance: Tensor
    residuals: Tensor
    inliers: Tensor
    converged: Tensor
    status: Tensor
    cost: Tensor
    angles: Tensor | None = None

    @property
    def determined(self) -> Tensor:
        """Which entries have a pose, ``(B,)``."""
        return self.status == Status.SOLVED


@dataclass(frozen=True)
class Observations:
    """Points in images as the solver takes them, unusable ones replaced by harmless numbers of weight zero.

    Attributes:
        pixels: ``(B, M, 2)``.
        whitening: rows (w00, 0), (w10, w11) that turn pixels into standard deviations, as ``(B, M, 3)``.
        used: ``(B, M)``.
    """

    pixels: Tensor
    whitening: Tensor
    used: Tensor
    camera: Camera

    def take(self, index: Tensor) -> Observations:
        """The entries at ``index``."""
        return Observations(self.pixels[index], self.whitening[index], self.used[index], self.camera.take(index))

    def repeat(self, times: int) -> Observations:
        """Every entry ``times`` times in a row."""
        pixels, whitening, used = (x.repeat_interleave(times, 0) for x in (self.pixels, self.whitening, self.used))
        return Observations(pixels, whitening, used, self.camera.repeat(times))

    def detach(self) -> Observations:
        """The observations without a history of derivatives."""
        return replace(
            self, pixels=self.pixels.detach(), whitening=self.whitening.detach(), camera=self.camera.detach()
        )

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives are asked for."""
        return self.pixels.requires_grad or self.whitening.requires_grad or self.camera.requires_grad


def observe(
    pixels: Tensor,
    camera: Camera,
    covariances: Tensor | None,
    weights: Tensor | None,
    used: Tensor | None,
    options: Options,
) -> Observations:
    """Clean what the image shows.

    Args:
        pixels: ``(B, M, 2)``; NaN for points that aren't seen.
        covariances: pixels², ``(B, M, 2, 2)``; a point whose covariance isn't positive definite isn't used.
        weights: further factors of the squared errors, ``(B, M)``; zero leaves a point out.
        used: points to use, ``(B, M)``.
    """
    count, device, dtype = pixels.shape[0], pixels.device, options.dtype
    pixels = pixels.to(dtype)
    camera = camera.expand(count, dtype, device).mended()
    good = (pixels[..., 0] + pixels[..., 1]).isfinite()
    if used is not None:
        good = good & used.to(device=device, dtype=torch.bool)
    if weights is not None:
        weights = weights.to(device=device, dtype=dtype)
        good = good & weights.isfinite() & (weights > 0)
    if covariances is not None:
        covariances = covariances.to(device=device, dtype=dtype)
        a, b, c = covariances[..., 0, 0], covariances[..., 1, 1], (covariances[..., 0, 1] + covariances[..., 1, 0]) / 2
        good = good & covariances.isfinite().flatten(-2).all(-1) & (a > 0) & (b > 0) & (a * b - c * c > 0)
    zero, one = torch.zeros((), dtype=dtype, device=device), torch.ones((), dtype=dtype, device=device)
    clean = torch.where(good[..., None], pixels, camera.matrix.detach()[:, None, 2:])
    if covariances is None:
        w00 = w11 = good.to(dtype)
        w10 = torch.zeros_like(w00)
    else:
        # Σ = L Lᵀ, whitening is L⁻¹.
        l00 = torch.where(good, a, one).sqrt()
        l10 = torch.where(good, c, zero) / l00
        l11 = (torch.where(good, b, one) - l10 * l10).sqrt()
        gate = good.to(dtype)
        w00, w11 = gate / l00, gate / l11
        w10 = -l10 * w00 * w11
    whitening = torch.stack([w00, w10, w11], -1)
    if weights is not None:
        whitening = whitening * torch.where(good, weights, one).sqrt()[..., None]
    return Observations(clean, whitening, good, camera)


def bend(square: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """The kernel ρ of squared errors, and its slope ρ′."""
    if options.kernel == "none":
        return square, torch.ones_like(square)
    k = options.scale
    if options.kernel == "huber":
        outside = square > k * k
        root = torch.where(outside, square, torch.ones_like(square)).sqrt()
        return torch.where(outside, 2 * k * root - k * k, square), torch.where(outside, k / root, torch.ones_like(root))
    scaled = square / (k * k)
    return k * k * torch.log1p(scaled), 1 / (1 + scaled)


def layout_status(points: Tensor, used: Tensor, least: int) -> Tensor:
    """:class:`Status` ``(B,)`` of points ``(3, M, B)`` of which some are used ``(M, B)`` and ``least`` are needed."""
    gate = used.to(points.dtype)
    number = used.sum(0)
    centre = (points * gate).sum(1) / number.clamp_min(1)
    x, y, z = (points - centre[:, None]) * gate
    xx, yy, zz = (x * x).sum(0), (y * y).sum(0), (z * z).sum(0)
    xy, xz, yz = (x * y).sum(0), (x * z).sum(0), (y * z).sum(0)
    trace = xx + yy + zz
    minors = xx * yy + zz * (xx + yy) - xy * xy - xz * xz - yz * yz
    # Identical points count once: each is gone where an earlier one is in its place.
    distinct = number
    if points.shape[1] <= 64:
        one, two = torch.triu_indices(len(gate), len(gate), 1, device=points.device)
        near = (x[one] - x[two]).square() + (y[one] - y[two]).square() + (z[one] - z[two]).square() <= 1e-14 * trace
        if bool(near.any()):
            near = near & used[one] & used[two]
            distinct = number - (torch.zeros_like(gate).index_add_(0, two, near.to(gate.dtype)) > 0).sum(0)
    status = torch.full_like(number, int(Status.SOLVED))
    status = torch.where(minors <= 1e-10 * trace * trace, int(Status.DEGENERATE), status)
    status = torch.where(distinct < least, int(Status.TOO_FEW), status)
    return torch.where(number == 0, int(Status.HIDDEN), status)
