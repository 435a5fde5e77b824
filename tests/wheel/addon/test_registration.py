# SPDX-License-Identifier: GPL-3.0-or-later
"""Adding the extension to Blender and taking it away again leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import bpy
import pytest
import robot_keypoints
from robot_keypoints.addon.prediction import model_server
from robot_keypoints.addon.properties import labels as property_labels, scene as scene_properties
from robot_keypoints.addon.services import timer, trainer_environment
from robot_keypoints.addon.services.jobs import State
from robot_keypoints.addon.ui import overlay, plot_icons


def traces() -> dict[str, list[str]]:
    """Whatever of ours Blender knows of."""
    gc.collect()
    kinds = (
        bpy.types.Panel, bpy.types.Operator, bpy.types.PropertyGroup, bpy.types.UIList, bpy.types.AddonPreferences
    )  # fmt: skip
    handlers = [
        name
        for name in dir(bpy.app.handlers)
        if isinstance(getattr(bpy.app.handlers, name), list)
        for handler in getattr(bpy.app.handlers, name)
        if "robot_keypoints" in getattr(handler, "__module__", "")
    ]
    return {
        "types": sorted(name for name in dir(bpy.types) if name.startswith("KEYPOINTS_")),
        "classes": sorted(
            cls.__name__ for kind in kinds for cls in kind.__subclasses__() if getattr(cls, "is_registered", False)
            and cls.__name__.startswith("KEYPOINTS_")
        ),
        "properties": [
            f"{owner.__name__}.{name}"
            for owner in (bpy.types.Scene, bpy.types.WindowManager, bpy.types.PoseBone)
            for name in dir(owner)
            if name.startswith("robot_keypoints")
        ],
        "handlers": handlers,
        "timers": ["tick"] if bpy.app.timers.is_registered(timer.tick) else [],
        "operators": dir(bpy.ops.robot_keypoints),
    }  # fmt: skip


@pytest.fixture
def registered() -> Iterator[None]:
    robot_keypoints.register()
    yield
    robot_keypoints.unregister()


def test_twice_on_and_off_leaves_nothing() -> None:
    nothing = traces()
    assert not any(nothing.values())
    for _ in range(2):
        robot_keypoints.register()
        try:
            there = traces()
        finally:
            robot_keypoints.unregister()
        assert all(there.values()), there
        assert len(there["classes"]) > 30
        assert traces() == nothing
    assert plot_icons._collection is None
    assert overlay._handle is None


def test_unregister_ends_what_runs(registered: None, tmp_path, monkeypatch) -> None:
    """A building environment is a child process: it must not outlive the extension."""
    trainer_environment.SERVICE.create(tmp_path / "environment", "", requirements=_slow_requirements(tmp_path))
    child = trainer_environment.SERVICE.building._child
    assert child is not None
    assert child.exit_code is None
    robot_keypoints.unregister()
    try:
        assert child.exit_code is not None
        assert not trainer_environment.SERVICE.busy
        assert trainer_environment.SERVICE.building.state is State.NONE
    finally:
        robot_keypoints.register()


def _slow_requirements(folder):
    file = folder / "requirements.txt"
    file.write_text("tomli-w\n")
    return file


def test_every_setting_has_a_label_and_a_tooltip(registered: None) -> None:
    props = bpy.context.scene.robot_keypoints
    for attribute in ("scene", "render", "workers", "training", "feedback", "augmentation", "stream"):
        part = getattr(props, attribute)
        for name, definition in part.bl_rna.properties.items():
            if name in ("rna_type", "name"):
                continue
            assert definition.name and definition.name[0].isupper(), (attribute, name)
            assert len(definition.description) > 8, (attribute, name)
            if definition.type == "ENUM":
                assert all(i.name and i.description for i in definition.enum_items), (attribute, name)


def test_limits_are_those_of_the_settings(registered: None) -> None:
    props = bpy.context.scene.robot_keypoints
    for table, attribute, cls in (
        (property_labels.RENDER, "render", scene_properties.RenderSettings),
        (property_labels.TRAINING, "training", scene_properties.TrainingSettings),
        (property_labels.FEEDBACK, "feedback", scene_properties.FeedbackSettings),
    ):
        known = getattr(props, attribute).bl_rna.properties
        for name, field in cls.__dataclass_fields__.items():
            assert name in table
            low, high = field.metadata.get("low"), field.metadata.get("high")
            if low is not None:
                assert known[name].hard_min == pytest.approx(low)
            if high is not None:
                assert known[name].hard_max == pytest.approx(high)


def test_the_timer_survives_loading_a_file(registered: None) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    assert bpy.app.timers.is_registered(timer.tick)
    assert model_server.SERVICE.prediction is None
