# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings survive the way into the scene, through a .blend file, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest
import robot_keypoints
from robot_keypoints.addon.properties import scene_robots, to_settings
from robot_keypoints.addon.robot import rig
from robot_keypoints.core import run_folder
from robot_keypoints.core.robot.keypoints import Keypoint
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings import completion, schema as core, toml_file, validation


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def changed(value: object, metadata: dict[str, object]) -> object:
    """Another admissible value of a setting."""
    if "options" in metadata:
        return metadata["options"][-1]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 3
    if isinstance(value, float):
        return min(value * 0.5 + 0.01, metadata.get("high") or math.inf)
    return type(value)()


def unusual(folder: Path) -> core.Settings:
    """Settings in which nothing has its default, and a scene with the robots they name."""
    robots = [rig.build(bpy.context.scene, load_urdf(builtin_urdf())) for _ in range(2)]
    for theme in ("indoors", "outdoors", "kitchens"):
        (folder / "photos" / theme).mkdir(parents=True)
        (folder / "photos" / theme / "a.jpg").write_bytes(b"")
    (folder / "worlds").mkdir()
    (folder / "worlds" / "hall.hdr").write_bytes(b"")
    parts = {}
    for attribute, cls in to_settings.MIRRORED.items():
        values = {f.name: changed(f.default, f.metadata) for f in dataclasses.fields(cls)}
        parts[attribute] = cls(**values)
    parts["augmentation"] = core.AugmentationSettings(str(folder / "photos"), ("kitchens",), True)
    parts["scene"] = dataclasses.replace(parts["scene"], worlds=str(folder / "worlds"))
    parts["stream"] = core.StreamSettings("127.0.0.1", 4000, "/tmp/keys")
    return core.Settings(
        robot=core.RobotSettings("armature", run_folder.SCENE, robots[0].name),
        others=(core.RobotSettings("armature", run_folder.SCENE, robots[1].name, name="left"),),
        keypoints=(
            Keypoint("hand", "wrist_3_link", (0.1, -0.25, 0.03)),
            Keypoint("base", "base_link"),
            Keypoint("left/hand", "wrist_3_link", robot="left"),
        ),
        skeleton=(("base", "hand"),),
        variables=(
            core.VariableSettings("joint/elbow_joint", math.radians(-100), math.radians(145.5), 7, 0.5, unit="rad"),
            core.VariableSettings("joint/shoulder_pan_joint", -math.pi, math.pi, 16, 2.0, True, True, "rad"),
            core.VariableSettings("joint/left/elbow_joint", 0.5, 0.5, 1, 1.0, False, False, "rad"),
            core.VariableSettings("camera/distance", 1.25, 3.7, 5, 1.0, False, False, "m"),
            core.VariableSettings("camera/roll", 0.25, 0.25, 1, 1.0, False, False, "rad"),
            core.VariableSettings("light/temperature", 2800.0, 9000.0, 6, 1.0, False, True, "K"),
            core.VariableSettings("light/world", 2.0, 10.0, 8, 1.0, False, True),
            core.VariableSettings("light/type", 2.5, 2.5, 1, 1.0, False, False),
            core.VariableSettings("background/theme", 1.0, 3.0, 2, 1.0, False, False),
            core.VariableSettings("material/arm/hue", 0.1, 0.2, 3, 1.0, False, True),
            core.VariableSettings("custom/fan", -1.0, 2.0, 6, path='objects["Fan"].rotation_euler[2]', unit="rad"),
            core.VariableSettings("custom/still", 0.5, 0.5, 1, 1.0, False, False, path='objects["Fan"].location[0]'),
        ),
        data=(
            core.DataSettings(str(folder / "photos"), "train", "test", 0.25, 0.375, 2.0, 4.0),
            core.DataSettings(str(folder / "worlds"), share=0.125),
        ),
        groups=(core.LinkGroup("arm", ("upper_arm_link", "forearm_link")), core.LinkGroup("empty")),
        **parts,
    )


def assert_same(a: core.Settings, b: core.Settings) -> None:
    for attribute in to_settings.MIRRORED:
        left, right = dataclasses.asdict(getattr(a, attribute)), dataclasses.asdict(getattr(b, attribute))
        assert left == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in right.items()}
    for attribute in ("robot", "others", "keypoints", "skeleton", "groups", "data"):
        assert getattr(a, attribute) == getattr(b, attribute)
    assert [dataclasses.asdict(v) for v in a.variables] == [dataclasses.asdict(v) for v in b.variables]


def test_round_trip_of_everything(tmp_path: Path) -> None:
    settings = unusual(tmp_path)
    validation.check(settings)
    untouched = core.Settings()
    for field in dataclasses.fields(core.Settings):
        assert getattr(settings, field.name) != getattr(untouched, field.name), f"{field.name} is not tried"
    to_settings.write(bpy.context.scene, settings)
    assert_same(to_settings.read(bpy.context.scene), settings)


def test_defaults_are_the_core_s_own() -> None:
    assert to_settings.read(bpy.context.scene) == core.Settings()


def test_saved_with_the_file(tmp_path: Path) -> None:
    settings = unusual(tmp_path)
    to_settings.write(bpy.context.scene, settings)
    path = str(tmp_path / "kept.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert to_settings.read(bpy.context.scene) == core.Settings()
    bpy.ops.wm.open_mainfile(filepath=path)
    assert_same(to_settings.read(bpy.context.scene), settings)


def test_a_run_s_file_can_be_written_and_read(tmp_path: Path) -> None:
    armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    bpy.context.scene.robot_keypoints.armature = armature
    settings = to_settings.read(bpy.context.scene)
    validation.check(settings)
    toml_file.save(settings, tmp_path / "settings.toml")
    again = toml_file.load(tmp_path / "settings.toml")
    assert again.robot.kind == "armature"
    assert again.robot.armature == armature.name
    assert again.robot.path == str(tmp_path / "scene.blend")
    assert again.variables == settings.variables


def test_choosing_the_armature_fills_in_what_the_core_would() -> None:
    robot = load_urdf(builtin_urdf())
    bpy.context.scene.robot_keypoints.armature = rig.build(bpy.context.scene, robot)
    mine, reference = to_settings.read(bpy.context.scene), completion.complete(core.Settings(), robot)
    assert mine.keypoints == reference.keypoints
    assert mine.skeleton == reference.skeleton
    assert [v.name for v in mine.variables] == [v.name for v in reference.variables]
    for a, b in zip(mine.variables, reference.variables, strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high))
        assert (a.bins, a.circular, a.adapt, a.unit) == (b.bins, b.circular, b.adapt, b.unit)


def test_a_full_circle_is_a_full_circle_again() -> None:
    v = core.VariableSettings("joint/a", -math.pi, math.pi, 16, 1.0, True, True, "rad")
    to_settings.write(bpy.context.scene, core.Settings(variables=(v,)))
    assert bpy.context.scene.robot_keypoints.variables[0].low != -math.pi  # single precision
    assert to_settings.read(bpy.context.scene).variables[0] == v


def test_a_variable_that_is_held_becomes_a_constant() -> None:
    props = bpy.context.scene.robot_keypoints
    props.armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    joint = props.variables["joint/elbow_joint"]
    joint.use = False
    joint.value_angle = math.radians(30)
    settings = to_settings.read(bpy.context.scene)
    held = next(v for v in settings.variables if v.name == "joint/elbow_joint")
    assert held.low == held.high == pytest.approx(math.radians(30))
    assert not held.adapt and not held.circular
    validation.check(settings)
    joint.use = True
    assert next(v for v in to_settings.read(bpy.context.scene).variables if v.name == "joint/elbow_joint").high > 3


def test_ranges_never_turn_over() -> None:
    props = bpy.context.scene.robot_keypoints
    v = props.variables.add()
    v.low, v.high = 0.0, 1.0
    v.low_angle = 2.0
    assert (v.low, v.high) == (2.0, 2.0)
    v.high_length = -1.0
    assert (v.low, v.high) == (-1.0, -1.0)


def test_renaming_a_keypoint_renames_its_links() -> None:
    props = bpy.context.scene.robot_keypoints
    props.armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    before = to_settings.read(bpy.context.scene)
    props.keypoints[2].name = "middle"
    after = to_settings.read(bpy.context.scene)
    old = before.keypoints[2].name
    assert [tuple("middle" if n == old else n for n in edge) for edge in before.skeleton] == list(after.skeleton)
    validation.check(after)


def test_a_users_own_armature() -> None:
    data = bpy.data.armatures.new("own")
    own = bpy.data.objects.new("own", data)
    bpy.context.scene.collection.objects.link(own)
    bpy.context.view_layer.objects.active = own
    bpy.ops.object.mode_set(mode="EDIT")
    for index in range(3):
        bone = data.edit_bones.new(f"b{index}")
        bone.head, bone.tail = (0, 0, index), (0, 0, index + 1)
        if index:
            bone.parent = data.edit_bones[f"b{index - 1}"]
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in own.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = (False, True, True)
    own.pose.bones["b1"].lock_rotation = (True, True, True)
    bpy.context.scene.robot_keypoints.armature = own
    settings = to_settings.read(bpy.context.scene)
    assert [v.name for v in settings.variables if v.name.startswith("joint/")] == ["joint/b0", "joint/b2"]
    assert [k.name for k in settings.keypoints] == ["b0", "b2"]
    assert settings.skeleton == (("b0", "b2"),)
    distance = next(v for v in settings.variables if v.name == "camera/distance")
    assert 3.0 < distance.low < distance.high < 9.0
    assert scene_robots.problem(bpy.context.scene) == ""
