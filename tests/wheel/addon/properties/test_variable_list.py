# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of variables: presets, groups, choices, copying, resetting, and variables of the user's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.properties import (
    choice_names,
    scene as scene_properties,
    scene_check_report,
    to_settings,
    user_presets,
    variable_list,
)
from robot_keypoints.addon.services import run_preparation  # fmt: skip
from robot_keypoints.addon.ui import warnings
from robot_keypoints.addon.ui.operators import user_variable_suggestion
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.scene import catalogue, presets
from robot_keypoints.core.settings import completion, schema as core, toml_file, validation


@pytest.fixture(autouse=True)
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_presets, "folder", lambda: tmp_path / "presets")
    robot_keypoints.register()
    bpy.ops.robot_keypoints.builtin_robot()
    yield
    robot_keypoints.unregister()


def props() -> Any:
    return bpy.context.scene.robot_keypoints


def variable(name: str) -> Any:
    return props().variables[name]


def settings(name: str) -> core.VariableSettings:
    return next(v for v in to_settings.read(bpy.context.scene).variables if v.name == name)


def load_arm(tmp_path: Path) -> None:
    """A robot of three hinges with limits."""
    joints = "".join(
        f"<link name='l{n}'/><joint name='j{n}' type='revolute'><parent link='l{n - 1}'/>"
        f"<child link='l{n}'/><origin xyz='0 0 0.3'/><axis xyz='0 1 0'/><limit lower='-{high}' upper='{high}'/></joint>"
        for n, high in ((1, 1.0), (2, 2.5), (3, 2.0))
    )
    file = tmp_path / "arm.urdf"
    file.write_text(f"<robot name='arm'><link name='l0'/>{joints}</robot>")
    bpy.ops.robot_keypoints.load_urdf("EXEC_DEFAULT", filepath=str(file))


def choose(name: str) -> None:
    """As a click into the list does."""
    props().group = name.split("/")[0]
    props().variable_index = [v.name for v in props().variables].index(name)


def test_every_group_of_the_catalogue_has_a_tab_and_every_variable_an_entry() -> None:
    assert tuple(g[0] for g in scene_properties.GROUPS) == catalogue.GROUPS
    assert {v.name for v in props().variables if not v.name.startswith("joint/")} == set(catalogue.BY_NAME)


@pytest.mark.parametrize("preset", list(presets.PRESETS))
def test_a_preset_is_what_the_core_makes_of_it(preset: str) -> None:
    assert bpy.ops.robot_keypoints.preset_choose(name=preset) == {"FINISHED"}
    wanted = completion.complete_scene(
        core.Settings(scene=core.SceneSettings(preset)), [], catalogue.REACH_SHARE * props().reach
    )
    for v in wanted.variables:
        assert variable_list.same(settings(v.name), v), v.name
        assert not variable(v.name).changed
    validation.check(to_settings.read(bpy.context.scene))


def test_a_preset_leaves_joints_and_own_variables_alone() -> None:
    variable("joint/elbow_joint").low = 0.25
    bpy.ops.robot_keypoints.variable_add("EXEC_DEFAULT", path='objects["ur10_simple"].location[2]')
    bpy.ops.robot_keypoints.preset_choose(name="photographs")
    assert settings("joint/elbow_joint").low == pytest.approx(0.25)
    assert settings("custom/ur10_simple location Z").path == 'objects["ur10_simple"].location[2]'


def test_what_is_held_has_a_sensible_range_once_it_varies() -> None:
    bpy.ops.robot_keypoints.preset_choose(name="fast")
    for v in props().variables:
        if not v.use:
            v.use = True
            assert v.low < v.high, v.name
            entry = catalogue.find(v.name)
            assert entry is None or v.bins > 1
    validation.check(to_settings.read(bpy.context.scene))


def test_changes_are_noticed_and_taken_back() -> None:
    v = variable("camera/distance")
    before = settings("camera/distance")
    v.high_length = 7.0
    assert v.changed
    v.high = before.high
    assert not v.changed, "set back by hand, it is as the preset has it"
    v.bins, variable("light/strength").use = 9, False
    assert v.changed and variable("light/strength").changed
    choose("camera/distance")
    bpy.ops.robot_keypoints.variables_reset(which="ONE")
    assert settings("camera/distance") == before and variable("light/strength").changed
    bpy.ops.robot_keypoints.variables_reset(which="ALL")
    assert not any(v.changed for v in props().variables)


def test_joints_are_reset_to_their_limits(tmp_path: Path) -> None:
    load_arm(tmp_path)
    before = settings("joint/j2")
    joint = variable("joint/j2")
    assert joint.limited and (joint.limit_low, joint.limit_high) == (before.low, before.high) == (-2.5, 2.5)
    joint.low, joint.use = -1.0, False
    bpy.ops.robot_keypoints.variables_reset(which="JOINTS")
    assert variable_list.same(settings("joint/j2"), before)


def test_user_presets_suit_robots_of_any_size() -> None:
    bpy.ops.robot_keypoints.preset_choose(name="balanced")
    variable("camera/distance").low, variable("camera/distance").high = 1.0 * props().reach, 2.0 * props().reach
    variable("light/type").use, variable("light/type").value_choice = False, "2"
    variable("sensor/noise").use = False
    assert bpy.ops.robot_keypoints.preset_save("EXEC_DEFAULT", name="my lab") == {"FINISHED"}
    assert props().preset_name == "my lab" and not any(v.changed for v in props().variables)
    assert user_presets.names() == ["my lab"]
    bpy.ops.robot_keypoints.preset_choose(name="fast")
    assert props().preset_name == "" and settings("sensor/noise").low < settings("sensor/noise").high
    props().armature.scale = (2.0, 2.0, 2.0)  # of a robot from a URDF this is not its size
    props().reach *= 2
    bpy.ops.robot_keypoints.preset_choose(name="my lab")
    distance = settings("camera/distance")
    assert (distance.low, distance.high) == pytest.approx((props().reach, 2 * props().reach), rel=1e-5)
    assert settings("light/type").low == settings("light/type").high == 2.5
    assert not variable("sensor/noise").use
    # What a preset was, it stays: the file is read by the settings' own reader.
    assert {v.name for v in toml_file.load(user_presets.folder() / "my lab.toml").variables} == set(catalogue.BY_NAME)


def test_presets_refuse_in_a_sentence(tmp_path: Path) -> None:
    save, take = bpy.ops.robot_keypoints.preset_save, bpy.ops.robot_keypoints.preset_choose
    assert "../x" in refusal(save, name="../x")
    assert "come with the extension" in refusal(save, name="Balanced")
    assert "nothing" in refusal(take, name="nothing")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "bad.toml").write_text("variables = 3")
    assert "bad.toml" in refusal(take, name="bad")
    assert props().preset_name == ""


def test_deleting_a_preset_keeps_the_priors() -> None:
    variable("camera/roll").high = 0.5
    bpy.ops.robot_keypoints.preset_save("EXEC_DEFAULT", name="mine")
    bpy.ops.robot_keypoints.preset_remove("EXEC_DEFAULT")
    assert user_presets.names() == [] and props().preset_name == ""
    assert settings("camera/roll").high == pytest.approx(0.5) and variable("camera/roll").changed


def test_choices_have_names() -> None:
    kind = variable("light/type")
    assert choice_names.names(props(), "light/type") == ("sun", "area", "spot", "point")
    assert kind.value_choice == "0" and kind.bl_rna.properties["value_choice"].type == "ENUM"
    kind.use = True
    kind.low_choice, kind.high_choice = "1", "2"
    v = settings("light/type")
    assert (v.low, v.high, v.bins) == (1.0, 3.0, 2)
    kind.high_choice = "0"  # the other end follows
    v = settings("light/type")
    assert (v.low, v.high, v.bins) == (0.0, 1.0, 1)
    validation.check(to_settings.read(bpy.context.scene))
    for entry in catalogue.ENTRIES:
        places = entry.name == "background/theme"  # which no preset lacks
        assert len(choice_names.names(props(), entry.name)) == len(entry.choices) + places


def test_listing_and_searching() -> None:
    props().group = "light"
    assert all(v.name.startswith("light/") for v in variable_list.listed(props()))
    found = [v.name for v in variable_list.listed(props(), "bright")]
    assert found == ["material/brightness", "surroundings/brightness", "sensor/brightness"]
    assert [v.name for v in variable_list.listed(props(), "focal camera")] == ["camera/focal_length"]


def test_switching_what_is_listed() -> None:
    props().group = "sensor"
    bpy.ops.robot_keypoints.variables_switch(what="ADAPT")
    bpy.ops.robot_keypoints.variables_switch(what="VARY")
    assert all(v.adapt and v.use for v in variable_list.listed(props()))
    assert not variable("light/strength").adapt
    props().search = "lens"  # what is searched for is what is listed
    bpy.ops.robot_keypoints.variables_switch(what="HOLD")
    assert variable("sensor/noise").use
    props().search = ""
    bpy.ops.robot_keypoints.variables_switch(what="HOLD", joints=True)
    assert not any(v.use for v in props().variables if v.name.startswith("joint/"))
    assert variable("sensor/noise").use


def test_copying_a_prior_to_the_other_joints(tmp_path: Path) -> None:
    load_arm(tmp_path)
    source = variable("joint/j2")
    source.low, source.high, source.bins, source.concentration, source.adapt = -0.5, 2.25, 5, 3.0, False
    choose("joint/j2")
    assert bpy.ops.robot_keypoints.variable_copy(to="JOINTS") == {"FINISHED"}
    for name, high in (("j1", 1.0), ("j3", 2.0)):  # within their own limits
        v = settings(f"joint/{name}")
        assert (v.low, v.high, v.bins, v.concentration, v.adapt) == (-0.5, high, 5, 3.0, False)
    assert not warnings.any_variable(props())
    assert settings("camera/distance").bins != 5


def test_copying_to_what_is_listed_leaves_ranges_and_choices_alone() -> None:
    choose("light/strength")
    variable("light/strength").bins = 3
    before = settings("light/temperature")
    bpy.ops.robot_keypoints.variable_copy(to="LISTED")
    after = settings("light/temperature")
    assert after.bins == 3 and (after.low, after.high) == (before.low, before.high)
    assert settings("light/world").bins == settings("light/type").bins == 1, "held choices"
    validation.check(to_settings.read(bpy.context.scene))


# ---------------------------------------------------------------------------------------------- variables of one's own


def fan() -> bpy.types.Object:
    made = bpy.data.objects.new("Fan", None)
    bpy.context.scene.collection.objects.link(made)
    made["speed"] = 0.5
    return made


def test_any_number_can_vary() -> None:
    made = fan()
    made.location.x = 10.0
    add = bpy.ops.robot_keypoints.variable_add
    assert add("EXEC_DEFAULT", path='bpy.data.objects["Fan"].rotation_euler[2]') == {"FINISHED"}
    turn = settings("custom/Fan rotation Z")
    assert turn.path == 'objects["Fan"].rotation_euler[2]' and turn.unit == "rad"
    assert (turn.low, turn.high) == pytest.approx((-math.pi, math.pi))
    assert props().group == "custom" and props().variables[props().variable_index].name == turn.name
    add("EXEC_DEFAULT", path='objects["Fan"].location[0]')
    place = settings("custom/Fan location X")
    assert (place.low, place.high, place.unit) == (5.0, 15.0, "m")
    add("EXEC_DEFAULT", path='objects["Fan"].location[0]')
    assert settings("custom/Fan location X 2").path == place.path
    add("EXEC_DEFAULT", path='objects["Fan"]["speed"]')
    add("EXEC_DEFAULT", path='objects["Fan"].hide_render')
    hidden = next(v for v in to_settings.read(bpy.context.scene).variables if v.path.endswith("hide_render"))
    assert (hidden.low, hidden.high, hidden.bins) == (0.0, 1.0, 2)
    bpy.ops.robot_keypoints.draw_sample(seed=1)
    assert made.rotation_euler.z != 0.0 and made.location.x != 10.0


def test_the_clipboard_s_nonsense_is_refused() -> None:
    fan()
    add = bpy.ops.robot_keypoints.variable_add
    assert 'objects["Fan"].name' in refusal(add, path='objects["Fan"].name')
    assert "leads nowhere" in refusal(add, path='objects["None"].location[0]')
    assert "data path" in refusal(add, path="__import__('os').getcwd()")
    assert "not one number" in refusal(add, path='objects["Fan"].location')
    assert "clipboard" in refusal(add, path="   ")
    assert "empty" in refusal(add, path='objects["Fan"].location[0]', low=2.0, high=2.0)
    assert not any(v.path for v in props().variables)


def test_only_one_s_own_variables_can_be_removed() -> None:
    fan()
    bpy.ops.robot_keypoints.variable_add("EXEC_DEFAULT", path='objects["Fan"].location[0]')
    bpy.ops.robot_keypoints.variable_remove()
    assert not any(v.path for v in props().variables)
    choose("camera/roll")
    assert "own" in refusal(bpy.ops.robot_keypoints.variable_remove)


def test_own_variables_outlive_a_new_robot() -> None:
    fan()
    bpy.ops.robot_keypoints.variable_add("EXEC_DEFAULT", path='objects["Fan"].location[0]', label="fan")
    variable("custom/fan").high = 3.5
    bpy.ops.robot_keypoints.builtin_robot()
    assert settings("custom/fan").high == pytest.approx(3.5)
    bpy.data.objects.remove(bpy.data.objects["Fan"])
    with pytest.raises(RuntimeError, match="custom/fan"):
        bpy.ops.robot_keypoints.draw_sample(seed=1)


def test_suggestions_follow_soft_limits() -> None:
    lamp = bpy.data.lights.new("Lamp", "AREA")
    assert user_variable_suggestion.suggest('lights["Lamp"].color[0]').high == 1.0
    lamp.energy = 40.0
    found = user_variable_suggestion.suggest('lights["Lamp"].energy')
    assert found.low < 40.0 < found.high and math.isfinite(found.high)
    with pytest.raises(UserError, match="clipboard"):
        user_variable_suggestion.suggest("")


# --------------------------------------------------------------------------------------------------------- warnings


def test_warnings_where_they_arise(tmp_path: Path) -> None:
    load_arm(tmp_path)
    assert not warnings.any_variable(props())
    joint = variable("joint/j1")
    joint.high = 1.1
    assert "limits -57° … 57°" in warnings.variable(props(), joint)
    joint.use = False
    assert warnings.variable(props(), joint) == ""
    distance = variable("camera/distance")
    distance.low = 0.1
    assert "inside the robot" in warnings.variable(props(), distance) and warnings.camera(props())
    bpy.ops.robot_keypoints.variables_reset(which="ALL")
    for preset in presets.PRESETS:
        bpy.ops.robot_keypoints.preset_choose(name=preset)
        assert not warnings.any_variable(props()), f"{preset} warns of itself"


def test_a_report_s_warnings() -> None:
    names = [k.name for k in props().keypoints]
    seen = dict.fromkeys(names, 10)
    scene_check_report.keep(
        scene_check_report.Report(64, 64, 64, {**seen, names[0]: 0}, {**seen, names[0]: 0, names[1]: 0}, 0.25)
    )
    assert "Never inside" in warnings.keypoint(names[0])
    assert "hides" in warnings.keypoint(names[1])
    assert warnings.keypoint(names[2]) == "" == warnings.rules(props())
    assert "25 %" in warnings.camera(props())
    scene_check_report.keep(scene_check_report.Report(64, 3000, 64, seen, seen))
    assert "3000" in warnings.rules(props())
    assert not scene_check_report.latest().stale
    variable("camera/roll").high = 0.3
    assert scene_check_report.latest().stale
    bpy.ops.robot_keypoints.builtin_robot()
    assert scene_check_report.latest().draws == 0


def test_everything_is_ready_for_a_run() -> None:
    bpy.ops.robot_keypoints.preset_choose(name="photographs")
    assert len(run_preparation.ready_settings(bpy.context.scene).variables) == len(props().variables)
