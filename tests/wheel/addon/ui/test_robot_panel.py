# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Robot panel says."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import pytest
import robot_keypoints
from recorded_layout import draw
from robot_keypoints.addon.ui.panels.robot import KEYPOINTS_PT_robot as PANEL


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    bpy.ops.wm.read_factory_settings(use_empty=False)
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def test_an_armature_without_joints_is_told_of_once() -> None:
    bpy.ops.object.armature_add()
    armature = bpy.context.object
    armature.name = "crane"
    for bone in armature.pose.bones:
        bone.robot_keypoints_joint = "NO"
    bpy.context.scene.robot_keypoints.armature = armature
    assert " ".join(draw(PANEL)).count("crane has no bone that can turn or slide: choose another armature") == 1
