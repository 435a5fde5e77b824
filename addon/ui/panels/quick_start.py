# SPDX-License-Identifier: GPL-3.0-or-later
"""The Quick Start panel: from nothing to a training, or to a built-in model's overlay, by one click."""

import bpy

from ....core import builtin_models
from ....core.scene import presets
from ...base.formatting import paragraph, plural
from ...properties import preferences, quick_start as choices, scene_robots
from ...services import quick_start, trainer_environment, training_run
from ...services.quick_start import Goal, Mark, Step
from . import base as panels

ICONS = {Mark.TO_DO: "RADIOBUT_OFF", Mark.RUNNING: "SORTTIME", Mark.DONE: "CHECKMARK", Mark.FAILED: "ERROR"}


class KEYPOINTS_PT_quick_start(panels.Sidebar, bpy.types.Panel):
    """What a newcomer needs."""

    bl_idname = "KEYPOINTS_PT_quick_start"
    bl_label = "Quick Start"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is anything to show: a training that was started elsewhere leaves nothing to begin with."""
        return not training_run.RUNNER.active or quick_start.SERVICE.goal is not Goal.NONE

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        service = quick_start.SERVICE
        if not training_run.RUNNER.active and not service.running:
            _draw_choices(layout, context)
        over = service.goal is Goal.TRAIN and not (service.running or service.reason or training_run.RUNNER.active)
        if service.goal is not Goal.NONE and not over:
            _draw_steps(layout, context)
        if not training_run.RUNNER.active and not (service.running and service.goal is Goal.TRAIN):
            _draw_models(layout, context)


def _draw_choices(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    props = context.scene.robot_keypoints
    quick = props.quick_start
    column = panels.settings_column(layout)
    column.prop(quick, "source")
    if quick.source == choices.URDF:
        column.prop(quick, "urdf", placeholder="asked for at the start")
    elif quick.source == choices.SCENE:
        row = column.row()
        row.alignment = "RIGHT"
        row.label(text=_armature(context), icon="ARMATURE_DATA")
    column.prop(quick, "purpose")
    row = layout.row()
    row.scale_y = 1.6
    row.operator("robot_keypoints.quick_start", icon="PLAY")


def _armature(context: bpy.types.Context) -> str:
    """Which armature would be taken."""
    found = choices.armatures(context.scene)
    if len(found) == 1:
        return str(found[0].name)
    return "the active armature" if found else "no armature"


def _draw_steps(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    service = quick_start.SERVICE
    box = layout.box()
    steps = service.steps()
    if service.goal is Goal.TRAIN:
        steps = [*_scene_steps(context), *steps]
    why = service.question or service.reason
    stopped = next((s for s in steps if s.mark is Mark.FAILED), steps[0])
    for step in steps:
        _draw_step(box, context, step)
        if why and step is stopped:
            paragraph(box, context, why, "BLANK1", narrower=_padding(context))
            if service.question:
                _draw_environment(box, context)
    if service.running and not training_run.RUNNER.active:
        box.operator("robot_keypoints.quick_start_stop", icon="X")
    elif service.goal is Goal.TRY and not service.reason:
        box.operator("robot_keypoints.open_image", text="Try a Picture of Yours…", icon="FILE_FOLDER")


def _draw_step(layout: bpy.types.UILayout, context: bpy.types.Context, step: Step) -> None:
    column = layout.column(align=True)
    column.active = step.mark is not Mark.TO_DO
    paragraph(column, context, step.text, ICONS[step.mark], narrower=_padding(context))
    if step.share is not None:
        text = f"{100 * step.share:.0f} % of this download" if step.share else "working …"
        column.progress(factor=step.share, text=text)


def _padding(context: bpy.types.Context) -> float:
    """Pixels by which the inside of a box is narrower than the panel."""
    return panels.unit(context)


def _scene_steps(context: bpy.types.Context) -> list[Step]:
    """What the operator has done to the scene, as it stands there now."""
    props = context.scene.robot_keypoints
    if scene_robots.problem(context.scene):
        return [Step("Robot", Mark.FAILED), Step("Keypoints and priors", Mark.TO_DO)]
    joints = sum(1 for v in props.variables if v.name.startswith("joint/"))
    preset = props.preset_name or presets.PRESETS[props.scene.preset].label.lower()
    return [
        Step(f"Robot {props.armature.name}, {plural(joints, 'joint')}", Mark.DONE),
        Step(f"{plural(len(props.keypoints), 'keypoint')}; priors: {preset}", Mark.DONE),
    ]


def _draw_environment(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How to come by an environment that works."""
    if preferences.get().python:
        layout.operator("robot_keypoints.check_environment", text="Check Again", icon="FILE_REFRESH")
    if trainer_environment.may_go_online():
        layout.operator("robot_keypoints.quick_start_install", icon="IMPORT")
    else:
        offline = trainer_environment.OFFLINE
        paragraph(layout, context, offline, "INTERNET_OFFLINE", narrower=_padding(context))
        layout.operator("robot_keypoints.show_network_preference", icon="PREFERENCES")
    layout.operator("robot_keypoints.choose_python", text="Choose a Python with Torch…", icon="FILE_FOLDER")


def _draw_models(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    models = builtin_models.models()
    if not models:
        return
    column = layout.column(align=True)
    row = column.row()
    row.active = False
    row.label(text="or try a built-in model on a picture:")
    row = column.row(align=True)
    row.enabled = not quick_start.SERVICE.running
    for model in models.values():
        row.operator("robot_keypoints.try_model", text=model.label, icon="IMAGE_DATA").name = model.name


CLASSES = (KEYPOINTS_PT_quick_start,)
