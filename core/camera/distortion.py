# SPDX-License-Identifier: GPL-3.0-or-later
"""Lens distortion by Brown's polynomials, as OpenCV has them, both ways.

All points here are in normalised coordinates: x/z and y/z in the camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST_SCALE = 0.2
"""A lens shows nothing where it squeezes the picture more than fivefold along the radius. Beyond that its polynomial
is about to fold back, and would show the same thing twice."""

TABLE = 512
STEPS = 8


@dataclass(frozen=True)
class Lens:
    """Radial coefficients k1, k2, k3 and tangential ones p1, p2; all zero is a pinhole."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    @classmethod
    def of(cls, coefficients: Sequence[float]) -> Lens:
        """Read OpenCV's order: k1, k2, p1, p2, k3."""
        return cls(*(float(c) for c in coefficients))

    @property
    def straight(self) -> bool:
        """Whether it distorts nothing."""
        return not (self.k1 or self.k2 or self.p1 or self.p2 or self.k3)

    @cached_property
    def limit(self) -> float:
        """The radius up to which the lens shows something, before distortion; infinite for most."""
        slope = np.array([7 * self.k3, 5 * self.k2, 3 * self.k1, 1.0 - LEAST_SCALE])
        roots = np.roots(slope)
        squares = roots.real[(abs(roots.imag) < 1e-9) & (roots.real > 0)]
        return float(np.sqrt(squares.min())) if squares.size else np.inf

    @property
    def shown_limit(self) -> float:
        """Where the lens shows a point at its limit, tangential distortion aside."""
        return float(self._radius(np.array(self.limit)))

    def distort(self, points: ArrayLike) -> Floats:
        """Where the lens shows points ``(N, 2)``; NaN for those it does not show."""
        p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if self.straight:
            return p.copy()
        shown, jacobian = self._forward(p)
        seen = (p[:, 0] ** 2 + p[:, 1] ** 2 < self.limit**2) & (_determinant(jacobian) > 0)
        return np.where(seen[:, None], shown, np.nan)

    def undistort(self, points: ArrayLike) -> Floats:
        """The points that the lens shows at ``(N, 2)``; NaN where it shows nothing."""
        target = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if self.straight or not len(target):
            return target.copy()
        with np.errstate(all="ignore"):
            p = self._guess(target)
            for _ in range(STEPS):
                shown, (a, b, c, d) = self._forward(p)
                error = shown - target
                if np.nanmax(abs(error)) < 1e-12:
                    break
                p[:, 0] -= (d * error[:, 0] - b * error[:, 1]) / (a * d - b * c)
                p[:, 1] -= (a * error[:, 1] - c * error[:, 0]) / (a * d - b * c)
            missed = ~(abs(self.distort(p) - target).max(axis=1) < 1e-7)
        p[missed] = np.nan
        return p

    def _forward(self, p: Floats) -> tuple[Floats, tuple[Floats, Floats, Floats, Floats]]:
        """The polynomial as it is, and its derivatives dx/dx, dx/dy, dy/dx, dy/dy."""
        x, y = p[:, 0], p[:, 1]
        s = x * x + y * y
        radial = 1 + s * (self.k1 + s * (self.k2 + s * self.k3))
        slope = 2 * (self.k1 + s * (2 * self.k2 + s * 3 * self.k3))
        shown = np.stack([
            x * radial + 2 * self.p1 * x * y + self.p2 * (s + 2 * x * x),
            y * radial + self.p1 * (s + 2 * y * y) + 2 * self.p2 * x * y,
        ], axis=1)  # fmt: skip
        mixed = x * y * slope + 2 * self.p1 * x + 2 * self.p2 * y
        return shown, (
            radial + x * x * slope + 2 * self.p1 * y + 6 * self.p2 * x, mixed,
            mixed, radial + y * y * slope + 6 * self.p1 * y + 2 * self.p2 * x,
        )  # fmt: skip

    def _guess(self, target: Floats) -> Floats:
        """Undo the radial part by a table of radii."""
        wanted = np.hypot(target[:, 0], target[:, 1])
        top = min(self.limit, 1.0)
        # Where the polynomial has no limit it grows at least by LEAST_SCALE for every unit.
        while self._radius(np.array([top]))[0] < wanted.max() and top < self.limit:
            top = min(2 * top, self.limit)
        radii = np.linspace(0, top, TABLE)
        factor = np.interp(wanted, self._radius(radii), radii) / np.maximum(wanted, 1e-12)
        return np.asarray(target * factor[:, None])

    def _radius(self, r: Floats) -> Floats:
        s = r * r
        return np.asarray(r * (1 + s * (self.k1 + s * (self.k2 + s * self.k3))))


def _determinant(jacobian: tuple[Floats, Floats, Floats, Floats]) -> Floats:
    a, b, c, d = jacobian
    return np.asarray(a * d - b * c)
