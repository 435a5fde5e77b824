# SPDX-License-Identifier: GPL-3.0-or-later
"""The Training panel: settings, start and stop, and what is going on."""

from typing import Any, Literal

import bpy

from ....core import run_folder
from ....core.messages.events import Progress
from ....core.processes.run_status import Phase, ProcessStatus, Status
from ...base import plots
from ...base.formatting import chosen, count, duration, plural, shown_name, span
from ...properties import choice_names, preferences, scene_robots
from ...services import run_report, training_run
from .. import plot_icons
from . import base as panels, learning_settings, scenery as scenery_panel

STATE_COLOURS = {
    "starting": plots.AMBER,
    "ready": plots.AMBER,
    "training": plots.GREEN,
    "rendering": plots.GREEN,
    "ended": plots.GREY,
}
LEAST_EXPLAINED = 0.005
"""Share of the losses that is shown as 1 %."""

ENGINES = {"cycles": "Cycles", "eevee": "EEVEE", "workbench": "Workbench"}


class KEYPOINTS_PT_training(panels.Sidebar, bpy.types.Panel):
    """Train, and watch it."""

    bl_idname = "KEYPOINTS_PT_training"
    bl_label = "Training"
    bl_order = 3

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        status = training_run.RUNNER.status
        if status is None:
            return
        if status.phase is Phase.FAILED:
            panels.status(self.layout, "failed", plots.RED)
        elif status.phase.over:
            panels.status(self.layout, status.phase.value, plots.GREY)
        elif status.phase is Phase.TRAINING and "fraction" in status.progress:
            panels.status(self.layout, f"{100 * status.progress['fraction']:.0f} %", plots.GREEN)
        else:
            panels.status(self.layout, status.phase.value, plots.AMBER)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        status = training_run.RUNNER.status
        props = context.scene.robot_keypoints
        if not training_run.RUNNER.active:
            _draw_settings(layout, context, props)
            _draw_start(layout, context)
        else:
            assert status is not None
            _draw_controls(layout, status)
            scenery_panel.draw_in_the_way(layout, context)
        if status is not None:
            _draw_status(layout, context, status)


def _draw_start(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    missing = scene_robots.problem(context.scene)
    if not missing and not preferences.get().python:
        missing = "No Python with torch is chosen: choose or create one in the Environment panel"
    row = layout.row(align=True)
    row.scale_y = 1.5
    row.operator("robot_keypoints.start_training", icon="PLAY")
    row.operator("robot_keypoints.continue_training", text="", icon="FILE_REFRESH")
    if missing:
        panels.advice(layout, context, missing)
    scenery_panel.draw_in_the_way(layout, context)


def _draw_controls(layout: bpy.types.UILayout, status: Status) -> None:
    row = layout.row(align=True)
    row.scale_y = 1.5
    if status.phase is Phase.PAUSED:
        row.operator("robot_keypoints.resume_training", icon="PLAY")
    else:
        row.operator("robot_keypoints.pause_training", icon="PAUSE")
    row.operator("robot_keypoints.stop_training", icon="SNAP_FACE")


def _draw_status(layout: bpy.types.UILayout, context: bpy.types.Context, status: Status) -> None:
    progress = status.progress
    fraction = progress.get("fraction")
    if not status.phase.over:
        words = []
        if fraction is not None:
            words.append(f"{100 * fraction:.0f} %")
        if "seconds_left" in progress and status.phase is Phase.TRAINING:
            words.append(f"{duration(progress['seconds_left'])} left")
        layout.progress(factor=float(fraction or 0.0), text=", ".join(words) or status.phase.value)
        if status.message != Phase.TRAINING.value:
            layout.label(text=status.message or status.phase.value)
    if status.phase is Phase.FAILED:
        _draw_failure(layout, context, status)
    if not status.phase.over:
        _draw_processes(layout, status)
    for notice in status.notices[-2:]:
        panels.advice(layout, context, notice[:1].upper() + notice[1:], "ERROR")
    if progress:
        _draw_figures(layout, progress)
    if status.metrics:
        _draw_curves(layout, context, status)
        _draw_hardest(layout, context, status)
    if status.phase.over and training_run.RUNNER.session is not None:
        row = layout.row(align=True)
        if training_run.RUNNER.model is not None:
            row.operator("robot_keypoints.load_trained_model", text="Load Model", icon="IMPORT")
        row.operator("robot_keypoints.open_path", text="Open Folder", icon="FILE_FOLDER").path = str(
            training_run.RUNNER.session.folder
        )
    if status.metrics:
        _draw_report(layout, context)
        _draw_hardest_images(layout, context)


def _draw_report(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    panels.starter(layout, "robot_keypoints.report_run", "Report", "DOCUMENTS", run_report.SERVICE.running)
    panels.job(layout, context, run_report.SERVICE)


def _draw_hardest_images(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    sheet = training_run.RUNNER.hardest
    picture = sheet.picture
    if picture is None:
        return
    body = panels.section(layout, "hardest_images", "Hardest Images", "of the last update", closed=False)
    if body is not None:
        unit = panels.unit(context)
        scale = max(6.0, ((context.region.width if context.region else 300) - 3.6 * unit) / unit)
        icon = plot_icons.picture("hardest", sheet.number, lambda: picture)
        body.template_icon(icon, scale=scale)
        words = body.row()
        words.active = False
        words.label(text="green: true, pink: predicted")


def _draw_failure(layout: bpy.types.UILayout, context: bpy.types.Context, status: Status) -> None:
    box = layout.box()
    first, *lines = status.reason.splitlines() or ["The training failed"]
    first = first.removeprefix("error: ")
    narrower = 0.8 * panels.unit(context)
    panels.advice(box, context, first[:1].upper() + first[1:], "ERROR", narrower)
    if lines:
        for line in lines[-6:]:
            panels.advice(box, context, line.strip(), "NONE", narrower)
    session = training_run.RUNNER.session
    if (
        session is not None
        and (session.folder / run_folder.CHECKPOINTS).is_dir()
        and any((session.folder / run_folder.CHECKPOINTS).iterdir())
    ):
        go_on = box.operator("robot_keypoints.continue_training", text="Continue This Run", icon="FILE_REFRESH")
        go_on.directory = str(session.folder)


def _draw_processes(layout: bpy.types.UILayout, status: Status) -> None:
    column = layout.column(align=True)
    column.scale_y = 0.9
    for process in status.processes.values():
        row = column.row()
        left = row.row()
        panels.status(left, _process_name(process), STATE_COLOURS.get(process.state, plots.GREY))
        right = row.row()
        right.alignment = "RIGHT"
        right.label(text=_process_words(process, status.phase))


def _process_name(process: ProcessStatus) -> str:
    name = process.name + (", adapts" if process.adapts else "")
    return name + (f", restarted {process.restarts}×" if process.restarts else "")


def _process_words(process: ProcessStatus, phase: Phase) -> str:
    if phase is Phase.PAUSED:
        return "paused"
    if process.state in ("training", "rendering"):
        return f"{process.rate:.1f} {'steps' if process.name == 'trainer' else 'images'}/s"
    return process.state


def _draw_figures(layout: bpy.types.UILayout, progress: Progress) -> None:
    column = layout.column(align=True)
    column.scale_y = 0.9
    rows = [
        ("step", count(progress["step"]) if "step" in progress else ""),
        ("images", count(progress["images"]) if "images" in progress else ""),
        ("new images", f"{100 * progress['fresh_fraction']:.0f} %" if "fresh_fraction" in progress else ""),
        ("waiting for images", f"{100 * progress['stall_fraction']:.1f} %" if "stall_fraction" in progress else ""),
    ]
    if progress.get("dropped"):
        rows.append(("messages dropped", count(progress["dropped"])))
    for name, value in rows:
        if value:
            row = column.row()
            row.label(text=name)
            right = row.row()
            right.alignment = "RIGHT"
            right.label(text=value)


def _draw_curves(layout: bpy.types.UILayout, context: bpy.types.Context, status: Status) -> None:
    scale, side = panels.picture_side(context)
    drawn = [m for m in status.metrics if "images" in m]
    if not drawn:
        return
    x = tuple(float(m["images"]) for m in drawn)
    kinds: list[tuple[str, Literal["mean_error_percent", "median_error_percent"], plots.Colour]] = [
        ("mean", "mean_error_percent", plots.MEAN),
        ("median", "median_error_percent", plots.MEDIAN),
    ]
    data = [
        plots.Curve(x, tuple(m.get(key, 0.0) for m in drawn), colour)
        for _, key, colour in kinds
        if any(key in m for m in drawn)
    ]
    row = layout.box().split(factor=panels.PICTURE)
    left = row.column(align=True)
    icon = plot_icons.picture("error", (tuple((c.x, c.y) for c in data), side), lambda: plots.curves(data, side, side))
    left.template_icon(icon, scale=scale)
    ends = left.row()
    ends.label(text="0")
    right_end = ends.row()
    right_end.alignment = "RIGHT"
    right_end.label(text=f"{count(x[-1])} images")
    words = row.column(align=True)
    words.scale_y = 0.9
    words.label(text="error, % of the")
    words.label(text="diagonal")
    words.separator()
    last = drawn[-1]
    for name, key, colour in kinds:
        if key in last:
            # Three digits are wider than the default sidebar.
            digits = 0 if last[key] >= 10.0 else 1
            words.label(text=f"{name} {last[key]:.{digits}f}", icon_value=plot_icons.dot(colour))
    values = [y for c in data for y in c.y if y > 0]
    if values:
        low, high = plots.nice_limits(values)
        words.separator()
        words.label(text=f"axis {low:g} … {high:g} %")
    if "loss" in last:
        words.label(text=f"loss {last['loss']:.4g}")


def _draw_hardest(layout: bpy.types.UILayout, context: bpy.types.Context, status: Status) -> None:
    hardest = status.metrics[-1].get("hardest", [])
    settings = training_run.RUNNER.settings
    units = {v.name: v.unit for v in settings.variables} if settings is not None else {}
    props = context.scene.robot_keypoints
    words = []
    for h in hardest[:3]:
        name = h["variable"]
        names = choice_names.names(props, name)
        where = chosen(names, h["low"], h["high"]) if names else span(h["low"], h["high"], units.get(name, ""))
        words.append(f"{shown_name(name)} {where}")
    if words:
        panels.advice(layout, context, "hardest now: " + ", ".join(words), "ZOOM_ALL")
    shares = sorted(status.explained.items(), key=lambda entry: -entry[1])[:3]
    sure = [f"{shown_name(name)} {100 * share:.0f} %" for name, share in shares if share >= LEAST_EXPLAINED]
    if sure:
        panels.advice(layout, context, "explain the losses: " + ", ".join(sure), "BLANK1")


def _draw_settings(layout: bpy.types.UILayout, context: bpy.types.Context, props: Any) -> None:
    w, r, t = props.workers, props.render, props.training
    summary = f"{plural(w.count, 'worker')}, {r.width}×{r.height}, {ENGINES[r.engine]}"
    body = panels.section(layout, "settings", "Settings", summary)
    if body is None:
        return
    column = panels.settings_column(body)
    column.prop(w, "count")
    column.prop(w, "adaptive")
    column.prop(w, "threads")
    if w.adaptive > w.count:
        panels.advice(body, context, "More workers adapt than there are: lower one of the two numbers", "ERROR")
    column = panels.settings_column(body)
    column.prop(r, "engine")
    row = column.row(align=True)
    row.prop(r, "width", text="Size")
    row.prop(r, "height", text="")
    column.prop(r, "samples")
    column.prop(t, "network")
    column.prop(t, "batch_size")
    column.prop(t, "epochs")
    column.prop(t, "minutes")
    column.prop(t, "device")
    column.prop(props, "run_folder", placeholder=str(preferences.get().runs))
    if more := panels.section(body, "rendering", "Rendering"):
        column = panels.settings_column(more)
        for name in ("device", "denoise", "silhouette", "masks"):
            column.prop(r, name)
        column.prop(w, "blender")
    learning_settings.draw(body, context, props)
    if more := panels.section(body, "stream", "Network Address"):
        column = panels.settings_column(more)
        for name in ("host", "port", "keys"):
            column.prop(props.stream, name)


CLASSES = (KEYPOINTS_PT_training,)
