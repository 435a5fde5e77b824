# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies one draw of the latent variables to the scene: joints, camera, light, materials and everything else."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.robot import keypoints
from ...core.scene import catalogue
from ...core.settings.schema import Settings
from ..robot import rig
from ..robot.robot_in_scene import RobotInScene
from . import ground, metering
from .camera import Camera
from .distractors import Objects
from .draw_rules import DrawRules
from .light import Light
from .material import Materials
from .surroundings import Surroundings
from .user_variables import Custom
from .visibility import Seen


class Stage:
    """The scene as the variables see it. Camera, lamps and world are made where they are missing."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, settings: Settings) -> None:
        """Look everything up once.

        Args:
            armature: the first robot.

        Raises:
            UserError: if a variable, a robot or a keypoint's frame does not exist in the scene.
        """
        self.scene = scene
        self.settings = settings
        armatures = {"": armature, **{r.name: rig.find(scene, r.armature or r.name) for r in settings.others}}
        self.robots = {name: RobotInScene.of(scene, a, name) for name, a in armatures.items()}
        """By name; the first one's is empty."""
        self.keypoints = settings.keypoints
        self._frames = {
            name: robot.frames([k.frame for k in settings.keypoints if k.robot == name])
            for name, robot in self.robots.items()
        }
        first, *_ = robots = list(self.robots.values())
        self._neutral = catalogue.neutral(catalogue.REACH_SHARE * first.reach)
        self._check()
        self.camera = Camera(scene, armature, first.reach)
        self.seen = Seen(scene)
        grounded = ground.on_ground(first, settings)
        self.draw_rules = DrawRules(self.robots, grounded)
        self.light = Light(scene, armature, first.reach, settings)
        self._parts = (
            self.camera,
            Materials(armatures, first.reach, settings),
            Surroundings(scene, robots, grounded, self.light.world),
            Objects(scene, robots, self.camera, grounded),
            Custom(settings.variables),
        )

    @property
    def armature(self) -> bpy.types.Object:
        """Of the first robot."""
        return self.robots[""].armature

    def _check(self) -> None:
        known = {variable for robot in self.robots.values() for variable in robot.kinematics.variables}
        for v in self.settings.variables:
            if not (v.name in known or catalogue.find(v.name) is not None or v.path):
                raise UserError(f"The scene has no variable {v.name!r}: remove it, or load the robot that has it")

    def apply(self, values: Mapping[str, float]) -> None:
        """Set every variable of the scene; the view layer is then up to date.

        Args:
            values: by variable name, in the variable's own unit. What is not named keeps a neutral value, except
                joints, which keep their pose.
        """
        for robot in self.robots.values():
            robot.kinematics.pose(values)
        v = {**self._neutral, **values}
        self.light.apply(v)
        if v["camera/metering"]:
            v["camera/exposure"] += v["camera/metering"] * metering.stops(v, self.armature, self.light.world)
        for part in self._parts:
            part.apply(v)
        self.scene.view_layers[0].update()

    def positions(self) -> NDArray[np.float64]:
        """Keypoints ``(J, 3)`` in the world, metres, in the settings' order; after :meth:`apply`."""
        return keypoints.positions(self.keypoints, {name: f.world() for name, f in self._frames.items()})
