# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for what stands in the robots' way: leave it out, or keep it on purpose."""

import bpy
from bpy.props import StringProperty

from ....core.errors import UserError
from ...base import user_errors
from ...properties import scenery
from ...properties.from_dataclass import fields
from ...services import training_run


def _named(context: bpy.types.Context, name: str) -> bpy.types.Object:
    obj = context.scene.objects.get(name)
    if obj is None:
        raise UserError(f"There is no object {name!r} in this scene any more")
    return obj


@fields(object=StringProperty(name="Object", options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_scenery_leave_out(bpy.types.Operator):
    """Show this object neither in the renderings nor in the viewport"""

    bl_idname = "robot_keypoints.scenery_leave_out"
    bl_label = "Leave Out"
    bl_options = {"REGISTER", "UNDO"}
    object: str

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scenery.leave_out(_named(context, self.object))
        if training_run.RUNNER.active:
            self.report({"WARNING"}, f"{self.object} is left out from the next training on: this one still renders it")
        return {"FINISHED"}


@fields(object=StringProperty(name="Object", options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_scenery_keep(bpy.types.Operator):
    """This object stays on purpose: show it, and warn of it no more"""

    bl_idname = "robot_keypoints.scenery_keep"
    bl_label = "Keep"
    bl_options = {"REGISTER", "UNDO"}
    object: str

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scenery.keep(_named(context, self.object))
        return {"FINISHED"}


CLASSES = (KEYPOINTS_OT_scenery_leave_out, KEYPOINTS_OT_scenery_keep)
