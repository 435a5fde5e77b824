# SPDX-License-Identifier: GPL-3.0-or-later
"""The Robot panel: the armature, its joints and its keypoints."""

from typing import Any

import bpy

from . import adoption, panels, pictures, previews
from .properties_parts import UNITS
from .text import plural, quantity, shown_name, span


def twin(name: str, unit: str) -> str:
    """The property that shows ``low``, ``high`` or ``value`` of a variable in its unit."""
    return f"{name}_{UNITS[unit]}" if unit in UNITS else name


class KEYPOINTS_UL_joints(bpy.types.UIList):
    """Joints: whether each varies, and over which range."""

    bl_idname = "KEYPOINTS_UL_joints"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        split = layout.split(factor=0.52)
        left = split.row(align=True)
        left.prop(item, "use", text="")
        left.label(text=shown_name(item.name))
        right = split.row()
        right.alignment = "RIGHT"
        right.active = item.use
        right.label(
            text=span(item.low, item.high, item.unit) if item.use else f"held at {quantity(item.value, item.unit)}"
        )

    def filter_items(self, context: Any, data: Any, property_name: str) -> tuple[list[int], list[int]]:
        items = getattr(data, property_name)
        wanted = self.filter_name.lower()
        return [
            self.bitflag_filter_item if i.name.startswith("joint/") and wanted in i.name.lower() else 0 for i in items
        ], []


class KEYPOINTS_UL_keypoints(bpy.types.UIList):
    """Keypoints, each with the colour that the overlay gives it."""

    bl_idname = "KEYPOINTS_UL_keypoints"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        colour = pictures.keypoint_colour(index, len(data.keypoints))
        layout.prop(item, "name", text="", emboss=False, icon_value=previews.dot(colour))
        if context.region is not None and context.region.width > 19 * panels.unit(context):
            right = layout.row()
            right.active = False
            right.alignment = "RIGHT"
            right.label(text=item.frame)


class KEYPOINTS_PT_robot(panels.Sidebar, bpy.types.Panel):
    """Load a robot; choose its joints and keypoints."""

    bl_idname = "KEYPOINTS_PT_robot"
    bl_label = "Robot"
    bl_order = 1

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        if adoption.problem(context.scene):
            panels.status(self.layout, "none", pictures.RED)
        else:
            panels.status(self.layout, context.scene.robot_keypoints.armature.name, pictures.GREEN)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        group = context.scene.robot_keypoints
        row = layout.row(align=True)
        row.operator("robot_keypoints.load_urdf", text="Load URDF…", icon="FILE_FOLDER")
        row.operator("robot_keypoints.builtin_robot", text="Built-in")
        layout.operator("robot_keypoints.from_armature", icon="ARMATURE_DATA")
        missing = adoption.problem(context.scene)
        layout.prop(group, "armature", text="")
        if missing:
            panels.advice(layout, context, missing)
            return
        for note in group.notes.splitlines()[:4]:
            panels.advice(layout, context, note, "ERROR")
        _draw_joints(layout, group)
        _draw_keypoints(layout, context, group)


def _draw_joints(layout: bpy.types.UILayout, group: Any) -> None:
    joints = [v for v in group.variables if v.name.startswith("joint/")]
    varying = sum(1 for v in joints if v.use)
    body = panels.section(layout, "joints", "Joints", f"{varying} of {len(joints)} vary", closed=False)
    if body is not None:
        rows = min(max(len(joints), 3), 7)
        body.template_list("KEYPOINTS_UL_joints", "", group, "variables", group, "joint_index", rows=rows, maxrows=10)
        item = group.variables[group.joint_index] if 0 <= group.joint_index < len(group.variables) else None
        if item is not None and item.name.startswith("joint/"):
            row = panels.settings_column(body).row(align=True)
            if item.use:
                row.prop(item, twin("low", item.unit), text="Range")
                row.prop(item, twin("high", item.unit), text="")
            else:
                row.prop(item, twin("value", item.unit), text="Held at")


def _draw_keypoints(layout: bpy.types.UILayout, context: bpy.types.Context, group: Any) -> None:
    body = panels.section(layout, "keypoints", "Keypoints", plural(len(group.keypoints), "keypoint"), closed=False)
    if body is None:
        return
    row = body.row()
    row.template_list("KEYPOINTS_UL_keypoints", "", group, "keypoints", group, "keypoint_index", rows=5, maxrows=10)
    buttons = row.column(align=True)
    buttons.operator("robot_keypoints.keypoint_add", text="", icon="ADD")
    buttons.operator("robot_keypoints.keypoint_remove", text="", icon="REMOVE")
    buttons.separator()
    buttons.operator("robot_keypoints.keypoint_move", text="", icon="TRIA_UP").direction = "UP"
    buttons.operator("robot_keypoints.keypoint_move", text="", icon="TRIA_DOWN").direction = "DOWN"
    if not 0 <= group.keypoint_index < len(group.keypoints):
        return
    keypoint = group.keypoints[group.keypoint_index]
    column = panels.settings_column(body)
    if keypoint.frame in group.armature.pose.bones or not keypoint.frame:
        column.prop_search(keypoint, "frame", group.armature.data, "bones", icon="BONE_DATA")
    else:
        column.prop_search(keypoint, "frame", context.scene, "objects", icon="EMPTY_AXIS")
        if keypoint.frame not in context.scene.objects:
            panels.advice(body, context, f"There is neither a bone nor an object {keypoint.frame!r}", "ERROR")
    column.prop(keypoint, "offset")


CLASSES = (KEYPOINTS_UL_joints, KEYPOINTS_UL_keypoints, KEYPOINTS_PT_robot)
