# SPDX-License-Identifier: GPL-3.0-or-later
"""The Priors panel: every random variable with its histogram, live while a training runs."""

from collections.abc import Sequence
from typing import Any

import blf
import bpy

from . import adoption, panels, pictures, previews, runner
from .panels_robot import twin
from .properties import GROUPS
from .text import FONT, FONT_POINTS, plural, quantity, shown_name

NAMES = 0.46
"""Share of a row that the variable's name takes."""


def posterior_of(item: Any) -> tuple[float, ...] | None:
    """The latest posterior of a variable, if the run has one that fits it."""
    status = runner.RUNNER.status
    if status is None or not item.use:
        return None
    theta = status.concentrations.get(item.name)
    return theta if theta is not None and len(theta) == item.bins else None


def spark(context: bpy.types.Context, item: Any) -> str:
    """The variable's histogram as text, as many characters as the row has room for."""
    theta: Sequence[float] = posterior_of(item) or (1.0,) * item.bins
    room = (1 - NAMES) * (context.region.width if context.region else 300) - 3.6 * panels.unit(context)
    return pictures.spark(theta, max(4, min(16, int(room / blocks_width(context)))))


def blocks_width(context: bpy.types.Context) -> float:
    """Width of one block character in the panel's font, pixels."""
    blf.size(FONT, FONT_POINTS * context.preferences.system.ui_scale)
    return float(blf.dimensions(FONT, pictures.SPARKS[-1] * 16)[0]) / 16


class KEYPOINTS_UL_variables(bpy.types.UIList):
    """Variables of one group, each with a small histogram."""

    bl_idname = "KEYPOINTS_UL_variables"

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str,
        index: int = 0, flt_flag: int = 0,
    ) -> None:  # fmt: skip
        split = layout.split(factor=NAMES)
        left = split.row(align=True)
        left.prop(item, "use", text="")
        left.label(text=shown_name(item.name))
        right = split.row(align=True)
        if not item.use:
            right.active = False
            right.label(text=f"held at {quantity(item.value, item.unit)}")
            return
        bars = right.row()
        bars.active = item.adapt
        bars.label(text=spark(context, item))
        adapts = right.row()
        adapts.alignment = "RIGHT"
        adapts.label(text="", icon="LOOP_FORWARDS" if item.adapt else "BLANK1")

    def filter_items(self, context: Any, data: Any, property_name: str) -> tuple[list[int], list[int]]:
        items = getattr(data, property_name)
        wanted, group = self.filter_name.lower(), f"{data.group}/"
        return [
            self.bitflag_filter_item if i.name.startswith(group) and wanted in i.name.lower() else 0 for i in items
        ], []


class KEYPOINTS_PT_priors(panels.Sidebar, bpy.types.Panel):
    """Ranges and distributions of everything that is drawn at random."""

    bl_idname = "KEYPOINTS_PT_priors"
    bl_label = "Priors"
    bl_order = 2

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        variables = [v for v in context.scene.robot_keypoints.variables if v.use]
        if variables:
            adapting = sum(1 for v in variables if v.adapt)
            self.layout.label(text=f"{len(variables)}, {adapting} adapt")

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        group = context.scene.robot_keypoints
        if not group.variables:
            panels.advice(layout, context, adoption.problem(context.scene) or "There are no variables")
            return
        row = layout.row(align=True)
        row.operator("robot_keypoints.draw_sample", icon="SHADERFX")
        status = runner.RUNNER.status
        if status is not None and status.version:
            row.operator("robot_keypoints.draw_sample", text="From Posterior").adapted = True
        tabs = layout.row(align=True)
        for identifier, label, _ in GROUPS:
            tabs.prop_enum(group, "group", identifier, text=label)
        layout.template_list(
            "KEYPOINTS_UL_variables", "", group, "variables", group, "variable_index", rows=6, maxrows=10
        )
        if 0 <= group.variable_index < len(group.variables):
            item = group.variables[group.variable_index]
            if item.name.startswith(f"{group.group}/"):
                _draw_variable(layout, context, item)


def _draw_variable(layout: bpy.types.UILayout, context: bpy.types.Context, item: Any) -> None:
    box = layout.box()
    column = panels.settings_column(box)
    if not item.use:
        column.prop(item, twin("value", item.unit), text="Held at")
        return
    row = column.row(align=True)
    row.prop(item, twin("low", item.unit), text="Range")
    row.prop(item, twin("high", item.unit), text="")
    column.prop(item, "bins")
    column.prop(item, "concentration")
    row = column.row(heading="Feedback")
    row.prop(item, "adapt")
    if item.unit in ("rad", ""):
        row = column.row(heading="Ends meet")
        row.prop(item, "circular")
    _draw_histogram(box, context, item)


def _draw_histogram(box: bpy.types.UILayout, context: bpy.types.Context, item: Any) -> None:
    scale, side = panels.picture_side(context)
    prior = (item.concentration,) * item.bins
    posterior = posterior_of(item)
    content = (prior, posterior, side)
    row = box.split(factor=panels.PICTURE)
    left = row.column(align=True)
    icon = previews.picture("histogram", content, lambda: pictures.histogram(prior, posterior, side, side))
    left.template_icon(icon, scale=scale)
    ends = left.row()
    ends.label(text=quantity(item.low, item.unit))
    right_end = ends.row()
    right_end.alignment = "RIGHT"
    right_end.label(text=quantity(item.high, item.unit))
    words = row.column(align=True)
    words.scale_y = 0.9
    words.label(text=shown_name(item.name))
    words.label(text=f"{plural(item.bins, 'bin')} of {quantity((item.high - item.low) / item.bins, item.unit)}")
    words.separator()
    words.label(text="prior", icon_value=previews.dot(pictures.PRIOR_LINE))
    if posterior is None:
        return
    status = runner.RUNNER.status
    words.label(text="more often", icon_value=previews.dot(pictures.MORE))
    words.label(text="less often", icon_value=previews.dot(pictures.LESS))
    words.separator()
    top = max(range(len(posterior)), key=lambda k: posterior[k])
    width = (item.high - item.low) / item.bins
    words.label(text="most often:")
    words.label(
        text=f"{quantity(item.low + top * width, item.unit)} … {quantity(item.low + (top + 1) * width, item.unit)}"
    )
    words.label(text=f"{posterior[top] / sum(posterior) * item.bins:.1f} × uniform")
    if status is not None:
        words.label(text=plural(status.version, "update"))


CLASSES = (KEYPOINTS_UL_variables, KEYPOINTS_PT_priors)
