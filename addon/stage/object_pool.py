# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that are made once and of which each draw uses some."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from mathutils import Quaternion
from numpy.typing import ArrayLike, NDArray

from ...core.scene import catalogue
from ...core.settings.schema import Settings
from . import prior_support
from .camera import pose_in_base

NOWHERE = (0.0, 0.0, 0.0)
"""The scale of what is not used: without extent it costs nothing, and neither renderer nor ray casting meets it.
Switching objects off costs more, and standing far away could be seen."""


def place(obj: bpy.types.Object, at: ArrayLike, turn: Quaternion, scale: ArrayLike) -> None:
    """Place an object that turns by quaternion. (A matrix would be taken apart, and its parts differ by rounding.)"""
    obj.location = at
    obj.rotation_quaternion = turn
    obj.scale = scale


def camera_pose(armature: bpy.types.Object, v: Mapping[str, float]) -> NDArray[np.float64]:
    """``T_world_cam`` ``(4, 4)`` as the variables have it. (Blender rounds its own when it evaluates the scene.)"""
    pose = np.array(armature.matrix_world) @ pose_in_base(v)
    pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)
    return np.asarray(pose)


def most(settings: Settings, name: str) -> int:
    """The largest choice that the run's prior of a categorical variable admits; 0 if the run lacks the variable."""
    return max(prior_support.choices(settings, name, len(catalogue.BY_NAME[name].choices)))


def is_ours(obj: bpy.types.Object) -> bool:
    """Whether the stage or the level of detail made an object."""
    return any(c.name.startswith("Keypoints ") for c in obj.users_collection)


def clear(collection: str) -> None:
    """Remove a collection of ours with everything in it."""
    old = bpy.data.collections.get(collection)
    if old is not None:
        bpy.data.batch_remove(list(old.objects))
        bpy.data.collections.remove(old)
