# SPDX-License-Identifier: GPL-3.0-or-later
"""The Footage panel: label a recording of the real robot, calibrate its cameras, look at both over the images."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ....core import run_folder
from ....core.errors import UserError
from ....core.messages import labelled_footage
from ....core.messages.labelled_footage import LabelledFootage
from ...base import plots
from ...base.formatting import plural
from ...footage import footage_in_scene, timeline
from ...services import footage_jobs
from . import base as panels


class KEYPOINTS_PT_footage(panels.Sidebar, bpy.types.Panel):
    """A recording of the real robot."""

    bl_idname = "KEYPOINTS_PT_footage"
    bl_label = "Footage"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        props = context.scene.robot_keypoints.footage
        _draw_chosen(layout, props.recording, "no footage yet", "robot_keypoints.open_footage")
        if props.recording:
            column = panels.settings_column(layout)
            column.prop(props, "method")
            column = layout.column(align=True)
            column.scale_y = 1.3
            busy, calibrate = footage_jobs.busy(), "robot_keypoints.calibrate_footage"
            panels.starter(column, "robot_keypoints.label_footage", "Label", "MARKER_HLT", busy)
            panels.starter(column, calibrate, "Calibrate Camera", "OUTLINER_OB_CAMERA", busy)
        else:
            panels.advice(
                layout, context, "Images or videos of the robot, its joint positions, and perhaps a printed marker: "
                "FOOTAGE.toml names them"
            )  # fmt: skip
        panels.job(layout, context, footage_jobs.LABELLING)
        panels.job(layout, context, footage_jobs.CALIBRATING)
        if footage_jobs.CALIBRATING.calibration is not None:
            _draw_calibration(layout, footage_jobs.CALIBRATING.calibration)
        _draw_labels(layout, context)


def _draw_chosen(layout: bpy.types.UILayout, path: str, none: str, opener: str) -> None:
    """The name of what is open, beside a button that opens another: without words on it, so that names have room."""
    row = layout.row(align=True)
    row.label(text=Path(path).name or none)
    row.operator(opener, text="" if path else "Open…", icon="FILE_FOLDER")


def _draw_calibration(layout: bpy.types.UILayout, calibration: Mapping[str, Any]) -> None:
    column = layout.column(align=True)
    for name, camera in calibration["cameras"].items():
        spread = camera["standard_deviations"]
        panels.status(column, f"{name}: ± {max(spread['position_mm']):.2g} mm, "
                      f"± {max(spread['rotation_deg']):.2g}°", plots.GREEN)  # fmt: skip


@functools.lru_cache(maxsize=2)
def _read(folder: Path, changed: float) -> LabelledFootage | str:
    """The labels in a folder, or why they can't be read; ``changed`` has them read anew."""
    try:
        return labelled_footage.load(folder)
    except UserError as problem:
        return str(problem)


def _labels(props: Any) -> LabelledFootage | str | None:
    if not props.data:
        return None
    folder = Path(bpy.path.abspath(props.data))
    try:
        changed = (folder / labelled_footage.FRAMES).stat().st_mtime
    except OSError:
        changed = 0.0
    return _read(folder, changed)


def _draw_labels(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    props = context.scene.robot_keypoints.footage
    labels = _labels(props)
    _draw_chosen(layout, props.data, "no labels yet", "robot_keypoints.open_footage_labels")
    if isinstance(labels, str):
        panels.warning(layout, context, labels)
    if not isinstance(labels, LabelledFootage):
        return
    labelled = sum(f.label is not None for f in labels.frames)
    whole = labelled == len(labels.frames)
    text = f"{labelled:,} of {plural(len(labels.frames), 'image')} labelled"
    panels.status(layout, text, plots.GREEN if whole else plots.AMBER)
    report = Path(bpy.path.abspath(props.data)) / run_folder.REPORT
    if report.is_file():
        layout.operator("robot_keypoints.open_path", text="Report", icon="URL").path = str(report)
    column = layout.column(align=True)
    column.scale_y = 1.3
    for name in labels.cameras:
        text = "Load into Scene" if len(labels.cameras) == 1 else f"Load {name} into Scene"
        column.operator("robot_keypoints.load_footage", text=text, icon="SEQUENCE").camera = name
    column.operator("robot_keypoints.fine_tune", icon="PLAY")
    if props.camera in labels.cameras:
        _draw_frame(layout, context, labels, props.camera)


def _draw_frame(layout: bpy.types.UILayout, context: bpy.types.Context, labels: LabelledFootage, camera: str) -> None:
    """What is known of the frame that is shown, and how to correct it."""
    box = layout.box()
    row = box.row(align=True)
    moment = footage_in_scene.current(context.scene, labels, camera)
    row.label(text=moment.frame.name if moment is not None else f"no image at frame {context.scene.frame_current}")
    row.operator("robot_keypoints.next_doubtful_frame", text="", icon="TRIA_LEFT").back = True
    row.operator("robot_keypoints.next_doubtful_frame", text="", icon="TRIA_RIGHT").back = False
    if moment is None:
        return
    if text := timeline.reason(moment.frame):
        panels.warning(box, context, text[:1].upper() + text[1:])
    elif moment.frame.source == "hand":
        panels.status(box, "labelled by hand", plots.GREEN)
    else:
        spread = moment.frame.deviation
        text = f"by {moment.frame.source}" + (f", ± {spread:.2g} pixels" if spread is not None else "")
        panels.status(box, text, plots.GREEN)
    box.operator("robot_keypoints.keep_footage_pose", icon="CHECKMARK")
    panels.job(box, context, footage_jobs.CORRECTING)


CLASSES = (KEYPOINTS_PT_footage,)
