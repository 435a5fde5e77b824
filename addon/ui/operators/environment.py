# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Environment panel."""

import os
import sys
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ...base import user_errors
from ...properties import preferences
from ...properties.from_dataclass import fields
from ...services import trainer_environment
from ...services.jobs import State


@fields(filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_choose_python(bpy.types.Operator):
    """Choose a Python that has torch, such as bin/python of a virtual environment"""

    bl_idname = "robot_keypoints.choose_python"
    bl_label = "Use This Python"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = preferences.get().python or str(Path.home()) + os.sep
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        preferences.set_python(self.filepath)
        trainer_environment.SERVICE.check()
        return {"FINISHED"}


class KEYPOINTS_OT_check_environment(bpy.types.Operator):
    """Ask the chosen Python whether everything a training needs works"""

    bl_idname = "robot_keypoints.check_environment"
    bl_label = "Check"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if trainer_environment.SERVICE.health.state is State.RUNNING:
            cls.poll_message_set("The check is running")
            return False
        return True

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        trainer_environment.SERVICE.check()
        return {"FINISHED"}


@fields(
    folder=StringProperty(name="Folder", description="A new or empty folder; it will hold 2 to 7 GB",
                          subtype="DIR_PATH", options={"SKIP_SAVE"}),
    base=StringProperty(name="Made from", description="The Python that the environment is made from, 3.11 or later; "
                        "empty takes Blender's own", subtype="FILE_PATH", options={"SKIP_SAVE"}),
    index=StringProperty(name="Extra index", description="Another package index besides the usual one, such as "
                         "https://download.pytorch.org/whl/cu126 for a certain CUDA version; may stay empty",
                         options={"SKIP_SAVE"}),
    requirements=StringProperty(name="Requirements", description="A pip requirements file instead of the extension's "
                                "own list", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"}),
)  # fmt: skip
class KEYPOINTS_OT_create_environment(bpy.types.Operator):
    """Make a Python environment for the trainer and install torch and the other libraries into it"""

    bl_idname = "robot_keypoints.create_environment"
    bl_label = "Create Environment"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if trainer_environment.SERVICE.building.state is State.RUNNING:
            cls.poll_message_set("An environment is being made")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not trainer_environment.may_go_online():
            self.report({"ERROR"}, trainer_environment.OFFLINE)
            return {"CANCELLED"}
        self.folder = str(trainer_environment.default_folder())
        return set(context.window_manager.invoke_props_dialog(self, width=460))

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("folder", "base", "index"):
            column.prop(self, name)
        column.separator()
        column.label(text="Downloads torch and the other libraries: 2 to 7 GB, some minutes.", icon="INFO")

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        if not trainer_environment.may_go_online():
            self.report({"ERROR"}, trainer_environment.OFFLINE)
            return {"CANCELLED"}
        folder = Path(bpy.path.abspath(self.folder)) if self.folder else trainer_environment.default_folder()
        requirements = Path(bpy.path.abspath(self.requirements)) if self.requirements else None
        base = bpy.path.abspath(self.base) if self.base else sys.executable
        trainer_environment.SERVICE.create(folder.expanduser(), base, self.index, requirements)
        return {"FINISHED"}


class KEYPOINTS_OT_cancel_environment(bpy.types.Operator):
    """End the making of the environment; creating again in the same folder goes on from there"""

    bl_idname = "robot_keypoints.cancel_environment"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return trainer_environment.SERVICE.building.state is State.RUNNING

    def execute(self, context: bpy.types.Context) -> set[str]:
        trainer_environment.SERVICE.cancel()
        return {"FINISHED"}


class KEYPOINTS_OT_show_network_preference(bpy.types.Operator):
    """Show the preference that lets Blender use the network"""

    bl_idname = "robot_keypoints.show_network_preference"
    bl_label = "Open Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.screen.userpref_show(section="SYSTEM")
        return {"FINISHED"}


@fields(path=StringProperty(options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_open_path(bpy.types.Operator):
    """Open this file or folder"""

    bl_idname = "robot_keypoints.open_path"
    bl_label = "Open"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not Path(self.path).exists():
            self.report({"ERROR"}, f"{self.path} is not there any more")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=self.path)
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_choose_python,
    KEYPOINTS_OT_check_environment,
    KEYPOINTS_OT_create_environment,
    KEYPOINTS_OT_cancel_environment,
    KEYPOINTS_OT_show_network_preference,
    KEYPOINTS_OT_open_path,
)
