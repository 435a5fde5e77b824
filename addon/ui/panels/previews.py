# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking before training: the contact sheet and the check, within the Priors panel."""

from __future__ import annotations

from typing import Any

import bpy

from ...base import plots
from ...base.formatting import plural
from ...properties import scene_check_report, scenery
from ...services import contact_sheet, jobs, scene_check
from ...services.jobs import State
from .. import plot_icons, warnings
from . import base as panels, scenery as scenery_panel


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Buttons, and how far it is; results of both.

    The buttons stay where they are: the mouse is still on one, and Blender would draw the first label that takes the
    place of a progress bar under the mouse as another bar.
    """
    services: tuple[jobs.Job, ...] = (contact_sheet.SERVICE, scene_check.SERVICE)
    row = layout.row(align=True)
    running = contact_sheet.SERVICE.running
    panels.starter(row, "robot_keypoints.contact_sheet", "Contact Sheet", "IMAGE_DATA", running)
    panels.starter(row, "robot_keypoints.check_scene", "Check", "VIEWZOOM", scene_check.SERVICE.running)
    for job in services:
        if job.running:
            row = layout.row(align=True)
            row.progress(factor=job.progress, text=job.message)
            row.operator("robot_keypoints.cancel_job", text="", icon="X").job = job.name
    for job in services:
        if job.state is State.FAILED:
            panels.warning(layout, context, job.reason)
    scenery_panel.draw_in_the_way(layout, context)
    report = scene_check_report.latest()
    if report.draws:
        _draw_report(layout, context, report)
    if contact_sheet.SERVICE.picture is not None:
        _draw_sheet(layout, context)


def _draw_report(layout: bpy.types.UILayout, context: bpy.types.Context, report: scene_check_report.Report) -> None:
    """What the check found, in one line; each warning stands where it arises."""
    props = context.scene.robot_keypoints
    places = []
    if warnings.any_keypoint(props):
        places.append("Keypoints")
    if warnings.camera(props):
        places.append("Camera")
    if warnings.rules(props):
        places.append("Rules")
    if scenery.in_the_way(context.scene):
        places.append("Scenery")
    if report.stale:
        panels.status(layout, "Changed since the last check", plots.GREY)
    elif places:
        panels.status(layout, f"Worth a look: {', '.join(places)}", plots.AMBER)
    else:
        panels.status(layout, f"Nothing amiss in {plural(report.draws, 'draw')}", plots.GREEN)


def _draw_sheet(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    service: Any = contact_sheet.SERVICE
    unit = panels.unit(context)
    # Icons are square: somewhat smaller than the panel, the picture has as much room beside it as above.
    scale = max(6.0, ((context.region.width if context.region else 300) - 3.6 * unit) / unit)
    icon = plot_icons.picture("sheet", service.number, lambda: service.picture)
    box = layout.column(align=True)
    box.template_icon(icon, scale=scale)
    row = box.row(align=True)
    row.operator("robot_keypoints.show_sheet", icon="WINDOW")
    row.operator("robot_keypoints.forget_sheet", text="", icon="X")
