# SPDX-License-Identifier: GPL-3.0-or-later
"""The Robot panel: the armature, its joints and its keypoints."""

from typing import Any

import bpy

from ...base import plots
from ...base.formatting import plural, short_span, shown_name
from ...properties import scene_robots
from ...robot import rig
from .. import plot_icons, warnings
from . import base as panels, scenery as scenery_panel, variable as variable_panel
from .priors import constant_text

NOTES = 2
"""So many notes are shown at first."""


class KEYPOINTS_UL_joints(bpy.types.UIList):
    """Joints: whether each varies, and over which range."""

    bl_idname = "KEYPOINTS_UL_joints"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        split = layout.split(factor=0.56)
        left = split.row(align=True)
        left.prop(item, "use", text="")
        left.label(text=shown_name(item.name))
        right = split.row()
        right.alignment = "RIGHT"
        right.active = item.use
        if warnings.variable(data, item):
            right.label(text="", icon="ERROR")
        else:
            right.label(text=short_span(item.low, item.high, item.unit) if item.use else constant_text(data, item))

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
        colour = plots.keypoint_colour(index, len(data.keypoints))
        layout.prop(item, "name", text="", emboss=False, icon_value=plot_icons.dot(colour))
        if warnings.keypoint(item.name):
            layout.label(text="", icon="ERROR")
        if context.region is not None and context.region.width > 19 * panels.unit(context):
            right = layout.row()
            right.active = False
            right.alignment = "RIGHT"
            right.label(text=item.frame)


class KEYPOINTS_UL_robots(bpy.types.UIList):
    """Further robots, each by its own name."""

    bl_idname = "KEYPOINTS_UL_robots"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        layout.prop(item, "name", text="", emboss=False, icon="ARMATURE_DATA" if item.armature else "ERROR")
        right = layout.row()
        right.active = False
        right.alignment = "RIGHT"
        prefix = f"joint/{item.name}/"
        joints = sum(1 for v in data.variables if v.name.startswith(prefix))
        right.label(text=plural(joints, "joint"))


class KEYPOINTS_UL_links(bpy.types.UIList):
    """Groups of links with a material of their own."""

    bl_idname = "KEYPOINTS_UL_links"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        layout.prop(item, "name", text="", emboss=False, icon="MATERIAL")
        right = layout.row()
        right.active = False
        right.alignment = "RIGHT"
        right.label(text=plural(len(item.links), "link"))


class KEYPOINTS_MT_joints(bpy.types.Menu):
    """What can be done to all joints at once."""

    bl_idname = "KEYPOINTS_MT_joints"
    bl_label = "Joints"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for what, text, icon in (
            ("VARY", "Vary All", "CHECKBOX_HLT"), ("HOLD", "Hold All", "CHECKBOX_DEHLT"),
            ("ADAPT", "Adapt All", "LOOP_FORWARDS"), ("KEEP", "Adapt None", "BLANK1"),
        ):  # fmt: skip
            switch = layout.operator("robot_keypoints.variables_switch", text=text, icon=icon)
            switch.what, switch.joints = what, True
        layout.separator()
        copy = layout.operator("robot_keypoints.variable_copy", text="Copy Prior to the Other Joints", icon="COPYDOWN")
        copy.to, copy.source = "JOINTS", context.scene.robot_keypoints.joint_index
        layout.operator("robot_keypoints.variables_reset", text="Reset All", icon="LOOP_BACK").which = "JOINTS"


class KEYPOINTS_PT_robot(panels.Sidebar, bpy.types.Panel):
    """Load a robot; choose its joints and keypoints."""

    bl_idname = "KEYPOINTS_PT_robot"
    bl_label = "Robot"
    bl_order = 1

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        if scene_robots.problem(context.scene):
            panels.status(self.layout, "none", plots.RED)
        else:
            panels.status(self.layout, context.scene.robot_keypoints.armature.name, plots.GREEN)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        props = context.scene.robot_keypoints
        row = layout.row(align=True)
        row.operator("robot_keypoints.load_urdf", text="Load URDF…", icon="FILE_FOLDER")
        row.operator("robot_keypoints.builtin_robot", text="Built-in")
        layout.operator("robot_keypoints.from_armature", icon="ARMATURE_DATA")
        missing = scene_robots.problem(context.scene)
        layout.prop(props, "armature", text="")
        if missing:
            panels.advice(layout, context, missing)
        if missing != props.notes:
            _draw_notes(layout, context, props)
        scenery_panel.draw_left_out(layout, context)
        if props.armature is None:
            return
        if not scene_robots.has_joints(props):
            _draw_marking(layout)
            return
        _draw_joints(layout, context, props)
        _draw_keypoints(layout, context, props)
        _draw_links(layout, context, props)
        _draw_others(layout, context, props)


def _draw_notes(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    """What could not be taken over; long lists fold."""
    notes = props.notes.splitlines()
    for note in notes[:NOTES]:
        panels.warning(layout, context, note)
    rest = notes[NOTES:]
    if rest and (body := panels.section(layout, "notes", f"{plural(len(rest), 'more note')}", alert=True)) is not None:
        for note in rest:
            panels.advice(body, context, note, "DOT")


def _draw_joints(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    joints = [v for v in props.variables if v.name.startswith("joint/")]
    varying = sum(1 for v in joints if v.use)
    amiss = any(warnings.variable(props, v) for v in joints)
    body = panels.section(layout, "joints", "Joints", f"{varying} of {len(joints)} vary", alert=amiss)
    if body is None:
        return
    rows = min(max(len(joints), 3), 7)
    body.template_list("KEYPOINTS_UL_joints", "", props, "variables", props, "joint_index", rows=rows, maxrows=10)
    item = props.variables[props.joint_index] if 0 <= props.joint_index < len(props.variables) else None
    if item is None or not item.name.startswith("joint/"):
        return
    row = body.row()
    row.menu("KEYPOINTS_MT_joints", text="", icon="DOWNARROW_HLT")
    row = panels.settings_column(row).row(align=True)
    if item.use:
        row.prop(item, variable_panel.twin("low", item, props), text="Range")
        row.prop(item, variable_panel.twin("high", item, props), text="")
    else:
        row.prop(item, variable_panel.twin("value", item, props), text="Fixed at")
    panels.warning(body, context, warnings.variable(props, item))
    _draw_bone(body, context, props, item)


def _draw_bone(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any, item: Any) -> None:
    """For a user's own armature: which bones are joints, and how they move."""
    robot, _, name = item.name.removeprefix("joint/").rpartition("/")
    armature = scene_robots.robots(props).get(robot)
    if armature is None or rig.KINEMATICS in armature:
        return
    body = panels.section(layout, "bones", "Bones", name)
    if body is None:
        return
    bone = armature.pose.bones.get(name)
    if bone is not None:
        column = panels.settings_column(body)
        column.prop(bone, "robot_keypoints_kind")
        column.prop(bone, "robot_keypoints_axis")
        row = column.row(heading="Limits")
        row.prop(bone, "robot_keypoints_own_range", text="Enter them here")
        if bone.robot_keypoints_own_range:
            ends = ("near", "far") if item.unit == "m" else ("lower", "upper")
            row = column.row(align=True)
            row.prop(bone, f"robot_keypoints_{ends[0]}", text="From")
            row.prop(bone, f"robot_keypoints_{ends[1]}", text="")
    _draw_marking(body)


def _draw_marking(layout: bpy.types.UILayout) -> None:
    """Say of the selected bones whether they are joints."""
    column = layout.column(align=True)
    column.label(text="Bones selected in Pose Mode are")
    row = column.row(align=True)
    for joint, text in (("YES", "Joints"), ("NO", "None"), ("AUTO", "Automatic")):
        row.operator("robot_keypoints.bones_joint", text=text).joint = joint


def _draw_keypoints(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    amiss = warnings.any_keypoint(props)
    body = panels.section(layout, "keypoints", "Keypoints", plural(len(props.keypoints), "keypoint"), alert=amiss)
    if body is None:
        return
    row = body.row()
    row.template_list("KEYPOINTS_UL_keypoints", "", props, "keypoints", props, "keypoint_index", rows=5, maxrows=10)
    buttons = row.column(align=True)
    buttons.operator("robot_keypoints.keypoint_add", text="", icon="ADD")
    buttons.operator("robot_keypoints.keypoint_remove", text="", icon="REMOVE")
    buttons.separator()
    buttons.operator("robot_keypoints.keypoint_move", text="", icon="TRIA_UP").direction = "UP"
    buttons.operator("robot_keypoints.keypoint_move", text="", icon="TRIA_DOWN").direction = "DOWN"
    if not 0 <= props.keypoint_index < len(props.keypoints):
        return
    keypoint = props.keypoints[props.keypoint_index]
    panels.warning(body, context, warnings.keypoint(keypoint.name))
    armature = scene_robots.robots(props).get(keypoint.robot, props.armature)
    column = panels.settings_column(body)
    if keypoint.frame in armature.pose.bones or not keypoint.frame:
        column.prop_search(keypoint, "frame", armature.data, "bones", icon="BONE_DATA")
    else:
        column.prop_search(keypoint, "frame", context.scene, "objects", icon="EMPTY_AXIS")
        if keypoint.frame not in context.scene.objects:
            panels.warning(body, context, f"There is neither a bone nor an object {keypoint.frame!r}")
    column.prop(keypoint, "offset")


def _draw_links(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    """Groups of links with a material of their own."""
    summary = plural(len(props.links), "group") if props.links else "one for all"
    body = panels.section(layout, "links", "Materials", summary)
    if body is None:
        return
    if not props.links:
        panels.advice(
            body, context, "All links vary together. Select bones or meshes to give some a material of their own"
        )
        body.operator("robot_keypoints.links_add", icon="ADD")
        return
    row = body.row()
    row.template_list("KEYPOINTS_UL_links", "", props, "links", props, "links_index", rows=3, maxrows=6)
    buttons = row.column(align=True)
    buttons.operator("robot_keypoints.links_add", text="", icon="ADD")
    buttons.operator("robot_keypoints.links_remove", text="", icon="REMOVE")
    if not 0 <= props.links_index < len(props.links):
        return
    row = body.row(align=True)
    row.operator("robot_keypoints.links_assign", text="Assign Selected")
    row.operator("robot_keypoints.links_unassign", text="Remove Selected")
    names = [link.name for link in props.links[props.links_index].links]
    panels.advice(body, context, ", ".join(names) or "No link is in this group", "BONE_DATA")


def _draw_others(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    """Further robots of the scene."""
    body = panels.section(layout, "others", "Further Robots", str(len(props.others)) if props.others else "none")
    if body is None:
        return
    if not props.others:
        panels.advice(body, context, "Any other armature of the scene can be a robot, too, such as a copy of this one")
        body.operator("robot_keypoints.robot_add", icon="ADD")
        return
    row = body.row()
    row.template_list("KEYPOINTS_UL_robots", "", props, "others", props, "other_index", rows=3, maxrows=6)
    buttons = row.column(align=True)
    buttons.operator("robot_keypoints.robot_add", text="", icon="ADD")
    buttons.operator("robot_keypoints.robot_remove", text="", icon="REMOVE")
    if 0 <= props.other_index < len(props.others):
        body.prop(props.others[props.other_index], "armature", text="")


CLASSES = (
    KEYPOINTS_UL_joints,
    KEYPOINTS_UL_keypoints,
    KEYPOINTS_UL_robots,
    KEYPOINTS_UL_links,
    KEYPOINTS_MT_joints,
    KEYPOINTS_PT_robot,
)
