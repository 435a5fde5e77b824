# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills in what a run's settings leave out and only the scene knows: keypoints, skeleton, joints, the robot's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import bpy

from ...core.scene import catalogue
from ...core.settings.completion import complete_scene
from ...core.settings.schema import Settings
from ..properties import scene_robots
from ..robot import rig


def complete(settings: Settings, armatures: Mapping[str, bpy.types.Object]) -> Settings:
    """Settings with everything a run needs; what the user gave stays.

    Args:
        armatures: the scene's robots by name; the first one's name is empty.

    Raises:
        UserError: if an armature has no joint, or a folder that the settings name can't be read.
    """
    parts = [scene_robots.parts(armature, name) for name, armature in armatures.items()]
    return complete_scene(
        replace(
            settings,
            keypoints=settings.keypoints or tuple(k for p in parts for k in p.keypoints),
            skeleton=settings.skeleton or (() if settings.keypoints else tuple(e for p in parts for e in p.skeleton)),
        ),
        [default.settings.variable() for p in parts for default in p.joints.values()],
        catalogue.REACH_SHARE * rig.reach(armatures[""]),
    )


def describe(armature: bpy.types.Object) -> dict[str, Any]:
    """A robot's kinematics as JSON values; its name alone, where nothing else is known."""
    robot = rig.robot_of(armature)
    return {"name": armature.name} if robot is None else robot.to_dict()
