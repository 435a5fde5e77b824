# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoint labels of the scene as it stands: pixels, depth and visibility."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ..core.camera import invert, transform
from .stage import Stage

Floats = NDArray[np.float64]

SURFACE = 1e-3
"""A point this close behind a surface, in metres, counts as lying on it."""


@dataclass(frozen=True)
class Labels:
    """Labels of one image: pixels ``(J, 2)``, depths ``(J,)`` in metres, visibility ``(J,)`` as in COCO,
    the camera matrix ``(3, 3)``, distortion ``(5,)`` and ``T_cam_base`` ``(4, 4)``."""

    keypoints: Floats
    depths: Floats
    visibility: NDArray[np.int64]
    camera_matrix: Floats
    base_in_camera: Floats
    distortion: Floats


def label(stage: Stage) -> Labels:
    """Label the scene after :meth:`Stage.apply`."""
    world = stage.positions()
    world_in_camera = invert(stage.camera.pose())
    intrinsics = stage.camera.intrinsics()
    pixels, depths = intrinsics.project(transform(world_in_camera, world))
    inside = intrinsics.contains(pixels)
    visibility = np.where(inside, 2, 0).astype(np.int64)
    for index in np.flatnonzero(inside):
        if _hidden(stage, world[index]):
            visibility[index] = 1
    base = world_in_camera @ np.array(stage.armature.matrix_world)
    return Labels(pixels, depths, visibility, intrinsics.matrix, base, np.array(intrinsics.distortion))


def _hidden(stage: Stage, point: Floats) -> bool:
    origin = stage.camera.object.matrix_world.translation
    ray = Vector(point) - origin
    length = ray.length
    depsgraph = stage.scene.view_layers[0].depsgraph or bpy.context.evaluated_depsgraph_get()
    hit, *_ = stage.scene.ray_cast(depsgraph, origin, ray.normalized(), distance=max(0.0, length - SURFACE))
    return bool(hit)
