# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Footage panel."""

from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, StringProperty

from ....core.errors import UserError
from ....core.input_files import read_json
from ....core.messages import labelled_footage
from ...base import user_errors
from ...footage import footage_camera, footage_in_scene, timeline
from ...prediction import model_server
from ...properties.from_dataclass import fields
from ...services import footage_jobs, run_preparation, timer, training_run
from . import availability, robot as robot_operators


def recording_of(scene: bpy.types.Scene) -> Path:
    """The recording's file.

    Raises:
        UserError: if none is chosen.
    """
    path = scene.robot_keypoints.footage.recording
    if not path:
        raise UserError("No footage is chosen: open a FOOTAGE.toml first")
    return Path(bpy.path.abspath(path))


def data_of(scene: bpy.types.Scene) -> Path:
    """The labelled data set.

    Raises:
        UserError: if there is none.
    """
    path = scene.robot_keypoints.footage.data
    if not path:
        raise UserError("The footage isn't labelled yet: label it first")
    return Path(bpy.path.abspath(path))


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    filter_glob=StringProperty(default="*.toml;*.json", options={"HIDDEN"}),
)
class KEYPOINTS_OT_open_footage(bpy.types.Operator):
    """Choose a recording of the real robot: FOOTAGE.toml, which names images, joint positions and markers"""

    bl_idname = "robot_keypoints.open_footage"
    bl_label = "Open Footage"
    bl_options = {"UNDO"}
    filepath: str

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = context.scene.robot_keypoints.footage.recording
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        footage_jobs.robot_file(path)
        props = context.scene.robot_keypoints.footage
        if props.recording != str(path):
            props.recording, props.data, props.camera = str(path), "", ""
        return {"FINISHED"}


@fields(
    directory=StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"}),
    filter_folder=BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"}),
)
class KEYPOINTS_OT_open_footage_labels(bpy.types.Operator):
    """Choose a folder of labels that was made from a recording before"""

    bl_idname = "robot_keypoints.open_footage_labels"
    bl_label = "Open Labels"
    bl_options = {"UNDO"}
    directory: str

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = Path(bpy.path.abspath(self.directory))
        labelled_footage.load(folder)
        context.scene.robot_keypoints.footage.data = str(folder)
        return {"FINISHED"}


class _Background:
    """Works on the chosen recording in the background."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.robot_keypoints.footage.recording:
            cls.poll_message_set("Open a FOOTAGE.toml first")  # type: ignore[attr-defined]
            return False
        if footage_jobs.busy():
            cls.poll_message_set("Something is being done with the footage: wait for it, or cancel it")  # type: ignore[attr-defined]
            return False
        return True


class KEYPOINTS_OT_label_footage(_Background, bpy.types.Operator):
    """Label the recording's images in the background, from its markers and joint positions. The labels come into a new folder beside FOOTAGE.toml"""  # noqa: E501

    bl_idname = "robot_keypoints.label_footage"
    bl_label = "Label"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        props = context.scene.robot_keypoints
        footage_jobs.LABELLING.begin(context.scene, recording_of(context.scene), props.robot_file, props.footage.method)
        return {"FINISHED"}


class KEYPOINTS_OT_calibrate_footage(_Background, bpy.types.Operator):
    """Find out in the background where the recording's cameras stand, and put cameras of their own into the scene there"""  # noqa: E501

    bl_idname = "robot_keypoints.calibrate_footage"
    bl_label = "Calibrate Camera"

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        file = context.scene.robot_keypoints.robot_file
        footage_jobs.CALIBRATING.begin(context.scene, recording_of(context.scene), file)
        return {"FINISHED"}


@fields(
    filepath=StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
    filter_glob=StringProperty(default="*.json", options={"HIDDEN"}),
)
class KEYPOINTS_OT_place_calibrated_cameras(bpy.types.Operator):
    """Put the cameras of a calibration.json into the scene, about its robot"""

    bl_idname = "robot_keypoints.place_calibrated_cameras"
    bl_label = "Cameras from Calibration"
    bl_options = {"UNDO"}
    filepath: str

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        document = read_json(Path(bpy.path.abspath(self.filepath)), "choose a calibration.json")
        footage_in_scene.place_cameras(context.scene, document)
        footage_camera.use_camera_view(context)
        return {"FINISHED"}


@fields(camera=StringProperty(name="Camera", description="Which of the recording's cameras", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_load_footage(bpy.types.Operator):
    """Show the recording behind a camera of its own, and key the rig over it: joints as solved, their standard deviations, and a marker wherever a frame is doubtful or left out"""  # noqa: E501

    bl_idname = "robot_keypoints.load_footage"
    bl_label = "Load into Scene"
    bl_options = {"UNDO"}
    camera: str

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, data = context.scene, data_of(context.scene)
        footage = labelled_footage.load(data)
        name = self.camera or next(iter(footage.cameras))
        if name not in footage.cameras:
            raise UserError(f"The footage has no camera {name}: choose from {', '.join(footage.cameras)}")
        props = scene.robot_keypoints
        if props.armature is None and props.footage.recording:
            file = footage_jobs.robot_file(recording_of(scene))
            if file is not None:
                robot_operators.load_file(context, str(file))
        for note in footage_in_scene.load(scene, footage, data, name):
            self.report({"WARNING"}, note)
        props.footage.camera = name
        footage_camera.use_camera_view(context)
        timer.redraw_viewports()
        return {"FINISHED"}


class KEYPOINTS_OT_keep_footage_pose(bpy.types.Operator):
    """Write the rig's present pose as the label of the frame that is shown, in place of the one that it has, if any; as it stands, a doubtful frame is confirmed. Undo takes back the key, and not the file of the label"""  # noqa: E501

    bl_idname = "robot_keypoints.keep_footage_pose"
    bl_label = "Keep This Pose as Label"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not context.scene.robot_keypoints.footage.camera:
            cls.poll_message_set("Load the footage into the scene first")
            return False
        return True

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, data = context.scene, data_of(context.scene)
        footage = labelled_footage.load(data)
        name = scene.robot_keypoints.footage.camera
        correction = footage_in_scene.correction(scene, footage, name)
        frame = footage.frames[correction["frame"]]
        same = timeline.stands_as_labelled(frame, np.array(correction["T_cam_base"]), correction["joints"])
        if same and not timeline.reason(frame):
            raise UserError("The robot stands as this frame's label has it: pose it first, if that is wrong")
        footage_jobs.CORRECTING.begin(data, correction)
        footage_in_scene.keep(scene)
        return {"FINISHED"}


class KEYPOINTS_OT_fine_tune(bpy.types.Operator):
    """Start a training that goes on from the loaded model: half of its images are the recording's labelled ones, half renderings of this scene"""  # noqa: E501

    bl_idname = "robot_keypoints.fine_tune"
    bl_label = "Fine-Tune"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return availability.model_is_loaded(cls) and availability.no_training_runs(cls)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        data, model = data_of(context.scene), model_server.SERVICE.model.path
        labelled_footage.load(data)
        training_run.RUNNER.start(context.scene, lambda s: run_preparation.fine_tuning(s, data, model))
        return {"FINISHED"}


@fields(back=BoolProperty(name="Back", description="Towards the beginning", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_next_doubtful_frame(bpy.types.Operator):
    """Go to the next frame that is doubtful or left out"""

    bl_idname = "robot_keypoints.next_doubtful_frame"
    bl_label = "Next Doubtful Frame"
    back: bool

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene
        marked = [m.frame for m in scene.timeline_markers if m.name.startswith(footage_in_scene.MARKS)]
        found = timeline.next_of(marked, scene.frame_current, self.back)
        if found is None:
            raise UserError("No frame is doubtful or left out")
        scene.frame_set(found)
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_open_footage,
    KEYPOINTS_OT_open_footage_labels,
    KEYPOINTS_OT_label_footage,
    KEYPOINTS_OT_calibrate_footage,
    KEYPOINTS_OT_place_calibrated_cameras,
    KEYPOINTS_OT_load_footage,
    KEYPOINTS_OT_keep_footage_pose,
    KEYPOINTS_OT_fine_tune,
    KEYPOINTS_OT_next_doubtful_frame,
)
