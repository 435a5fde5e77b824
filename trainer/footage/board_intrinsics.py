# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera's intrinsics from views of a board, by OpenCV, with checks that the views determine them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from .intrinsics_file import Size, make_intrinsics
from .marker_detector import Detection

LEAST_VIEWS = 6
MOST_VIEWS = 60
"""More tell little, and take time that grows with their square."""
LEAST_CORNERS = 12
LOOSE_FOCAL = 0.02
"""Standard deviation of the focal length, as a share of it, from which on it is not determined."""
MOST_ERROR = 1.5
"""Pixels, root mean square."""


def estimate_intrinsics(camera: str, size: Size, detections: Sequence[Detection]) -> Intrinsics:
    """Focal lengths, principal point and the distortion's k1, k2, p1 and p2; boards rarely reach where k3 would show.

    Views that fit three times worse than the median are left out.

    Args:
        detections: of boards; those with too few corners don't count.

    Raises:
        UserError: if there are too few views, or they don't determine the intrinsics.
    """
    import cv2

    views = [d for d in detections if len(d.corners) >= LEAST_CORNERS]
    if len(views) < LEAST_VIEWS:
        raise UserError(
            f"The camera {camera} has no intrinsics, and {len(views)} images show a board to estimate them from, where "
            f"{LEAST_VIEWS} are needed: give intrinsics, or more images of a checkerboard or ChArUco board"
        )
    chosen = [views[int(k)] for k in np.linspace(0, len(views) - 1, min(len(views), MOST_VIEWS))]
    for _ in range(2):
        points = [d.points.astype(np.float32) for d in chosen]
        corners = [d.corners.astype(np.float32) for d in chosen]
        try:
            error, matrix, lens, _, _, deviations, _, errors = cv2.calibrateCameraExtended(
                points, corners, size, None, None, flags=cv2.CALIB_FIX_K3
            )
        except cv2.error as problem:
            raise UserError(
                f"The intrinsics of the camera {camera} can't be estimated from these images of the board: give them"
            ) from problem
        errors = np.asarray(errors).ravel()
        good = errors <= 3 * np.median(errors)
        if good.all() or good.sum() < LEAST_VIEWS:
            break
        chosen = [d for d, kept in zip(chosen, good, strict=True) if kept]
    spread = float(np.asarray(deviations).ravel()[0]) / float(matrix[0, 0])
    if not (np.isfinite(matrix).all() and np.isfinite(spread)) or spread > LOOSE_FOCAL:
        raise UserError(
            f"The images of the board leave the focal length of the camera {camera} open by {spread:.0%}: tilt the "
            "board in more of them, and fill the image with it, or give intrinsics"
        )
    if error > MOST_ERROR:
        raise UserError(
            f"The board's corners fit no intrinsics of the camera {camera} better than {error:.1f} pixels: check the "
            "board's sizes, and that it is flat"
        )
    numbers = [float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])]
    return make_intrinsics(size, numbers, [float(v) for v in np.asarray(lens).ravel()], f"camera {camera}")
