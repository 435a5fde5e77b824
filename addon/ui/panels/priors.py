# SPDX-License-Identifier: GPL-3.0-or-later
"""The Priors panel: presets, the list of all variables, what stands behind the robot, and which draws count."""

from collections.abc import Iterable
from typing import Any

import bpy

from ....core.scene import presets
from ...base.formatting import chosen, plural, quantity, shown_name
from ...properties import choice_names, scene_robots, user_presets, variable_list
from ...properties.scene import GROUPS
from ...services import training_run
from .. import warnings
from . import base as panels, previews as previews_panel, variable as variable_panel

NAMES = 0.58
"""Share of a row that the variable's name takes."""


class KEYPOINTS_UL_variables(bpy.types.UIList):
    """Variables of one group, or those that were searched for, each with a small histogram."""

    bl_idname = "KEYPOINTS_UL_variables"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        split = layout.split(factor=NAMES)
        left = split.row(align=True)
        left.prop(item, "use", text="")
        name = shown_name(item.name)
        if data.search and not item.name.startswith(f"{data.group}/"):
            name = f"{item.name.partition('/')[0]}: {name}"
        left.label(text=name)
        right = split.row(align=True)
        if not item.use:
            right.active = False
            right.label(text=constant_text(data, item))
            return
        if warnings.variable(data, item):
            right.label(text="", icon="ERROR")
        else:
            bars = right.row()
            bars.active = item.adapt
            bars.label(text=variable_panel.spark(context, item, NAMES))
        adapts = right.row()
        adapts.alignment = "RIGHT"
        adapts.label(text="", icon="LOOP_FORWARDS" if item.adapt else "BLANK1")

    def filter_items(self, context: Any, data: Any, property_name: str) -> tuple[list[int], list[int]]:
        flag = self.bitflag_filter_item
        search, prefix = data.search.strip().lower(), f"{data.group}/"
        names = [i.name for i in getattr(data, property_name)]
        if search:
            return [flag if variable_list.matches(n, search) else 0 for n in names], []
        return [flag if n.startswith(prefix) else 0 for n in names], []


def constant_text(props: Any, item: Any) -> str:
    """What a variable is fixed at, in words."""
    names = choice_names.names(props, item.name)
    return chosen(names, int(item.value), int(item.value) + 1) if names else quantity(item.value, item.unit)


class KEYPOINTS_MT_presets(bpy.types.Menu):
    """The presets that come with the extension, and the user's own."""

    bl_idname = "KEYPOINTS_MT_presets"
    bl_label = "Presets"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for name, preset in presets.PRESETS.items():
            layout.operator("robot_keypoints.preset_choose", text=preset.label).name = name
        own = user_presets.names()
        if own:
            layout.separator()
            for name in own:
                layout.operator("robot_keypoints.preset_choose", text=name, icon="USER").name = name
        layout.separator()
        layout.operator("robot_keypoints.preset_save", icon="ADD")
        if own:
            show = layout.operator("robot_keypoints.open_path", text="Open Folder", icon="FILE_FOLDER")
            show.path = str(user_presets.folder())
        if context.scene.robot_keypoints.preset_name:
            layout.operator("robot_keypoints.preset_remove", icon="REMOVE")


class KEYPOINTS_MT_variables(bpy.types.Menu):
    """What can be done to several variables at once."""

    bl_idname = "KEYPOINTS_MT_variables"
    bl_label = "Variables"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.label(text="All that are listed")
        for what, text, icon in (
            ("VARY", "Vary", "CHECKBOX_HLT"), ("HOLD", "Hold", "CHECKBOX_DEHLT"), ("ADAPT", "Adapt", "LOOP_FORWARDS"),
            ("KEEP", "Do Not Adapt", "BLANK1"),
        ):  # fmt: skip
            layout.operator("robot_keypoints.variables_switch", text=text, icon=icon).what = what
        layout.separator()
        copy_menu(layout)
        layout.separator()
        reset_menu(layout)


def copy_menu(layout: bpy.types.UILayout) -> None:
    """Where the active variable's prior can be copied to."""
    for to, text in (("JOINTS", "Copy Prior to the Other Joints"), ("LISTED", "Copy Prior to All Listed")):
        layout.operator("robot_keypoints.variable_copy", text=text, icon="COPYDOWN").to = to


def reset_menu(layout: bpy.types.UILayout) -> None:
    """What can be put back to the preset."""
    for which, text in (("ONE", "Reset This"), ("LISTED", "Reset All Listed"), ("ALL", "Reset Everything")):
        layout.operator("robot_keypoints.variables_reset", text=text, icon="LOOP_BACK").which = which


class KEYPOINTS_PT_priors(panels.Sidebar, bpy.types.Panel):
    """Ranges and distributions of everything that is drawn at random."""

    bl_idname = "KEYPOINTS_PT_priors"
    bl_label = "Priors"
    bl_order = 2

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        every = context.scene.robot_keypoints.variables
        varying = sum(1 for v in every if v.use)
        if every:
            self.layout.label(text=f"{varying} of {len(every)} vary")

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        props = context.scene.robot_keypoints
        if not props.variables:
            panels.advice(layout, context, scene_robots.problem(context.scene) or "There are no variables")
            return
        _draw_presets(layout, props)
        row = layout.row(align=True)
        row.operator("robot_keypoints.draw_sample", icon="SHADERFX")
        status = training_run.RUNNER.status
        if status is not None and status.version:
            row.operator("robot_keypoints.draw_sample", text="From Posterior").adapted = True
        previews_panel.draw(layout, context)
        _draw_variables(layout, context, props)
        _draw_pictures(layout, context, props)
        _draw_rules(layout, context, props)


def _draw_presets(layout: bpy.types.UILayout, props: Any) -> None:
    current = props.preset_name or props.scene.preset
    grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
    for name, preset in presets.PRESETS.items():
        grid.operator("robot_keypoints.preset_choose", text=preset.label, depress=name == current).name = name
    changed = sum(1 for v in props.variables if v.changed)
    row = layout.row(align=True)
    left = row.row()
    left.active = False
    name = f"{props.preset_name}: " if props.preset_name else ""
    left.label(text=name + (f"{plural(changed, 'variable')} changed" if changed else "as the preset has it"))
    if changed:
        row.operator("robot_keypoints.variables_reset", text="", icon="LOOP_BACK", emboss=False).which = "ALL"
    row.menu("KEYPOINTS_MT_presets", text="", icon="PRESET")


def _draw_variables(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    adapting = sum(1 for v in props.variables if v.use and v.adapt)
    found = warnings.any_variable(props)
    body = panels.section(layout, "variables", "Variables", f"{adapting} adapt", alert=found)
    if body is None:
        return
    row = body.row(align=True)
    row.prop(props, "search", text="", icon="VIEWZOOM", placeholder="Search all")
    row.operator("robot_keypoints.variable_add", text="", icon="ADD")
    row.operator("robot_keypoints.variable_remove", text="", icon="REMOVE")
    row.menu("KEYPOINTS_MT_variables", text="", icon="DOWNARROW_HLT")
    tabs = body.grid_flow(row_major=True, columns=3, even_columns=True, align=True)
    tabs.active = not props.search
    for identifier, label, _ in GROUPS:
        tabs.prop_enum(props, "group", identifier, text=label)
    body.template_list("KEYPOINTS_UL_variables", "", props, "variables", props, "variable_index", rows=6, maxrows=12)
    shown = list(variable_list.listed(props, props.search))
    if not shown:
        text = f"No variable is called {props.search!r}" if props.search else NOTHING
        panels.advice(body, context, text)
        return
    item = props.variables[props.variable_index] if 0 <= props.variable_index < len(props.variables) else None
    if item is not None and _is_listed(props, item):
        variable_panel.draw(body, context, props, item)


NOTHING = (
    "Any number in this .blend can vary: right-click it and choose Vary in Training, or Copy Full Data Path and then "
    "the plus sign here"
)


def _is_listed(props: Any, item: Any) -> bool:
    search = props.search.strip().lower()
    return variable_list.matches(item.name, search) if search else item.name.startswith(f"{props.group}/")


def _draw_pictures(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    themes = props.augmentation.themes
    notes = [n for n in (props.worlds_note, props.backgrounds_note) if n]
    summary = plural(len(themes), "theme") if themes else "drawn"
    body = panels.section(layout, "pictures", "Worlds and Photographs", "" if notes else summary, alert=bool(notes))
    if body is None:
        return
    column = panels.settings_column(body)
    column.prop(props.scene, "worlds")
    if props.worlds_note:
        panels.warning(body, context, props.worlds_note)
    elif props.world_files:
        _summary(body, f"{plural(len(props.world_files), 'world')} of your own, beside Blender's eight")
    column = panels.settings_column(body)
    column.prop(props.augmentation, "backgrounds")
    panels.warning(body, context, props.backgrounds_note)
    if themes:
        _draw_themes(body, themes)
    if props.scene.worlds or props.augmentation.backgrounds:
        body.operator("robot_keypoints.folders_reread", icon="FILE_REFRESH")


def _draw_themes(layout: bpy.types.UILayout, themes: Iterable[Any]) -> None:
    column = layout.column(align=True)
    heading = column.row()
    heading.active = False
    heading.label(text="Theme")
    right = heading.row()
    right.alignment = "RIGHT"
    right.label(text="only for validation")
    for theme in themes:
        row = column.row()
        row.label(text=choice_names.theme_label(theme.name), icon="IMAGE_DATA" if theme.pictures else "ERROR")
        right = row.row()
        right.alignment = "RIGHT"
        count = f"{theme.pictures}" if theme.pictures < choice_names.MOST else f"over {choice_names.MOST}"
        right.label(text=count)
        right.prop(theme, "validation", text="")


def _summary(layout: bpy.types.UILayout, text: str) -> None:
    row = layout.row()
    row.active = False
    row.label(text=text, icon="BLANK1")


def _draw_rules(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    rules = props.scene
    words = []
    if rules.framing:
        words.append(f"{100 * rules.framing:.0f} % in view")
    if rules.above_floor:
        words.append("above floor")
    if rules.collision_free:
        words.append("no collisions")
    found = warnings.rules(props)
    body = panels.section(layout, "rules", "Rules", "" if found else ", ".join(words) or "none", alert=bool(found))
    if body is None:
        return
    column = panels.settings_column(body)
    column.prop(rules, "framing")
    column.prop(rules, "collision_free")
    column.prop(rules, "above_floor")
    row = column.row()
    row.active = rules.above_floor
    row.prop(rules, "floor")
    panels.warning(body, context, found)


CLASSES = (KEYPOINTS_UL_variables, KEYPOINTS_MT_presets, KEYPOINTS_MT_variables, KEYPOINTS_PT_priors)
