# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Training panel."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ....core.processes.run_status import Phase
from ...base import user_errors
from ...properties import preferences
from ...properties.from_dataclass import fields
from ...services import run_report, training_run
from . import availability


class KEYPOINTS_OT_start_training(bpy.types.Operator):
    """Save a copy of this scene, start the trainer and the workers, and learn"""

    bl_idname = "robot_keypoints.start_training"
    bl_label = "Start Training"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return availability.no_training_runs(cls)

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        training_run.RUNNER.start(context.scene)
        return {"FINISHED"}


class KEYPOINTS_OT_pause_training(bpy.types.Operator):
    """Pause the training: the trainer takes no more samples and the workers wait"""

    bl_idname = "robot_keypoints.pause_training"
    bl_label = "Pause"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        status = training_run.RUNNER.status
        return status is not None and status.phase is Phase.TRAINING

    def execute(self, context: bpy.types.Context) -> set[str]:
        session = training_run.RUNNER.session
        assert session is not None
        session.pause()
        return {"FINISHED"}


class KEYPOINTS_OT_resume_training(bpy.types.Operator):
    """Go on after a pause"""

    bl_idname = "robot_keypoints.resume_training"
    bl_label = "Resume"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        status = training_run.RUNNER.status
        return status is not None and status.phase is Phase.PAUSED

    def execute(self, context: bpy.types.Context) -> set[str]:
        session = training_run.RUNNER.session
        assert session is not None
        session.resume_training()
        return {"FINISHED"}


class KEYPOINTS_OT_stop_training(bpy.types.Operator):
    """End the training and keep the best model"""

    bl_idname = "robot_keypoints.stop_training"
    bl_label = "Stop"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        status = training_run.RUNNER.status
        return status is not None and not status.phase.over and status.phase is not Phase.STOPPING

    def execute(self, context: bpy.types.Context) -> set[str]:
        session = training_run.RUNNER.session
        assert session is not None
        session.stop()
        return {"FINISHED"}


@fields(directory=StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"}))
class KEYPOINTS_OT_continue_training(bpy.types.Operator):
    """Choose the folder of an earlier run and go on from its last checkpoint"""

    bl_idname = "robot_keypoints.continue_training"
    bl_label = "Continue a Run"
    directory: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not training_run.RUNNER.active

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory:
            return self.execute(context)
        chosen = context.scene.robot_keypoints.run_folder or preferences.get().runs
        self.directory = str(Path(bpy.path.abspath(chosen)).expanduser())
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        training_run.RUNNER.continue_run(Path(bpy.path.abspath(self.directory)))
        return {"FINISHED"}


class KEYPOINTS_OT_report_run(bpy.types.Operator):
    """Write a page about this run and show it in the browser: curves, priors, the hardest images, times, settings"""

    bl_idname = "robot_keypoints.report_run"
    bl_label = "Report"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if training_run.RUNNER.session is None:
            cls.poll_message_set("Start a training first")
            return False
        if run_report.SERVICE.running:
            cls.poll_message_set("A report is being written")
            return False
        return True

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = training_run.RUNNER.session
        assert session is not None
        run_report.SERVICE.begin(session.folder)
        return {"FINISHED"}


CLASSES = (
    KEYPOINTS_OT_start_training,
    KEYPOINTS_OT_pause_training,
    KEYPOINTS_OT_resume_training,
    KEYPOINTS_OT_stop_training,
    KEYPOINTS_OT_continue_training,
    KEYPOINTS_OT_report_run,
)
