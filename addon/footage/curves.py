# SPDX-License-Identifier: GPL-3.0-or-later
"""F-curves, written at once and not key by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np


def begin(target: bpy.types.ID, name: str) -> bpy.types.Action:
    """A new action for an object, in place of the one that it has.

    One that was made here before goes; the user's own is kept in the file.
    """
    data = target.animation_data_create()
    old = data.action
    action = bpy.data.actions.new(name)
    data.action = action
    action[MADE_HERE] = True
    if old is not None:
        if MADE_HERE in old and not old.users:
            bpy.data.actions.remove(old)
            action.name = name
        else:
            old.use_fake_user = True
    return action


MADE_HERE = "robot_keypoints_footage"
"""Custom property of actions that were made here."""


def write(
    action: bpy.types.Action, target: bpy.types.ID, path: str, index: int, group: str, frames: Sequence[int],
    values: Sequence[float],
) -> None:  # fmt: skip
    """Write one F-curve, straight from key to key."""
    if not frames:
        return
    if hasattr(action, "fcurve_ensure_for_datablock"):  # Blender 4.4
        more = {"group_name": group} if bpy.app.version >= (5, 0) else {}
        curve: Any = action.fcurve_ensure_for_datablock(target, path, index=index, **more)
    else:
        curve = action.fcurves.new(path, index=index, action_group=group)
    points = curve.keyframe_points
    points.add(len(frames) - len(points))
    points.foreach_set("co", np.column_stack([frames, values]).astype(np.float32).ravel())
    linear = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value
    points.foreach_set("interpolation", np.full(len(frames), linear, dtype=np.int32))
    curve.update()
