# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking before training: the contact sheet and the check, within the Priors panel."""

from __future__ import annotations

from typing import Any

import bpy

from . import findings, inspected, inspection, jobs, panels, panels_scenery, pictures, previews, scenery, sheet
from .environment import State
from .text import plural


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Buttons, and how far it is; results of both.

    The buttons stay where they are: the mouse is still on one, and Blender would draw the first label that takes the
    place of a progress bar under the mouse as another bar.
    """
    services: tuple[jobs.Job, ...] = (sheet.SERVICE, inspection.SERVICE)
    row = layout.row(align=True)
    row.operator("robot_keypoints.contact_sheet", icon="IMAGE_DATA")
    row.operator("robot_keypoints.check_scene", icon="VIEWZOOM")
    for job in services:
        if job.running:
            row = layout.row(align=True)
            row.progress(factor=job.progress, text=job.message)
            row.operator("robot_keypoints.cancel_job", text="", icon="X").job = job.name
    for job in services:
        if job.state is State.FAILED:
            panels.warning(layout, context, job.reason)
    panels_scenery.draw_in_the_way(layout, context)
    report = inspected.latest()
    if report.draws:
        _draw_report(layout, context, report)
    if sheet.SERVICE.picture is not None:
        _draw_sheet(layout, context)


def _draw_report(layout: bpy.types.UILayout, context: bpy.types.Context, report: inspected.Report) -> None:
    """What the check found, in one line; each warning stands where it arises."""
    group = context.scene.robot_keypoints
    places = []
    if findings.any_keypoint(group):
        places.append("Keypoints")
    if findings.camera(group):
        places.append("Camera")
    if findings.rules(group):
        places.append("Rules")
    if scenery.in_the_way(context.scene):
        places.append("Scenery")
    if report.stale:
        panels.status(layout, "Changed since the last check", pictures.GREY)
    elif places:
        panels.status(layout, f"Worth a look: {', '.join(places)}", pictures.AMBER)
    else:
        panels.status(layout, f"Nothing amiss in {plural(report.draws, 'draw')}", pictures.GREEN)


def _draw_sheet(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    service: Any = sheet.SERVICE
    unit = panels.unit(context)
    # Icons are square: somewhat smaller than the panel, the picture has as much room beside it as above.
    scale = max(6.0, ((context.region.width if context.region else 300) - 3.6 * unit) / unit)
    icon = previews.picture("sheet", service.number, lambda: service.picture)
    box = layout.column(align=True)
    box.template_icon(icon, scale=scale)
    row = box.row(align=True)
    row.operator("robot_keypoints.show_sheet", icon="WINDOW")
    row.operator("robot_keypoints.forget_sheet", text="", icon="X")
