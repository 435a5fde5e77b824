# SPDX-License-Identifier: GPL-3.0-or-later
"""What the five panels share. They stand in the sidebar's tab "Keypoints", in the order of the work."""

import bpy

from ...base import plots
from ...base.formatting import paragraph
from ...services.jobs import Job, State
from .. import plot_icons

PICTURE = 0.6
"""Share of a box's width that a picture takes; words stand beside it."""


class Sidebar:
    """Where a panel stands."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Keypoints"


def unit(context: bpy.types.Context) -> float:
    """Height of one button in pixels."""
    return 20.0 * float(context.preferences.system.ui_scale)


def picture_side(context: bpy.types.Context) -> tuple[float, int]:
    """Scale for ``template_icon`` and the picture's size in pixels: about half the sidebar's width.

    Blender leaves four pixels free on each side of such a picture.
    """
    width = context.region.width if context.region else 300
    scale = max(5.0, min(12.0, PICTURE * (width - 3.3 * unit(context)) / unit(context)))
    return scale, max(32, int(scale * unit(context)) - 8)


def status(layout: bpy.types.UILayout, text: str, colour: plots.Colour) -> None:
    """One line with a coloured mark."""
    layout.label(text=text, icon_value=plot_icons.dot(colour))


def advice(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "INFO", narrower: float = 0.0
) -> None:
    """A sentence over as many lines as it needs; ``narrower`` by so many pixels than the panel."""
    paragraph(layout, context, text, icon, narrower=narrower)


def section(
    layout: bpy.types.UILayout, identifier: str, title: str, summary: str = "", closed: bool = True, alert: bool = False
) -> bpy.types.UILayout | None:
    """A part that folds; its body, or None while folded. ``alert`` shows that something in it wants attention."""
    header, body = layout.panel(f"KEYPOINTS_{identifier}", default_closed=closed)
    header.label(text=title)
    if summary or alert:
        right = header.row()
        right.alignment = "RIGHT"
        right.active = alert
        if alert:
            right.label(text=summary, icon="ERROR")
        else:
            right.label(text=summary)
    return body


def warning(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, narrower: float = 0.0) -> None:
    """What is worth a look, where it arises; ``narrower`` by so many pixels than the panel."""
    if text:
        paragraph(layout, context, text, "ERROR", narrower=narrower)


def job(layout: bpy.types.UILayout, context: bpy.types.Context, running: Job) -> None:
    """How far a job is, with a button that cancels it; or why it failed."""
    if running.running:
        row = layout.row(align=True)
        row.progress(factor=running.progress, text=running.message)
        row.operator("robot_keypoints.cancel_job", text="", icon="X").job = running.name
    elif running.state is State.FAILED:
        warning(layout, context, running.reason)


def starter(layout: bpy.types.UILayout, operator: str, text: str, icon: str, running: bool) -> None:
    """A button that starts a job, grey while the job is ``running``.

    The grey one is another button: as long as the mouse rests on a button, Blender goes on drawing it as it was.
    """
    layout.operator("robot_keypoints.wait_for_job" if running else operator, text=text, icon=icon)


def settings_column(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column of settings: label left, value right."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column
