# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the contact sheet and of the check."""

import bpy
from bpy.props import StringProperty

from ..core.errors import UserError
from . import assessment, inspection, reporting, sheet
from .definitions import fields
from .operators_robot import Keypoints as NeedsRobot


class KEYPOINTS_OT_contact_sheet(NeedsRobot, bpy.types.Operator):
    """Render sixteen draws with their labels in the background, to look at before training"""

    bl_idname = "robot_keypoints.contact_sheet"
    bl_label = "Contact Sheet"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if sheet.SERVICE.running:
            cls.poll_message_set("A contact sheet is being made")
            return False
        return super().poll(context)

    @reporting.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        sheet.SERVICE.begin(context.scene)
        return {"FINISHED"}


class KEYPOINTS_OT_check_scene(NeedsRobot, bpy.types.Operator):
    """Pose and label 64 draws in the background: is every keypoint seen, are the rules met, is the camera outside?"""

    bl_idname = "robot_keypoints.check_scene"
    bl_label = "Check"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if inspection.SERVICE.running:
            cls.poll_message_set("A check is running")
            return False
        return super().poll(context)

    @reporting.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        inspection.SERVICE.begin(context.scene)
        return {"FINISHED"}


@fields(job=StringProperty(options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_cancel_job(bpy.types.Operator):
    """Cancel"""

    bl_idname = "robot_keypoints.cancel_job"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        for job in (sheet.SERVICE, inspection.SERVICE, assessment.SERVICE):
            if job.name == self.job:
                job.cancel()
        return {"FINISHED"}


class KEYPOINTS_OT_show_sheet(bpy.types.Operator):
    """Show the contact sheet in an Image Editor"""

    bl_idname = "robot_keypoints.show_sheet"
    bl_label = "Open"

    @reporting.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        image = bpy.data.images.get(sheet.IMAGE)
        if image is None:
            raise UserError("The contact sheet is not in this file: make it again")
        if not sheet.show(image):
            raise UserError("There is no window to show it in")
        return {"FINISHED"}


class KEYPOINTS_OT_forget_sheet(bpy.types.Operator):
    """Put the contact sheet away"""

    bl_idname = "robot_keypoints.forget_sheet"
    bl_label = "Close"

    def execute(self, context: bpy.types.Context) -> set[str]:
        sheet.SERVICE.forget()
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_contact_sheet,
    KEYPOINTS_OT_check_scene,
    KEYPOINTS_OT_cancel_job,
    KEYPOINTS_OT_show_sheet,
    KEYPOINTS_OT_forget_sheet,
)
