# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the scene's saved settings and :class:`.Settings`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, TypeVar

import bpy

from ...core import run_folder
from ...core.errors import UserError
from ...core.robot.keypoints import Keypoint
from ...core.settings.schema import (
    AugmentationSettings,
    FeedbackSettings,
    LinkGroup,
    RenderSettings,
    RobotSettings,
    SceneSettings,
    Settings,
    StreamSettings,
    TrainingSettings,
    WorkerSettings,
)
from ..robot import rig
from . import choice_names, scene_robots, variable_list
from .from_dataclass import quietly
from .variable_list import exact

T = TypeVar("T")
MIRRORED: dict[str, type] = {
    "scene": SceneSettings,
    "render": RenderSettings,
    "workers": WorkerSettings,
    "training": TrainingSettings,
    "feedback": FeedbackSettings,
    "augmentation": AugmentationSettings,
    "stream": StreamSettings,
}
FOLDERS = {("augmentation", "backgrounds"), ("scene", "worlds"), ("stream", "keys")}


def read(scene: bpy.types.Scene) -> Settings:
    """The settings of a run of this scene. A variable that does not vary becomes a constant."""
    group = scene.robot_keypoints
    armature = group.armature
    names = [k.name for k in group.keypoints]
    mirrored: dict[str, Any] = {
        attribute: _read(cls, getattr(group, attribute), attribute) for attribute, cls in MIRRORED.items()
    }
    return Settings(
        robot=RobotSettings("armature", run_folder.SCENE, armature.name) if armature is not None else RobotSettings(),
        others=tuple(
            RobotSettings("armature", run_folder.SCENE, o.armature.name, name=o.name)
            for o in group.others
            if o.armature is not None
        ),
        keypoints=tuple(Keypoint(k.name, k.frame, _triple(k.offset), k.robot) for k in group.keypoints),
        skeleton=tuple((e.first, e.second) for e in group.skeleton if e.first in names and e.second in names),
        variables=tuple(variable_list.read(v) for v in group.variables),
        groups=tuple(LinkGroup(g.name, tuple(link.name for link in g.links)) for g in group.links),
        **mirrored,
    )


def write(scene: bpy.types.Scene, settings: Settings) -> None:
    """Put settings into the scene; robots are taken over if their armatures are there."""
    group = scene.robot_keypoints
    with quietly():
        _write_robots(scene, settings)
        for attribute in MIRRORED:
            target, source = getattr(group, attribute), getattr(settings, attribute)
            for field in dataclasses.fields(source):
                if field.name != "validation_themes":
                    setattr(target, field.name, getattr(source, field.name))
        choice_names.read_worlds(group)
        choice_names.read_themes(group)
        _write_themes(group, settings.augmentation.validation_themes)
        group.preset_name = ""
        group.links.clear()
        for links in settings.groups:
            item = group.links.add()
            item.name = item.known_as = links.name
            for link in links.links:
                item.links.add().name = link
    for collection in (group.keypoints, group.skeleton, group.variables):
        collection.clear()
    scene_robots.write_keypoints(group, settings.keypoints, settings.skeleton)
    usual = {name: default.usual for name, default in variable_list.scene_defaults(group).items()}
    limits = _limits(group)
    for variable in settings.variables:
        item = group.variables.add()
        default = limits.get(variable.name)
        variable_list.write(item, variable, default.usual if default is not None else usual.get(variable.name))
        item.limited = default is not None and default.limits is not None
        item.held = default is not None and default.held
        item.limit_low, item.limit_high = (default and default.limits) or (0.0, 0.0)
        variable_list.mark(item)
    group.keypoint_index = group.variable_index = group.joint_index = 0
    group.group = "joint"


def _write_robots(scene: bpy.types.Scene, settings: Settings) -> None:
    group = scene.robot_keypoints

    def armature(name: str) -> bpy.types.Object | None:
        found = scene.objects.get(name)
        return found if found is not None and found.type == "ARMATURE" else None

    if settings.robot.kind == "armature" and armature(settings.robot.armature) is not None:
        group.armature = armature(settings.robot.armature)
        group.reach = rig.reach(group.armature)
    group.others.clear()
    for other in settings.others:
        found = armature(other.armature or other.name)
        if found is not None:
            item = group.others.add()
            item.name = item.known_as = other.name
            item.armature = found


def _write_themes(group: Any, apart: tuple[str, ...]) -> None:
    for name in apart:
        theme = group.augmentation.themes.get(name) or group.augmentation.themes.add()
        theme.name, theme.validation = name, True


def _limits(group: Any) -> dict[str, variable_list.Default]:
    result: dict[str, variable_list.Default] = {}
    for name, armature in scene_robots.robots(group).items():
        with contextlib.suppress(UserError):  # an armature without joints has no limits
            result.update(scene_robots.joint_defaults(armature, name))
    return result


def _read(cls: type[T], group: Any, attribute: str) -> T:
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name == "validation_themes":
            values[field.name] = tuple(t.name for t in group.themes if t.validation)
            continue
        value = getattr(group, field.name)
        if isinstance(value, float):
            value = exact(value, "")
        if (attribute, field.name) in FOLDERS and value:
            value = bpy.path.abspath(value)
        values[field.name] = value
    return cls(**values)


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (exact(v, "") for v in values)
    return (x, y, z)
