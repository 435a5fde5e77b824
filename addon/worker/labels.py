# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of the scene as it stands: keypoints, and where it is asked for, everything about every robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert, transform
from ...core.messages.samples import Instance
from ..stage.stage import Stage
from .instance_labels import Details

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Labels of one image: pixels ``(J, 2)``, depths ``(J,)`` in metres, visibility ``(J,)`` as in COCO,
    the camera matrix ``(3, 3)``, distortion ``(5,)``, ``T_cam_base`` ``(4, 4)`` of the first robot; with details all
    robots in full, and the mask ``(H, W)`` of their links."""

    keypoints: Floats
    depths: Floats
    visibility: NDArray[np.int64]
    camera_matrix: Floats
    base_in_camera: Floats
    distortion: Floats
    instances: tuple[Instance, ...] = ()
    mask: NDArray[np.uint16] | None = None


def label(stage: Stage, details: Details | None = None) -> Labels:
    """Label the scene after :meth:`Stage.apply`.

    Args:
        details: gives every robot of this stage in full, and the mask if the settings ask for it.
    """
    world = stage.positions()
    world_in_camera = invert(stage.camera.pose())
    intrinsics = stage.camera.intrinsics()
    pixels, depths = intrinsics.project(transform(world_in_camera, world))
    inside = intrinsics.contains(pixels)
    visibility = np.where(inside, 2, 0).astype(np.int64)
    visibility[inside] -= stage.seen.occluded(world[inside], stage.camera.object)
    base = world_in_camera @ np.array(stage.armature.matrix_world)
    instances, mask = details.of(stage.camera) if details is not None else ((), None)
    return Labels(
        pixels, depths, visibility, intrinsics.matrix, base, np.array(intrinsics.distortion), instances, mask
    )  # fmt: skip
