# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the scene's saved settings and :class:`..core.settings.Settings`.

Blender keeps single precision; what comes back is rounded to what a person could have meant, so that 180° is π again.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

import bpy
import numpy as np

from ..core.keypoints import Keypoint
from ..core.settings import (
    AugmentationSettings,
    FeedbackSettings,
    RenderSettings,
    RobotSettings,
    Settings,
    StreamSettings,
    TrainingSettings,
    VariableSettings,
    WorkerSettings,
)

T = TypeVar("T")
MIRRORED: dict[str, type] = {
    "render": RenderSettings,
    "workers": WorkerSettings,
    "training": TrainingSettings,
    "feedback": FeedbackSettings,
    "augmentation": AugmentationSettings,
    "stream": StreamSettings,
}
FOLDERS = {("augmentation", "backgrounds"), ("stream", "keys")}
SCENE_FILE = "scene.blend"


def read(scene: bpy.types.Scene) -> Settings:
    """The settings of a run of this scene. A variable that does not vary becomes a constant."""
    group = scene.robot_keypoints
    armature = group.armature
    robot = RobotSettings("armature", SCENE_FILE, armature.name) if armature is not None else RobotSettings()
    names = [k.name for k in group.keypoints]
    parts: dict[str, Any] = {
        attribute: _read(cls, getattr(group, attribute), attribute) for attribute, cls in MIRRORED.items()
    }
    return Settings(
        robot=robot,
        keypoints=tuple(Keypoint(k.name, k.frame, _triple(k.offset)) for k in group.keypoints),
        skeleton=tuple((e.first, e.second) for e in group.skeleton if e.first in names and e.second in names),
        variables=tuple(read_variable(v) for v in group.variables),
        **parts,
    )


def read_variable(v: Any) -> VariableSettings:
    """One variable; constant where it is not to vary."""
    unit = str(v.unit)
    if not v.use:
        value = exact(v.value, unit)
        return VariableSettings(v.name, value, value, 1, exact(v.concentration, ""), False, False, unit)
    circular = bool(v.circular) and v.low < v.high
    return VariableSettings(
        v.name, exact(v.low, unit), exact(v.high, unit), v.bins, exact(v.concentration, ""), circular, v.adapt, unit
    )


def write(scene: bpy.types.Scene, settings: Settings) -> None:
    """Put settings into the scene; the robot is taken over if its armature is there."""
    group = scene.robot_keypoints
    armature = scene.objects.get(settings.robot.armature) if settings.robot.kind == "armature" else None
    if armature is not None and armature.type == "ARMATURE":
        group.armature = armature
    write_robot_parts(group, settings)
    for attribute in MIRRORED:
        target, source = getattr(group, attribute), getattr(settings, attribute)
        for field in dataclasses.fields(source):
            setattr(target, field.name, getattr(source, field.name))


def write_robot_parts(group: Any, settings: Settings) -> None:
    """Put what belongs to the robot into the scene's settings: keypoints, skeleton, variables."""
    group.keypoints.clear()
    for keypoint in settings.keypoints:
        item = group.keypoints.add()
        item.known_as = keypoint.name
        item.name, item.frame, item.offset = keypoint.name, keypoint.frame, keypoint.offset
    group.skeleton.clear()
    for first, second in settings.skeleton:
        edge = group.skeleton.add()
        edge.first, edge.second = first, second
    group.variables.clear()
    for variable in settings.variables:
        _write_variable(group.variables.add(), variable)
    group.keypoint_index = group.variable_index = group.joint_index = 0
    group.group = "joint"


def _write_variable(item: Any, v: VariableSettings) -> None:
    constant = v.low == v.high
    item.name, item.unit = v.name, v.unit
    item.low, item.high = v.low, v.high
    item.bins, item.concentration = v.bins, v.concentration
    item.circular, item.adapt = v.circular, v.adapt
    item.use = not constant
    item.value = v.low if constant else min(max(0.0, v.low), v.high)


def _read(cls: type[T], group: Any, attribute: str) -> T:
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = getattr(group, field.name)
        if isinstance(value, float):
            value = exact(value, "")
        if (attribute, field.name) in FOLDERS and value:
            value = bpy.path.abspath(value)
        values[field.name] = value
    return cls(**values)


def exact(value: float, unit: str) -> float:
    """The number a person meant by a single-precision value: whole ten-thousandths of a degree where that is the same
    value, else the shortest decimal."""
    single = np.float32(value)
    angle = math.radians(round(math.degrees(value), 4))
    if unit == "rad" and np.float32(angle) == single:
        return angle
    return float(str(single))


def _triple(values: Any) -> tuple[float, float, float]:
    x, y, z = (exact(v, "") for v in values)
    return (x, y, z)
