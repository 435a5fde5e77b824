# SPDX-License-Identifier: GPL-3.0-or-later
"""The Environment panel: the Python in which the trainer runs."""

from pathlib import Path

import bpy

from ...base import plots
from ...properties import preferences
from ...services import trainer_environment
from ...services.jobs import LINES, State
from . import base as panels


class KEYPOINTS_PT_environment(panels.Sidebar, bpy.types.Panel):
    """Choose, create and check the trainer's Python."""

    bl_idname = "KEYPOINTS_PT_environment"
    bl_label = "Environment"
    bl_order = 0

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        line, colour = _state()
        panels.status(self.layout, line, colour)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        service = trainer_environment.SERVICE
        health = service.health if service.known else trainer_environment.Health()
        python = preferences.get().python
        if not python:
            panels.advice(
                layout, context, "The trainer runs in a Python of its own. Choose one that has torch, or create one."
            )
        elif health.state is State.OK:
            panels.status(layout, f"ready: {health.line}", plots.GREEN)
            for sentence in health.mend:
                panels.advice(layout, context, sentence, "INFO")
        elif health.state is State.FAILED:
            panels.advice(layout, context, health.line, "ERROR")
            for sentence in health.mend:
                panels.advice(layout, context, sentence, "RIGHTARROW_THIN")
        else:
            service.wanted = True
            panels.status(layout, "checking, this takes some seconds …", plots.AMBER)
        row = layout.row(align=True)
        if python:
            row.operator("robot_keypoints.check_environment", text="Check", icon="FILE_REFRESH")
        row.operator("robot_keypoints.choose_python", text="Change…" if python else "Choose…", icon="FILE_FOLDER")
        if python and service.building.state is State.NONE:
            if (body := panels.section(layout, "environment", "Another Environment")) is not None:
                body.label(text=python)
                _draw_building(body, context)
        else:
            _draw_building(layout, context)


def _draw_building(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    building = trainer_environment.SERVICE.building
    if building.state is not State.RUNNING:
        row = layout.row()
        row.enabled = trainer_environment.may_go_online()
        row.operator("robot_keypoints.create_environment", text="Create Environment…", icon="ADD")
        if not trainer_environment.may_go_online():
            panels.advice(layout, context, trainer_environment.OFFLINE, "INTERNET_OFFLINE")
            layout.operator("robot_keypoints.show_network_preference", icon="PREFERENCES")
    if building.state is State.NONE:
        return
    box = layout.box()
    if building.state is State.RUNNING:
        box.label(text=building.message[:1].upper() + building.message[1:], icon="TIME")
        share = f"{100 * building.progress:.0f} % of this download" if building.progress else "working …"
        box.progress(factor=building.progress, text=share)
    elif building.state is State.OK:
        panels.status(box, "The environment is made", plots.GREEN)
    elif building.state is State.CANCELLED:
        panels.advice(box, context, building.reason or "Ending …", "CANCEL")
    else:
        panels.advice(box, context, building.reason, "ERROR")
    if building.state in (State.RUNNING, State.FAILED):
        column = box.column(align=True)
        column.scale_y = 0.7
        column.active = False
        for line in [*building.lines, *[""] * LINES][:LINES]:
            column.label(text=line)
    row = box.row(align=True)
    if building.state is State.RUNNING:
        row.operator("robot_keypoints.cancel_environment", icon="CANCEL")
    if building.log is not None and building.state is not State.OK:
        row.operator("robot_keypoints.open_path", text="Open Log", icon="TEXT").path = str(building.log)


def _state() -> tuple[str, plots.Colour]:
    """The header's few words."""
    service = trainer_environment.SERVICE
    if service.building.state is State.RUNNING:
        return "creating …", plots.AMBER
    if not preferences.get().python:
        return "not chosen", plots.RED
    if not service.known:
        return Path(preferences.get().python).parent.parent.name or "not checked", plots.GREY
    if service.health.state is State.OK:
        return service.health.line.split(",")[0], plots.GREEN
    if service.health.state is State.FAILED:
        return "not working", plots.RED
    return "checking …", plots.AMBER


CLASSES = (KEYPOINTS_PT_environment,)
