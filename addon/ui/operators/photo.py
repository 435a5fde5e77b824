# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that match camera or rig to a photograph."""

import time
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ....core.errors import UserError
from ...base import user_errors
from ...prediction import follow_video, model_server, photo_source, pose_from_photo, robot_match
from ...properties.from_dataclass import fields
from ...services import timer
from . import availability

TICK = 0.02
PATH = {
    "filepath": StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    "filter_image": BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
    "filter_movie": BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
    "filter_folder": BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
}


class _FromImage:
    """What both operators share: ask, wait without holding Blender up, then move something in one undo step."""

    kind = ""
    bl_options = {"UNDO"}
    filepath: str
    _talk: pose_from_photo.Conversation | None = None
    _question: pose_from_photo.Question | None = None
    _timer: Any = None

    @classmethod
    def poll(cls: Any, context: bpy.types.Context) -> bool:
        if not availability.model_is_loaded(cls):
            return False
        if context.scene.robot_keypoints.armature is None:
            cls.poll_message_set("Load the robot in the Robot panel first")
            return False
        if pose_from_photo.asking():
            cls.poll_message_set("The model is looking at the photograph")
            return False
        return True

    def invoke(self: Any, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose a photograph if there is none, and ask in the background."""
        if not (self.filepath or context.scene.robot_keypoints.overlay.image):
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        try:
            self._begin(context)
        except UserError as problem:
            self._refuse(context, problem)
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self: Any, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Look for the answer; Escape gives it up."""
        if event.type == "ESC":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            found = self._talk.poll()
            if found is None:
                return {"PASS_THROUGH"}
            self._finish(context, found)
        except UserError as problem:
            self._refuse(context, problem)
            self.cancel(context)
            return {"CANCELLED"}
        self.cancel(context)
        return {"FINISHED"}

    def execute(self: Any, context: bpy.types.Context) -> set[str]:
        """Ask and wait."""
        try:
            self._begin(context)
            while (found := self._talk.poll()) is None:  # which refuses once the client has waited long enough
                time.sleep(TICK / 4)
            self._finish(context, found)
        except UserError as problem:
            self._refuse(context, problem)
            return {"CANCELLED"}
        finally:
            self.cancel(context)
        return {"FINISHED"}

    def cancel(self: Any, context: bpy.types.Context) -> None:
        """Put away what waiting needed."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if self._talk is not None:
            self._talk.close()
            self._talk = None
            pose_from_photo.set_asking(False)

    def _begin(self: Any, context: bpy.types.Context) -> None:
        scene = context.scene
        path = bpy.path.abspath(self.filepath) or scene.robot_keypoints.overlay.image
        follow_video.SERVICE.stop()
        pose_from_photo.say("")
        self._question = pose_from_photo.Question.of(scene, self.kind, path, still=True)
        self._talk = pose_from_photo.Conversation()
        self._talk.ask(self._question)
        pose_from_photo.set_asking(True)

    def _finish(self: Any, context: bpy.types.Context, found: pose_from_photo.Found) -> None:
        question = self._question
        pose_from_photo.apply(context.scene, self.kind, found, question.match.offset, str(question.picture.path))
        area = context.area
        if area is not None and area.type == "VIEW_3D":
            area.spaces.active.region_3d.view_perspective = "CAMERA"
        timer.redraw_viewports()
        timer.redraw_sidebars()
        for note in pose_from_photo.notes(context.scene, found):
            self.report({"WARNING"}, note)

    def _refuse(self: Any, context: bpy.types.Context, problem: UserError) -> None:
        pose_from_photo.say(str(problem))
        timer.redraw_viewports()
        timer.redraw_sidebars()
        self.report({"ERROR"}, str(problem))


@fields(**PATH)
class KEYPOINTS_OT_place_camera(_FromImage, bpy.types.Operator):
    """Move the scene's camera to where the photograph was taken: the rig's joints must stand as the robot's in the photograph. The camera gets the photograph's lens and size, and shows it over the rig"""  # noqa: E501

    bl_idname = "robot_keypoints.place_camera"
    bl_label = "Place Camera from Image"
    kind = pose_from_photo.CAMERA


@fields(**PATH)
class KEYPOINTS_OT_pose_robot(_FromImage, bpy.types.Operator):
    """Pose the rig as the robot stands in the photograph: its joints, and its place before the camera. Joints that the picture does not tell stay as they are"""  # noqa: E501

    bl_idname = "robot_keypoints.pose_robot"
    bl_label = "Pose Robot from Image"
    kind = pose_from_photo.ROBOT


class KEYPOINTS_OT_other_pose(bpy.types.Operator):
    """Take the next of the poses that fit the keypoints about as well"""

    bl_idname = "robot_keypoints.other_pose"
    bl_label = "Other Pose"
    bl_options = {"UNDO"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, found = context.scene, pose_from_photo.latest()
        if found is None:
            raise UserError("There is no pose: place the camera or pose the robot first")
        offset = robot_match.match(robot_match.robot_in(scene), model_server.SERVICE.model.description).offset
        turned = pose_from_photo.other(scene, found)
        pose_from_photo.apply(scene, found.applied or pose_from_photo.CAMERA, turned, offset)
        timer.redraw_viewports()
        return {"FINISHED"}


@fields(
    kind=EnumProperty(
        items=[(k, k, "") for k in (pose_from_photo.CAMERA, pose_from_photo.ROBOT)], options={"SKIP_SAVE"}
    ),
    published=BoolProperty(options={"SKIP_SAVE"}),
)
class KEYPOINTS_OT_follow(bpy.types.Operator):
    """Do so again for each frame of the movie until switched off; Undo goes back to before"""

    bl_idname = "robot_keypoints.follow"
    bl_label = "Follow"
    bl_options = {"UNDO"}
    kind: str
    published: bool

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        what = "Place the camera" if properties.kind == pose_from_photo.CAMERA else "Pose the robot"
        when = "something new is published" if properties.published else "the movie or the sequence shows another frame"
        return f"{what} whenever {when}, until switched off; Undo goes back to before"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        service, props = follow_video.SERVICE, context.scene.robot_keypoints
        on = (service.kind, service.published) == (self.kind, self.published)
        service.stop()
        if on:
            return {"FINISHED"}
        if not self.published and not photo_source.moving(props.overlay.image):
            raise UserError("One photograph is nothing to follow: open a movie or a numbered sequence")
        service.start(context.scene, self.kind, self.published)
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_place_camera,
    KEYPOINTS_OT_pose_robot,
    KEYPOINTS_OT_other_pose,
    KEYPOINTS_OT_follow,
)
