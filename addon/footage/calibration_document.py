# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras of a ``calibration.json``. Without Blender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError, one_line


@dataclass(frozen=True)
class CalibratedCamera:
    """One camera.

    Attributes:
        pose: ``T_cam_base``, or ``T_cam_link`` of one that is mounted on a link, ``(4, 4)``.
        link: that it is mounted on; empty where it rests.
    """

    intrinsics: Intrinsics
    pose: NDArray[np.float64]
    link: str


def cameras_in(document: Any) -> dict[str, CalibratedCamera]:
    """The cameras by name.

    Raises:
        UserError: if it is no such document, or has no camera.
    """
    try:
        found = {str(name): _camera(entry) for name, entry in document["cameras"].items()}
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        raise UserError(f"That is no calibration ({one_line(str(problem))}): choose a calibration.json") from problem
    if not found:
        raise UserError("That calibration has no camera: choose another calibration.json")
    return found


def _camera(entry: Any) -> CalibratedCamera:
    rests = "T_cam_base" in entry
    pose = np.array(entry["T_cam_base" if rests else "T_cam_link"], dtype=np.float64)
    k = np.array(entry["camera_matrix"], dtype=np.float64)
    distortion = np.array(entry["distortion"], dtype=np.float64)
    if pose.shape != (4, 4) or k.shape != (3, 3) or distortion.shape != (5,):
        raise ValueError("a matrix has another size")
    if not all(np.isfinite(a).all() for a in (pose, k, distortion)) or min(k[0, 0], k[1, 1]) <= 0:
        raise ValueError("a number is not finite, or a focal length not above zero")
    if not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4):
        raise ValueError("a pose is no rigid motion")
    width, height = int(entry["width"]), int(entry["height"])
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise ValueError("a picture's size is out of range")
    k1, k2, p1, p2, k3 = distortion.tolist()
    lens = Intrinsics(
        width, height, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), (k1, k2, p1, p2, k3)
    )
    return CalibratedCamera(lens, pose, "" if rests else str(entry["link"]))
