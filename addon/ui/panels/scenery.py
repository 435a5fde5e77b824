# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the robots' way, and what was left out of the renderings, within other panels."""

import bpy

from ...properties import scenery
from . import base as panels

MOST = 3
"""So many objects are listed at first."""


def draw_in_the_way(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Each object about which the user has yet to decide, with the two answers."""
    found = scenery.in_the_way(context.scene)
    for obj, sentence in found[:MOST]:
        column = layout.column(align=True)
        panels.warning(column, context, sentence)
        row = column.row(align=True)
        row.operator("robot_keypoints.scenery_leave_out", icon="HIDE_ON").object = obj.name
        row.operator("robot_keypoints.scenery_keep", icon="CHECKMARK").object = obj.name
    if len(found) > MOST:
        panels.advice(layout, context, f"and {len(found) - MOST} more objects", "BLANK1")


def draw_left_out(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Each object that is left out, with the way back."""
    found = scenery.left_out(context.scene)
    if not found:
        return
    body: bpy.types.UILayout | None = layout
    if len(found) > MOST:
        body = panels.section(layout, "left_out", "Left Out of the Renderings", str(len(found)))
    if body is None:
        return
    column = body.column(align=True)
    for obj in found:
        row = column.row(align=True)
        row.label(text=f"{obj.name} is left out", icon="HIDE_ON")
        back = row.row(align=True)
        back.alignment = "RIGHT"
        back.operator("robot_keypoints.scenery_keep", text="Bring Back").object = obj.name
