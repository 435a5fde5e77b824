# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a robot's shapes are about as large as its joints lie apart: units are often mistaken."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from ...core.robot.robot import Robot

TIMES = 8.0
"""Shapes that reach so many times further, or less far, than the joints: 0.25 to 2.6 times is usual."""


def note(robot: Robot, shapes: Iterable[tuple[str, bpy.types.Object]]) -> str:
    """A sentence where shapes and joints disagree; empty where they don't.

    Args:
        shapes: the mesh objects, as built in the frame of their link, with its name.
    """
    frames = robot.rest_frames()
    farthest = 0.0
    for link, obj in shapes:
        corners = np.array([tuple(corner) for corner in obj.bound_box]) @ frames[link][:3, :3].T + frames[link][:3, 3]
        farthest = max(farthest, float(np.linalg.norm(corners, axis=1).max()))
    reach = robot.reach()
    if not farthest or reach / TIMES <= farthest <= reach * TIMES:
        return ""
    mend = "give it a scale" if farthest < reach else 'give it scale="0.001 0.001 0.001"'
    unit = "another unit" if farthest < reach else "millimetres"
    return (
        f"the shapes of {robot.name} reach {farthest:.3g} m from its base and its joints {reach:.3g} m, for which the "
        f"camera is placed: if a mesh is in {unit}, {mend}, or else change the camera's distance"
    )
