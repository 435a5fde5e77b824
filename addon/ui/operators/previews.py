# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the contact sheet and of the check."""

import bpy
from bpy.props import StringProperty

from ....core.errors import UserError
from ...base import user_errors
from ...properties.from_dataclass import fields
from ...services import contact_sheet, footage_jobs, model_evaluation, run_report, scene_check
from .robot import Keypoints as NeedsRobot


class KEYPOINTS_OT_contact_sheet(NeedsRobot, bpy.types.Operator):
    """Render sixteen draws with their labels in the background, to look at before training"""

    bl_idname = "robot_keypoints.contact_sheet"
    bl_label = "Contact Sheet"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if contact_sheet.SERVICE.running:
            cls.poll_message_set("A contact sheet is being made")
            return False
        return super().poll(context)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        contact_sheet.SERVICE.begin(context.scene)
        return {"FINISHED"}


class KEYPOINTS_OT_check_scene(NeedsRobot, bpy.types.Operator):
    """Pose and label 64 draws in the background: is every keypoint seen, are the rules met, is the camera outside?"""

    bl_idname = "robot_keypoints.check_scene"
    bl_label = "Check"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if scene_check.SERVICE.running:
            cls.poll_message_set("A check is running")
            return False
        return super().poll(context)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene_check.SERVICE.begin(context.scene)
        return {"FINISHED"}


@fields(job=StringProperty(options={"SKIP_SAVE", "HIDDEN"}))
class KEYPOINTS_OT_cancel_job(bpy.types.Operator):
    """Cancel"""

    bl_idname = "robot_keypoints.cancel_job"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        services = (contact_sheet, scene_check, model_evaluation, run_report)
        for job in (*(s.SERVICE for s in services), *footage_jobs.JOBS):
            if job.name == self.job:
                job.cancel()
        return {"FINISHED"}


class KEYPOINTS_OT_wait_for_job(bpy.types.Operator):
    """This is being done: wait for it, or cancel it"""

    bl_idname = "robot_keypoints.wait_for_job"
    bl_label = "Being Done"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return False


class KEYPOINTS_OT_show_sheet(bpy.types.Operator):
    """Show the contact sheet in an Image Editor"""

    bl_idname = "robot_keypoints.show_sheet"
    bl_label = "Open"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        image = bpy.data.images.get(contact_sheet.IMAGE)
        if image is None:
            raise UserError("The contact sheet is not in this file: make it again")
        if not contact_sheet.show(image):
            raise UserError("There is no window to show it in")
        return {"FINISHED"}


class KEYPOINTS_OT_forget_sheet(bpy.types.Operator):
    """Put the contact sheet away"""

    bl_idname = "robot_keypoints.forget_sheet"
    bl_label = "Close"

    def execute(self, context: bpy.types.Context) -> set[str]:
        contact_sheet.SERVICE.forget()
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_contact_sheet,
    KEYPOINTS_OT_check_scene,
    KEYPOINTS_OT_cancel_job,
    KEYPOINTS_OT_wait_for_job,
    KEYPOINTS_OT_show_sheet,
    KEYPOINTS_OT_forget_sheet,
)
