# SPDX-License-Identifier: GPL-3.0-or-later
"""The Model panel: load a trained model and see what it finds."""

from pathlib import Path
from typing import Any

import bpy

from ....core import builtin_models
from ...base import plots
from ...base.formatting import plural, size
from ...prediction import model_server, viewport_capture
from ...prediction.model_server import State
from ...services import model_evaluation, training_run
from . import base as panels, evaluation as evaluation_panel, photo as photo_panel


class KEYPOINTS_MT_builtin_models(bpy.types.Menu):
    """The models that come along."""

    bl_idname = "KEYPOINTS_MT_builtin_models"
    bl_label = "Built-in Models"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_builtin(self.layout)


class KEYPOINTS_PT_model(panels.Sidebar, bpy.types.Panel):
    """A trained model and its overlay."""

    bl_idname = "KEYPOINTS_PT_model"
    bl_label = "Model"
    bl_order = 4

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        model = model_server.SERVICE.model
        if model.state is State.READY:
            panels.status(self.layout, model.name, plots.GREEN)
        elif model.state is State.LOADING:
            panels.status(self.layout, "loading …", plots.AMBER)
        elif model.state is State.FAILED:
            panels.status(self.layout, "failed", plots.RED)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        service = model_server.SERVICE
        model = service.model
        row = layout.row(align=True)
        row.operator("robot_keypoints.load_model", text="Load…", icon="FILE_FOLDER")
        if model.state is not State.NONE:
            row.menu("KEYPOINTS_MT_builtin_models", text="Built-in", icon="PACKAGE")
        if model.state is not State.NONE:
            row.operator("robot_keypoints.unload_model", text="", icon="X")
        if training_run.RUNNER.model is not None and model.path != training_run.RUNNER.model:
            layout.operator("robot_keypoints.load_trained_model", text="Load Trained", icon="IMPORT")
        if model.state is State.NONE:
            panels.advice(
                layout,
                context,
                "Load a model.safetensors, which a training writes into its run's folder, or a built-in model:",
            )
            _draw_builtin(layout.column(align=True))
        elif model.state is State.LOADING:
            panels.status(layout, f"loading {model.path.name} …", plots.AMBER)
        elif model.state is State.FAILED:
            panels.advice(layout, context, model.reason, "ERROR")
        else:
            _draw_model(layout, model)
            evaluation_panel.draw(layout, context, model.path)
            _draw_overlay(layout, context, service)
        photo_panel.draw_publisher(layout, context)


def _draw_builtin(layout: bpy.types.UILayout) -> None:
    """A button for each built-in model; its tooltip tells on which images the error was measured."""
    for model in builtin_models.models().values():
        text = f"{model.label}, median {model.errors[0].median:.2f} %"
        layout.operator("robot_keypoints.load_builtin_model", text=text, icon="PACKAGE").name = model.name


def _draw_model(layout: bpy.types.UILayout, model: model_server.Model) -> None:
    panels.status(layout, model.name, plots.GREEN)
    words = [plural(len(model.description.keypoints), "keypoint")]
    median = model.description.figures.get("median_error_percent")
    if median is not None:
        words.append(f"median {median:.2g} %")
    words.append(size(model.bytes))
    row = layout.row()
    row.active = False
    row.label(text=", ".join(words), icon="BLANK1")
    row = layout.row(align=True)
    running = model_evaluation.SERVICE.running
    panels.starter(row, "robot_keypoints.evaluate_model", "Evaluate…", "LINENUMBERS_ON", running)
    builtin = next((m for m in builtin_models.models().values() if m.file == model.path), None)
    if builtin is not None:
        row.operator("robot_keypoints.open_path", text="Its Page", icon="HELP").path = str(builtin.page)


def _draw_overlay(layout: bpy.types.UILayout, context: bpy.types.Context, service: Any) -> None:
    overlay = context.scene.robot_keypoints.overlay
    row = layout.row(align=True)
    row.prop_enum(overlay, "source", "CAMERA", icon="OUTLINER_OB_CAMERA")
    row.prop_enum(overlay, "source", "IMAGE", icon="IMAGE_DATA")
    if overlay.source == "IMAGE":
        row = layout.row(align=True)
        row.label(text=Path(overlay.image).name or "no image chosen")
        row.operator("robot_keypoints.open_image", text="Open…", icon="FILE_FOLDER")
    row = layout.row(align=True)
    row.scale_y = 1.3
    row.operator("robot_keypoints.predict", icon="VIEWZOOM")
    shown = service.prediction
    live = context.window_manager.robot_keypoints
    text = "Live"
    if shown is not None and (shown.pose is None or shown.pose.outline is None):
        text = f"Live ({shown.milliseconds:.0f} ms)"
    row.prop(live, "live", text=text, toggle=True, icon="REC")
    if service.message:
        panels.advice(layout, context, service.message, "ERROR")
    view = context.space_data.region_3d if context.space_data is not None else None
    if context.scene.camera is None:
        panels.advice(layout, context, "The scene has no camera: draw a sample, which makes one")
    elif view is not None and view.view_perspective != "CAMERA":
        column = layout.column(align=True)
        panels.advice(column, context, "The keypoints are shown in the camera's view (Numpad 0)")
        column.operator("robot_keypoints.look_through_camera", icon="OUTLINER_OB_CAMERA")
    if overlay.source == "CAMERA" and proportions_differ(context.scene, service.model):
        column = layout.column(align=True)
        panels.advice(column, context, "The camera's frame has other proportions than the training images had")
        column.operator("robot_keypoints.match_proportions", icon="FULLSCREEN_ENTER")
    photo_panel.draw(layout, context)
    if body := panels.section(layout, "overlay", "Overlay", closed=False):
        grid = body.grid_flow(columns=2, even_columns=True, align=True)
        for name in ("points", "names", "chain", "uncertainty", "confidence", "pose"):
            grid.prop(overlay, name)
        column = panels.settings_column(body)
        column.prop(overlay, "threshold")
        column.prop(overlay, "size")
        if overlay.source == "CAMERA":
            column.prop(overlay, "resolution")
    if shown is not None and (
        body := panels.section(layout, "found", "Found", plural(len(shown.keypoints), "keypoint"))
    ):
        column = body.column(align=True)
        column.scale_y = 0.9
        for index, keypoint in enumerate(shown.keypoints):
            row = column.row()
            panels.status(row.row(), keypoint.name, plots.keypoint_colour(index, len(shown.keypoints)))
            right = row.row()
            right.alignment = "RIGHT"
            right.label(text=f"{100 * keypoint.confidence:.0f} %")


def proportions_differ(scene: bpy.types.Scene, model: model_server.Model) -> bool:
    """Whether the scene renders a clearly wider or narrower frame than the model was trained on."""
    wanted = model.description.input_size
    if wanted is None:
        return False
    width, height = viewport_capture.size_of(scene, 1000)
    return abs(width / height / (wanted[0] / wanted[1]) - 1) > 0.05


CLASSES = (KEYPOINTS_MT_builtin_models, KEYPOINTS_PT_model)
