# SPDX-License-Identifier: GPL-3.0-or-later
"""Further robots, groups of links, folders of worlds and photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.properties import choice_names, scene_robots, to_settings
from robot_keypoints.addon.robot import rig
from robot_keypoints.addon.services import run_preparation
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings import completion, schema as core, validation


@pytest.fixture(autouse=True)
def robot() -> Iterator[None]:
    robot_keypoints.register()
    bpy.ops.robot_keypoints.builtin_robot()
    yield
    robot_keypoints.unregister()


def props() -> Any:
    return bpy.context.scene.robot_keypoints


def read() -> core.Settings:
    return to_settings.read(bpy.context.scene)


def second() -> bpy.types.Object:
    armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    bpy.context.view_layer.objects.active = armature
    return armature


def test_a_second_robot_is_taken_in_under_its_own_name() -> None:
    before = read()
    props().variables["camera/roll"].high = 0.5
    armature = second()
    armature.location.x = 2.0
    assert bpy.ops.robot_keypoints.robot_add() == {"FINISHED"}
    props().others[0].name = "left"
    after = read()
    assert [(r.name, r.armature) for r in after.others] == [("left", armature.name)]
    reference = completion.complete(
        core.Settings(others=(core.RobotSettings(name="left"),)), *[load_urdf(builtin_urdf())] * 2
    )
    assert after.keypoints == reference.keypoints and after.skeleton == reference.skeleton
    assert {v.name for v in after.variables} == {v.name for v in reference.variables}
    assert next(v for v in after.variables if v.name == "camera/roll").high == pytest.approx(0.5), "edits stay"
    run_preparation.ready_settings(bpy.context.scene)
    bpy.ops.robot_keypoints.draw_sample(seed=3)
    angles = [armature.pose.bones[j.bone].rotation_euler[1] for j in rig.joints(armature)]
    assert all(a != 0 for a in angles)
    assert bpy.ops.robot_keypoints.robot_remove() == {"FINISHED"}
    assert read().keypoints == before.keypoints and read().skeleton == before.skeleton
    assert {v.name for v in read().variables} == {v.name for v in before.variables}
    assert armature.name in bpy.context.scene.objects


def test_robots_have_names_of_their_own() -> None:
    second()
    bpy.ops.robot_keypoints.robot_add()
    second()
    bpy.ops.robot_keypoints.robot_add()
    props().others[0].name = "a"
    props().others[1].name = "a"
    assert [o.name for o in props().others] == ["a", "a 2"]
    props().others[1].name = "b/c"
    assert props().others[1].name == "b c"
    validation.check(read())


def test_which_armature_is_meant() -> None:
    assert "no other armature" in refusal(bpy.ops.robot_keypoints.robot_add)
    first = second()
    second()
    bpy.context.view_layer.objects.active = None
    assert "several" in refusal(bpy.ops.robot_keypoints.robot_add)
    bpy.context.view_layer.objects.active = first.children[0]
    bpy.ops.robot_keypoints.robot_add()
    assert props().others[0].armature == first


def test_a_robot_that_is_gone_is_noticed() -> None:
    armature = second()
    bpy.ops.robot_keypoints.robot_add()
    bpy.data.objects.remove(armature)
    assert "has no armature" in scene_robots.problem(bpy.context.scene)
    assert not bpy.ops.robot_keypoints.draw_sample.poll()
    bpy.ops.robot_keypoints.robot_remove()
    assert scene_robots.problem(bpy.context.scene) == ""
    run_preparation.ready_settings(bpy.context.scene)


def test_the_first_robot_can_t_be_a_further_one_too() -> None:
    armature = second()
    bpy.ops.robot_keypoints.robot_add()
    props().armature = armature
    assert not props().others
    validation.check(read())


def select(*bones: str) -> None:
    armature = props().armature
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="POSE")
    for bone in armature.pose.bones:
        chosen = bone.name in bones
        if hasattr(bone, "select"):
            bone.select = chosen
        else:
            bone.bone.select = chosen


def test_links_get_a_material_of_their_own() -> None:
    assert "No link is selected" in refusal(bpy.ops.robot_keypoints.links_add)
    select("upper_arm_link", "forearm_link")
    bpy.ops.robot_keypoints.links_add()
    assert read().groups == (core.LinkGroup("upper_arm", ("upper_arm_link", "forearm_link")),)
    own = {v.name for v in read().variables if v.name.startswith("material/upper_arm/")}
    assert own == {f"material/upper_arm/{e.name.split('/')[1]}" for e in catalogue.MATERIAL}
    props().variables["material/upper_arm/hue"].high = 0.25
    props().links[0].name = "arm"
    assert next(v for v in read().variables if v.name == "material/arm/hue").high == pytest.approx(0.25)
    select("forearm_link", "wrist_1_link")
    bpy.ops.robot_keypoints.links_add()
    assert [(g.name, g.links) for g in read().groups] == [
        ("arm", ("upper_arm_link",)), ("forearm", ("forearm_link", "wrist_1_link")),
    ]  # fmt: skip
    props().links_index = 0
    bpy.ops.robot_keypoints.links_assign()
    assert read().groups[0].links == ("upper_arm_link", "forearm_link", "wrist_1_link")
    select("wrist_1_link")
    bpy.ops.robot_keypoints.links_unassign()
    assert read().groups[0].links == ("upper_arm_link", "forearm_link")
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.robot_keypoints.draw_sample(seed=1)
    bpy.ops.robot_keypoints.links_remove()
    assert [g.name for g in read().groups] == ["forearm"]
    assert not any(v.name.startswith("material/arm/") for v in read().variables)
    validation.check(read())


def test_meshes_stand_for_their_links() -> None:
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    mesh = next(o for o in rig.robot_meshes(props().armature) if o.parent_bone == "forearm_link")
    mesh.select_set(True)
    bpy.ops.robot_keypoints.links_add()
    assert read().groups == (core.LinkGroup("forearm", ("forearm_link",)),)


def test_a_group_s_name_is_its_own() -> None:
    select("forearm_link")
    bpy.ops.robot_keypoints.links_add()
    props().links[0].name = "hue"  # would be taken for a variable of the common material
    assert props().links[0].name == "hue 2"
    validation.check(read())


def folders(tmp_path: Path) -> tuple[Path, Path]:
    for theme, count in (("kitchen", 2), ("office", 1), ("void", 0)):
        (tmp_path / "photos" / theme).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "photos" / theme / f"{number}.jpg").write_bytes(b"")
    (tmp_path / "worlds").mkdir()
    for name in ("hall.exr", "attic.hdr"):
        (tmp_path / "worlds" / name).write_bytes(b"")
    return tmp_path / "worlds", tmp_path / "photos"


def test_folders_become_choices(tmp_path: Path) -> None:
    worlds, photos = folders(tmp_path)
    bpy.ops.robot_keypoints.preset_choose(name="photographs")
    props().scene.worlds, props().augmentation.backgrounds = str(worlds), str(photos)
    assert choice_names.names(props(), "light/world")[-2:] == ("attic", "hall")
    assert [(t.name, t.pictures) for t in props().augmentation.themes] == [("kitchen", 2), ("office", 1), ("void", 0)]
    assert "void" in props().backgrounds_note and "kitchen" not in props().backgrounds_note
    world = props().variables["light/world"]
    assert (world.low, world.high, world.bins) == (0.0, 11.0, 11)
    assert choice_names.names(props(), "background/theme") == ("drawn", "kitchen", "office", "void", "places")
    validation.check(read())


def test_what_is_chosen_keeps_its_name(tmp_path: Path) -> None:
    worlds, photos = folders(tmp_path)
    props().scene.worlds, props().augmentation.backgrounds = str(worlds), str(photos)
    theme, world = props().variables["background/theme"], props().variables["light/world"]
    theme.use, theme.value_choice = False, "2"  # office
    world.use = True
    world.low_choice = world.high_choice = "10"  # hall
    props().augmentation.themes["kitchen"].validation = True
    theme = props().variables["background/theme"]
    assert choice_names.names(props(), "background/theme")[int(theme.value)] == "office" and not theme.use
    (worlds / "attic.hdr").unlink()
    bpy.ops.robot_keypoints.folders_reread()
    world = props().variables["light/world"]
    assert choice_names.names(props(), "light/world")[int(world.low)] == "hall" and world.high - world.low == 1
    assert read().augmentation.validation_themes == ("kitchen",)
    validation.check(read())
    props().scene.worlds = ""
    validation.check(read())


def test_a_folder_without_pictures_is_a_sentence_in_the_panel(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    props().scene.worlds = props().augmentation.backgrounds = str(tmp_path / "none")
    assert ".exr" in props().worlds_note and "no photographs" in props().backgrounds_note
    with pytest.raises(Exception, match=r"none"):
        run_preparation.ready_settings(bpy.context.scene)
    props().scene.worlds = str(tmp_path / "gone")
    assert "can't be read" in props().worlds_note
    props().scene.worlds = props().augmentation.backgrounds = ""
    assert props().worlds_note == props().backgrounds_note == ""
    run_preparation.ready_settings(bpy.context.scene)


def test_keypoints_that_were_removed_stay_away() -> None:
    while props().keypoints:
        bpy.ops.robot_keypoints.keypoint_remove()
    scene_robots.refresh(bpy.context.scene)
    assert not props().keypoints


def test_a_first_robot_without_joints_is_noticed_beside_another_that_has_some() -> None:
    second()
    bpy.ops.robot_keypoints.robot_add()
    data = bpy.data.armatures.new("stiff")
    stiff = bpy.data.objects.new("stiff", data)
    bpy.context.scene.collection.objects.link(stiff)
    props().armature = stiff
    assert len(props().others) == 1
    assert "stiff" in scene_robots.problem(bpy.context.scene)
    assert not bpy.ops.robot_keypoints.draw_sample.poll()
