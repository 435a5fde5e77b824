# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras with lenses, made at random."""

from __future__ import annotations

import numpy as np
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.scene import catalogue

NAMES = ("k1", "k2", "p1", "p2")


def random_camera(rng: np.random.Generator, width: int = 160, height: int = 120, focal: float = 24.0) -> Intrinsics:
    """A camera from the widest ranges that a preset draws from."""
    values = [rng.uniform(e.low, e.high) for e in (catalogue.BY_NAME[f"camera/{n}"] for n in NAMES)]
    shift = [rng.uniform(e.low, e.high) for e in (catalogue.BY_NAME[f"camera/principal_{n}"] for n in "xy")]
    return Intrinsics.from_lens(
        width, height, rng.uniform(focal, 60), principal=(shift[0], shift[1]),
        distortion=(values[0], values[1], values[2], values[3], rng.uniform(-0.01, 0.01)),
    )  # fmt: skip


def places(k: Intrinsics, left: int = 0, top: int = 0) -> np.ndarray:
    """Where each pixel lies in a pinhole picture that reaches further by ``left`` and ``top``."""
    pixels = np.stack(np.meshgrid(np.arange(float(k.width)), np.arange(float(k.height))), axis=2)
    return k.undistort(pixels).reshape(pixels.shape) + np.array([left, top])
