# SPDX-License-Identifier: GPL-3.0-or-later
"""The height at which things lie on what is below a robot."""

from __future__ import annotations

from dataclasses import replace

from ...core.camera.intrinsics import invert
from ...core.settings.schema import Settings
from ..robot.rig import upright
from ..robot.rigid_bodies import find
from ..robot.robot_in_scene import RobotInScene
from .object_pool import most

LEGS = 0.2
"""A robot whose joints move something this far below its base, in reaches and at rest, stands on legs."""


def on_ground(robot: RobotInScene, settings: Settings) -> Settings:
    """Settings whose floor is given above the robot's base, where the user's is given above what it stands on.

    A robot stands on its base, unless it has legs: then on its lowest point at rest.
    """
    if not (settings.scene.above_floor or most(settings, "surroundings/floor")):
        return settings
    kinematics = robot.kinematics
    rest, base = kinematics.rest(), invert(upright(robot.armature))
    lowest = 0.0
    for body in (b for b in find(robot.scene, kinematics) if kinematics.moved_by(b.frame)):
        frame = base @ rest[kinematics.rows[body.frame]]
        lowest = min(lowest, float((body.vertices @ frame[2, :3]).min() + frame[2, 3]))
    if lowest > -LEGS * robot.reach:
        return settings
    return replace(settings, scene=replace(settings.scene, floor=settings.scene.floor + lowest))
