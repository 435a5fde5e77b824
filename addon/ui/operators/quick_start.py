# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Quick Start panel: all that the scene needs in one undo step; the rest follows by itself."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ....core import builtin_models
from ....core.errors import UserError
from ....core.robot.urdf_reader import builtin_urdf
from ...base import user_errors
from ...properties import preset_choice, quick_start as choices, scene_robots
from ...properties.from_dataclass import fields
from ...services import quick_start, timer
from . import availability, model as model_operators, robot as robot_operators


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"}),
    filter_glob=StringProperty(default=robot_operators.ROBOT_FILES, options={"HIDDEN"}),
)
class KEYPOINTS_OT_quick_start(bpy.types.Operator):
    """Load the robot, choose keypoints and priors, check the trainer's environment, and start the training"""

    bl_idname = "robot_keypoints.quick_start"
    bl_label = "Quick Start"
    bl_options = {"UNDO"}
    filepath: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return availability.no_training_runs(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        props = context.scene.robot_keypoints.quick_start
        if props.source == choices.URDF and not props.urdf:
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        if self.filepath:
            props.quick_start.source, props.quick_start.urdf = choices.URDF, self.filepath
        purpose = props.quick_start.purpose
        try:
            self._take_robot(context)
            if purpose != choices.KEEP:
                preset_choice.choose(props, purpose)
            missing = scene_robots.problem(context.scene)
            if missing:
                raise UserError(missing)
        except UserError as problem:
            self.report({"ERROR"}, str(problem))
            quick_start.SERVICE.refuse(str(problem))
            return {"CANCELLED"}
        choices.forget(props)
        if props.overlay.image in {str(m.picture) for m in builtin_models.models().values()}:
            props.overlay.source = "CAMERA"  # or an example's picture would stand before the robot
        quick_start.SERVICE.train(context.scene)
        timer.redraw_sidebars()
        return {"FINISHED"}

    def _take_robot(self, context: bpy.types.Context) -> None:
        props = context.scene.robot_keypoints
        source = props.quick_start.source
        if source == choices.EXAMPLE:
            robot_operators.load(context, builtin_urdf())
        elif source == choices.URDF:
            if not props.quick_start.urdf:
                raise UserError("No file of a robot is chosen: choose a URDF or xacro file")
            robot_operators.load_file(context, bpy.path.abspath(props.quick_start.urdf))
        elif props.armature is None:
            robot_operators.take_armature(context)


@fields(name=StringProperty(options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_try_model(bpy.types.Operator):
    """Show what this model, which comes along, finds in a picture of its robot; nothing is trained"""

    bl_idname = "robot_keypoints.try_model"
    bl_label = "Try Built-in Model"
    bl_options = {"UNDO"}
    name: str

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        model = builtin_models.get(self.name)
        model_operators.show_picture(context.scene, str(model.picture))
        if not bpy.app.background:
            model_operators.show_camera_view(context)
        quick_start.SERVICE.try_model(context.scene, self.name)
        timer.redraw_sidebars()
        return {"FINISHED"}


class KEYPOINTS_OT_quick_start_install(bpy.types.Operator):
    """Download the trainer's libraries, 2 to 7 GB, into a folder beside your runs; then go on by itself"""

    bl_idname = "robot_keypoints.quick_start_install"
    bl_label = "Install and Go On"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        quick_start.SERVICE.install()
        return {"FINISHED"}


class KEYPOINTS_OT_quick_start_stop(bpy.types.Operator):
    """Wait no longer. The robot stays, and so does what was installed"""

    bl_idname = "robot_keypoints.quick_start_stop"
    bl_label = "Stop Waiting"

    def execute(self, context: bpy.types.Context) -> set[str]:
        quick_start.SERVICE.forget()
        timer.redraw_sidebars()
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_quick_start,
    KEYPOINTS_OT_try_model,
    KEYPOINTS_OT_quick_start_install,
    KEYPOINTS_OT_quick_start_stop,
)
