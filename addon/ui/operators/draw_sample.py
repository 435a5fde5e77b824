# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Priors panel."""

import secrets

import bpy
import numpy as np
from bpy.props import BoolProperty, IntProperty

from ....core.errors import UserError
from ...base import user_errors
from ...properties import scene_robots
from ...properties.from_dataclass import fields
from ...services import run_preparation, training_run
from ...stage.stage import Stage


@fields(
    seed=IntProperty(name="Seed", description="The same seed draws the same sample", options={"SKIP_SAVE"}, min=0),
    adapted=BoolProperty(name="From the posterior", description="Draw as the adapting workers do by now",
                         options={"SKIP_SAVE"}),
)  # fmt: skip
class KEYPOINTS_OT_draw_sample(bpy.types.Operator):
    """Draw every variable once and apply it to the scene: joints, camera, light and material"""

    bl_idname = "robot_keypoints.draw_sample"
    bl_label = "Draw a Sample"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        missing = scene_robots.problem(context.scene)
        if missing:
            cls.poll_message_set(missing)
        return not missing

    @user_errors.sentences
    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.properties.is_property_set("seed"):
            self.seed = secrets.randbelow(1 << 31)
        settings = run_preparation.ready_settings(context.scene)
        model = settings.scene_model()
        status = training_run.RUNNER.status
        if self.adapted and status is not None and status.concentrations:
            try:
                model = model.with_concentrations(status.concentrations, status.version, status.pairs)
            except ValueError as problem:
                raise UserError(
                    f"The posterior belongs to other variables ({problem}): draw from the priors"
                ) from problem
        armature = context.scene.robot_keypoints.armature
        if context.mode not in ("OBJECT", "POSE"):
            raise UserError("A sample can only be drawn in Object Mode or Pose Mode: leave the present mode first")
        Stage(context.scene, armature, settings).apply(model.sample(np.random.default_rng(self.seed)).values)
        return {"FINISHED"}


CLASSES = (KEYPOINTS_OT_draw_sample,)
