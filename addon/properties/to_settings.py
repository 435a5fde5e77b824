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
    DataSettings,
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
FOLDERS = {("augmentation", "backgrounds"), ("scene", "worlds"), ("stream", "keys"), ("data", "path")}


def read(scene: bpy.types.Scene) -> Settings:
    """The settings of a run of this scene. A variable that does not vary becomes a constant."""
    props = scene.robot_keypoints
    armature = props.armature
    names = [k.name for k in props.keypoints]
    mirrored: dict[str, Any] = {
        attribute: _read(cls, getattr(props, attribute), attribute) for attribute, cls in MIRRORED.items()
    }
    return Settings(
        robot=RobotSettings("armature", run_folder.SCENE, armature.name) if armature is not None else RobotSettings(),
        others=tuple(
            RobotSettings("armature", run_folder.SCENE, o.armature.name, name=o.name)
            for o in props.others
            if o.armature is not None
        ),
        keypoints=tuple(Keypoint(k.name, k.frame, _triple(k.offset), k.robot) for k in props.keypoints),
        skeleton=tuple((e.first, e.second) for e in props.skeleton if e.first in names and e.second in names),
        variables=tuple(variable_list.read(v) for v in props.variables),
        groups=tuple(LinkGroup(g.name, tuple(link.name for link in g.links)) for g in props.links),
        data=tuple(_read(DataSettings, d, "data") for d in props.data),
        **mirrored,
    )


def write(scene: bpy.types.Scene, settings: Settings) -> None:
    """Put settings into the scene; robots are taken over if their armatures are there."""
    props = scene.robot_keypoints
    with quietly():
        _write_robots(scene, settings)
        for attribute in MIRRORED:
            target, source = getattr(props, attribute), getattr(settings, attribute)
            _write(target, source)
        choice_names.read_worlds(props)
        choice_names.read_themes(props)
        _write_themes(props, settings.augmentation.validation_themes)
        props.preset_name = ""
        props.data.clear()
        for data in settings.data:
            _write(props.data.add(), data)
        props.links.clear()
        for links in settings.groups:
            item = props.links.add()
            item.name = item.known_as = links.name
            for link in links.links:
                item.links.add().name = link
    for collection in (props.keypoints, props.skeleton, props.variables):
        collection.clear()
    scene_robots.write_keypoints(props, settings.keypoints, settings.skeleton)
    usual = {name: default.usual for name, default in variable_list.scene_defaults(props).items()}
    limits = _limits(props)
    for variable in settings.variables:
        item = props.variables.add()
        default = limits.get(variable.name)
        variable_list.write(item, variable, default.usual if default is not None else usual.get(variable.name))
        item.limited = default is not None and default.limits is not None
        item.held = default is not None and default.fixed
        item.limit_low, item.limit_high = (default and default.limits) or (0.0, 0.0)
        variable_list.mark(item)
    props.keypoint_index = props.variable_index = props.joint_index = 0
    props.group = "joint"


def _write_robots(scene: bpy.types.Scene, settings: Settings) -> None:
    props = scene.robot_keypoints

    def armature(name: str) -> bpy.types.Object | None:
        found = scene.objects.get(name)
        return found if found is not None and found.type == "ARMATURE" else None

    if settings.robot.kind == "armature" and armature(settings.robot.armature) is not None:
        props.armature = armature(settings.robot.armature)
        props.reach = rig.reach(props.armature)
    props.others.clear()
    for other in settings.others:
        found = armature(other.armature or other.name)
        if found is not None:
            item = props.others.add()
            item.name = item.known_as = other.name
            item.armature = found


def _write(target: Any, source: Any) -> None:
    for field in dataclasses.fields(source):
        if field.name != "validation_themes":
            setattr(target, field.name, getattr(source, field.name))


def _write_themes(props: Any, apart: tuple[str, ...]) -> None:
    for name in apart:
        theme = props.augmentation.themes.get(name) or props.augmentation.themes.add()
        theme.name, theme.validation = name, True


def _limits(props: Any) -> dict[str, variable_list.Default]:
    result: dict[str, variable_list.Default] = {}
    for name, armature in scene_robots.robots(props).items():
        with contextlib.suppress(UserError):  # an armature without joints has no limits
            result.update(scene_robots.joint_defaults(armature, name))
    return result


def _read(cls: type[T], props: Any, attribute: str) -> T:
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name == "validation_themes":
            values[field.name] = tuple(t.name for t in props.themes if t.validation)
            continue
        value = getattr(props, field.name)
        if isinstance(value, float):
            value = exact(value, "")
        if (attribute, field.name) in FOLDERS and value:
            value = bpy.path.abspath(value)
        values[field.name] = value
    return cls(**values)


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (exact(v, "") for v in values)
    return (x, y, z)
