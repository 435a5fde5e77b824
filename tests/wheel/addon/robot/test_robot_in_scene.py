# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot is looked up once, by whatever needs it, and what was found holds as long as the scene does."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import FrameType
from typing import Any

import bpy
import numpy as np
import pytest
from robot_keypoints.addon.prediction import robot_match
from robot_keypoints.addon.robot import bones, kinematics, rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.addon.stage.stage import Stage
from robot_keypoints.addon.worker import instance_labels, process, scene_builder
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.model_document import ModelDescription
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings import toml_file
from robot_keypoints.core.settings.completion import complete, load_robots
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, SceneSettings, Settings

LOOK_UPS: dict[str, Callable[..., Any]] = {
    "robot": rig.robot_of,
    "standings": bones.kept,
    "joints": rig.joints_of,
    "reach": rig.reach_of,
    "kinematics": kinematics.Kinematics.__init__,
}
"""What asks an armature something, by what it asks for."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each of them is entered, whoever calls it by whatever name."""
    found: Counter[str] = Counter()
    names = {function.__code__: name for name, function in LOOK_UPS.items()}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in names:
            found[names[frame.f_code]] += 1

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_s_set_up_looks_each_robot_up_once(tmp_path: Path, count: int) -> None:
    """With every rule, floor and walls, distractors, level of detail, and labels of everything."""
    others = tuple(RobotSettings(path=str(builtin_urdf()), name="second", position=(1.5, 0.0, 0.0)) for _ in range(1))
    settings = Settings(
        robot=RobotSettings(path=str(builtin_urdf())),
        others=others[: count - 1],
        render=RenderSettings(width=32, height=24, masks=True),
        scene=SceneSettings(preset="photographs", framing=0.5, above_floor=True, collision_free=True),
    )
    settings = complete(settings, *load_robots(settings))
    toml_file.save(settings, tmp_path / "settings.toml")
    scene_builder.build_scene(settings, tmp_path)
    with counted() as found:
        stage, renderer = process.prepare(tmp_path / "scene.blend", settings)
        details = instance_labels.Details.of_stage(stage)
    renderer.close()
    assert found == dict.fromkeys(LOOK_UPS, count)
    assert stage.draw_rules.active and len(details.of(stage.camera)[0]) == count


def test_what_was_looked_up_is_what_the_functions_say() -> None:
    armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    found = RobotInScene.of(bpy.context.scene, armature, "second")
    assert found.robot == rig.robot_of(armature) and found.reach == rig.reach(armature)
    assert found.joints == rig.joints(armature)
    assert list(found.kinematics.variables) == [f"joint/second/{j.name}" for j in found.joints]
    link = found.joints[-1].bone
    np.testing.assert_array_equal(
        found.frames([link]).world()[link], rig.frame(bpy.context.scene, armature, link), strict=True
    )
    with pytest.raises(FrozenInstanceError):
        found.reach = 1.0  # type: ignore[misc]


def test_a_bone_that_was_removed_has_no_joint() -> None:
    """A user's mistake: the others go on, and a stage that wants it says so in a sentence."""
    armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    settings = complete(Settings(), load_urdf(builtin_urdf()))
    gone = rig.joints(armature)[-1]
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    armature.data.edit_bones.remove(armature.data.edit_bones[gone.bone])
    bpy.ops.object.mode_set(mode="OBJECT")
    left = [j.name for j in RobotInScene.of(bpy.context.scene, armature).joints]
    assert gone.name not in left and len(left) == 5
    keypoints = tuple(k for k in settings.keypoints if k.frame in armature.data.bones)
    with pytest.raises(UserError, match=rf"no variable 'joint/{gone.name}'"):
        Stage(bpy.context.scene, armature, replace(settings, keypoints=keypoints, skeleton=()))


def test_a_model_is_matched_with_one_look_up() -> None:
    import robot_keypoints

    robot_keypoints.register()
    try:
        bpy.ops.robot_keypoints.builtin_robot()
        robot = load_urdf(builtin_urdf())
        with counted() as found:
            match = robot_match.match(robot_match.robot_in(bpy.context.scene), ModelDescription(robot.to_dict()))
        assert found == dict.fromkeys(LOOK_UPS, 1)
        np.testing.assert_allclose(match.offset, np.eye(4), atol=1e-9)
    finally:
        robot_keypoints.unregister()
