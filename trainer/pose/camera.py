# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras in torch: pinholes with OpenCV's distortion [Brown1966], one for each entry of a batch, differentiable.

Camera frame as in OpenCV: x right, y down, z forward. The centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError

STEPS = 12


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a batch of images.

    Attributes:
        matrix: fx, fy, cx, cy in pixels, ``(B, 4)``.
        distortion: k1, k2, p1, p2, k3, ``(B, 5)``; None where the lens is straight.
    """

    matrix: Tensor
    distortion: Tensor | None = None

    @classmethod
    def of(cls, intrinsics: Intrinsics) -> Camera:
        """The same camera ``(1, …)`` for every entry, in float64."""
        matrix = torch.tensor([[intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy]], dtype=torch.float64)
        if intrinsics.lens.straight:
            return cls(matrix)
        return cls(matrix, torch.tensor([intrinsics.distortion], dtype=torch.float64))

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Camera:
        """Make one of fx, fy, cx, cy, then k1, k2, p1, p2, k3 or nothing more.

        Raises:
            UserError: if there are neither four nor nine numbers, one of them isn't finite, or fx or fy isn't positive.
        """
        values = [float(n) for n in numbers]
        if len(values) not in (4, 9):
            raise UserError(
                f"The camera has {len(values)} numbers: give fx,fy,cx,cy or fx,fy,cx,cy,k1,k2,p1,p2,k3, in pixels."
            )
        row = torch.tensor([values], dtype=torch.float64)
        if not bool(row.isfinite().all()) or min(values[:2]) <= 0:
            raise UserError("The camera's numbers must be finite, fx and fy positive: check their order fx,fy,cx,cy.")
        return cls(row[:, :4], row[:, 4:] if any(values[4:]) else None)

    @classmethod
    def of_rows(cls, rows: Tensor) -> Camera:
        """Make one of fx, fy, cx, cy, k1, k2, p1, p2, k3 of each image, ``(B, 9)``."""
        return cls(rows[:, :4], rows[:, 4:] if bool((rows[:, 4:] != 0).any()) else None)

    def expand(self, count: int, dtype: torch.dtype, device: torch.device) -> Camera:
        """One row for each of ``count`` entries.

        Raises:
            ValueError: if there are neither one nor ``count`` rows of the right length.
        """

        def rows(values: Tensor, width: int, name: str) -> Tensor:
            values = values.to(device=device, dtype=dtype).reshape(-1, values.shape[-1] if values.dim() else 1)
            if values.shape[-1] != width or values.shape[0] not in (1, count):
                raise ValueError(f"{name} must be ({count}, {width}) or ({width},), not {tuple(values.shape)}")
            return values.expand(count, width)

        distortion = None if self.distortion is None else rows(self.distortion, 5, "distortion")
        return Camera(rows(self.matrix, 4, "the camera's matrix"), distortion)

    def take(self, index: Tensor) -> Camera:
        """The entries at ``index``."""
        return replace(
            self, matrix=self.matrix[index], distortion=None if self.distortion is None else self.distortion[index]
        )

    def repeat(self, times: int) -> Camera:
        """Every entry ``times`` times in a row."""
        return replace(
            self,
            matrix=self.matrix.repeat_interleave(times, 0),
            distortion=None if self.distortion is None else self.distortion.repeat_interleave(times, 0),
        )

    def detach(self) -> Camera:
        """The camera without a history of derivatives."""
        return Camera(self.matrix.detach(), None if self.distortion is None else self.distortion.detach())

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives with respect to the intrinsics are asked for."""
        return self.matrix.requires_grad or (self.distortion is not None and self.distortion.requires_grad)

    def finite(self) -> Tensor:
        """Which entries ``(B,)`` have numbers throughout and positive focal lengths."""
        good = self.matrix.isfinite().all(-1) & (self.matrix[:, :2] > 0).all(-1)
        return good if self.distortion is None else good & self.distortion.isfinite().all(-1)

    def mended(self) -> Camera:
        """The camera with harmless numbers in entries that aren't :meth:`finite`."""
        good = self.finite()[:, None]
        if bool(good.all()):
            return self
        plain = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=self.matrix.dtype, device=self.matrix.device)
        distortion = None if self.distortion is None else torch.where(good, self.distortion, 0.0)
        return Camera(torch.where(good, self.matrix, plain), distortion)

    def coefficients(self) -> tuple[Tensor, ...]:
        """k1, k2, p1, p2, k3, each ``(B, 1)``; of a lens that isn't straight."""
        assert self.distortion is not None
        return self.distortion[:, None].unbind(-1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Distorted normalised coordinates ``(B, M, 2)`` of pixels ``(B, M, 2)``."""
        return (pixels - self.matrix[:, None, 2:]) / self.matrix[:, None, :2]

    def undistorted(self, pixels: Tensor) -> Tensor:
        """Normalised coordinates ``(B, M, 2)``, x/z and y/z, that the lens shows at ``pixels`` ``(B, M, 2)``."""
        target = self.normalise(pixels)
        if self.distortion is None:
            return target
        a, b = target.unbind(-1)
        for _ in range(STEPS):
            (da, db), (aa, ab, ba, bb) = distort(a, b, self.coefficients())
            ea, eb = da - target[..., 0], db - target[..., 1]
            # Beyond the fold of the polynomial Newton's step goes astray; the plain step does not.
            determinant = aa * bb - ab * ba
            fine = determinant > 0.05
            scale = torch.where(fine, determinant, torch.ones_like(determinant))
            a = a - torch.where(fine, (bb * ea - ab * eb) / scale, ea)
            b = b - torch.where(fine, (aa * eb - ba * ea) / scale, eb)
        return torch.stack([a, b], -1)

    def project(self, points: Tensor) -> Tensor:
        """Pixels ``(B, M, 2)`` of points ``(B, M, 3)`` in the camera frame, metres, which must lie in front of it."""
        a, b = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
        if self.distortion is not None:
            (a, b), _ = distort(a, b, self.coefficients())
        return torch.stack([a, b], -1) * self.matrix[:, None, :2] + self.matrix[:, None, 2:]


def distort(
    a: Tensor, b: Tensor, coefficients: Sequence[Tensor]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Where lenses, their k1, k2, p1, p2, k3 of shapes that go with the points', show normalised points, and da/da,
    da/db, db/da, db/db."""
    k1, k2, p1, p2, k3 = coefficients
    s = a * a + b * b
    radial = 1 + s * (k1 + s * (k2 + s * k3))
    slope = 2 * (k1 + s * (2 * k2 + s * 3 * k3))
    shown = (
        a * radial + 2 * p1 * a * b + p2 * (s + 2 * a * a),
        b * radial + p1 * (s + 2 * b * b) + 2 * p2 * a * b,
    )
    mixed = a * b * slope + 2 * p1 * a + 2 * p2 * b
    return shown, (
        radial + a * a * slope + 2 * p1 * b + 6 * p2 * a, mixed,
        mixed, radial + b * b * slope + 6 * p1 * b + 2 * p2 * a,
    )  # fmt: skip
