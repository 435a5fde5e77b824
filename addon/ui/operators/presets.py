# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the presets."""

import bpy
from bpy.props import StringProperty

from ....core.scene import presets
from ...base import user_errors
from ...properties import preset_choice, user_presets, variable_list
from ...properties.from_dataclass import fields
from .robot import Keypoints as NeedsRobot


@fields(name=StringProperty(name="Name", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_preset_choose(NeedsRobot, bpy.types.Operator):
    """Take the priors of everything but the joints from this preset"""

    bl_idname = "robot_keypoints.preset_choose"
    bl_label = "Choose Preset"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """What the preset varies."""
        preset = presets.PRESETS.get(properties.name)
        return preset.description if preset is not None else f"Your own preset {properties.name}"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        preset_choice.choose(context.scene.robot_keypoints, self.name)
        return {"FINISHED"}


@fields(name=StringProperty(name="Name", description="What the preset is to be called", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_preset_save(NeedsRobot, bpy.types.Operator):
    """Keep the priors of camera, light, material and so on as a preset for other scenes and robots"""

    bl_idname = "robot_keypoints.preset_save"
    bl_label = "Save as Preset…"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.name = context.scene.robot_keypoints.preset_name
        return set(context.window_manager.invoke_props_dialog(self))

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        name = self.name.strip()
        path = user_presets.save(name, variable_list.for_preset(props))
        props.preset_name = name
        for item in props.variables:
            variable_list.mark(item)
        self.report({"INFO"}, f"Saved as {path}")
        return {"FINISHED"}


class KEYPOINTS_OT_preset_remove(bpy.types.Operator):
    """Delete the file of this preset; the priors stay as they are"""

    bl_idname = "robot_keypoints.preset_remove"
    bl_label = "Delete This Preset"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.robot_keypoints.preset_name)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return set(context.window_manager.invoke_confirm(self, event))

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        user_presets.remove(props.preset_name)
        props.preset_name = ""
        for item in props.variables:
            variable_list.mark(item)
        return {"FINISHED"}


CLASSES = (KEYPOINTS_OT_preset_choose, KEYPOINTS_OT_preset_save, KEYPOINTS_OT_preset_remove)
