# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of the scene's lists: variables, keypoints, links of the skeleton, robots, groups of links, themes."""

# No "from __future__ import annotations": Blender reads property definitions from the annotations as they are.

import math
from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import choice_names, scene_robots, variable_list
from .from_dataclass import by_the_user, fields

UNITS = {"rad": "angle", "m": "length", "mm": "lens", "K": "temperature"}
"""Variables keep plain numbers; on screen they are edited through a twin property with the right unit."""


def _changed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user():
        variable_list.mark(self)


def _low_changed(self: Any, context: bpy.types.Context) -> None:
    if self.high < self.low:
        self.high = self.low
    _changed(self, context)


def _high_changed(self: Any, context: bpy.types.Context) -> None:
    if self.low > self.high:
        self.low = self.high
    _changed(self, context)


def _access(attribute: str) -> tuple[Callable[[Any], float], Callable[[Any, float], None]]:
    def get(self: Any) -> float:
        return float(getattr(self, attribute))

    def put(self: Any, value: float) -> None:
        setattr(self, attribute, value)

    return get, put


def _twins() -> dict[str, Any]:
    """``low``, ``high`` and ``value`` once more for each unit, so that Blender shows and reads that unit."""
    kinds: dict[str, dict[str, Any]] = {
        "angle": {"subtype": "ANGLE", "precision": 1, "step": 100},
        "length": {"subtype": "DISTANCE", "precision": 3, "step": 1},
        "lens": {"subtype": "DISTANCE_CAMERA", "precision": 1, "step": 100},
        "temperature": {"subtype": "TEMPERATURE", "precision": 0, "step": 10000},
    }
    tips = {
        "low": ("From", "Lower end of the range"),
        "high": ("To", "Upper end of the range"),
        "value": ("Value", "The value it is fixed at"),
    }
    result: dict[str, Any] = {}
    for attribute, (label, tip) in tips.items():
        get, put = _access(attribute)
        for kind, options in kinds.items():
            result[f"{attribute}_{kind}"] = FloatProperty(name=label, description=tip, get=get, set=put, **options)
    return result


def _choice_items(self: Any, context: bpy.types.Context) -> list[choice_names.Item]:
    return choice_names.items(self.id_data.robot_keypoints, self.name)


def _clamp(self: Any, number: float) -> int:
    return min(max(int(number), 0), len(_choice_items(self, bpy.context)) - 1)


def _set_low_choice(self: Any, number: int) -> None:
    self.low = number
    self.high = max(self.high, number + 1.0)
    self.bins = round(self.high - self.low)


def _set_high_choice(self: Any, number: int) -> None:
    self.high = number + 1.0
    self.low = min(self.low, float(number))
    self.bins = round(self.high - self.low)


def _set_value_choice(self: Any, number: int) -> None:
    self.value = number + 0.5


def _choice_twins() -> dict[str, Any]:
    """``low``, ``high`` and ``value`` once more as the names of choices; the range's last choice is included."""
    return {
        "low_choice": EnumProperty(
            name="From", description="First of the choices that are drawn", items=_choice_items,
            get=lambda self: _clamp(self, self.low), set=_set_low_choice,
        ),
        "high_choice": EnumProperty(
            name="To", description="Last of the choices that are drawn", items=_choice_items,
            get=lambda self: _clamp(self, math.ceil(self.high) - 1), set=_set_high_choice,
        ),
        "value_choice": EnumProperty(
            name="Value", description="The choice it is fixed at", items=_choice_items,
            get=lambda self: _clamp(self, self.value), set=_set_value_choice,
        ),
    }  # fmt: skip


@fields(
    name=StringProperty(name="Name", description="Group and name of the variable"),
    use=BoolProperty(name="Varies", description="Draw it at random; otherwise it is fixed at one value", default=True,
                     update=_changed),
    value=FloatProperty(name="Value", description="The value it is fixed at", update=_changed),
    low=FloatProperty(name="From", description="Lower end of the range", update=_low_changed),
    high=FloatProperty(name="To", description="Upper end of the range", default=1.0, update=_high_changed),
    bins=IntProperty(name="Bins", description="How many equal parts the range is cut into", default=16, min=1, max=256,
                     soft_max=32, update=_changed),
    concentration=FloatProperty(name="Concentration", description="How strongly the prior insists on being uniform: "
                                "small values let the posterior move quickly", default=1.0, min=1e-6, soft_min=0.1,
                                soft_max=50.0, update=_changed),
    circular=BoolProperty(name="Full circle", description="The upper end is the same place as the lower end",
                          update=_changed),
    adapt=BoolProperty(name="Adapts", description="Feedback may change its distribution", default=True,
                       update=_changed),
    unit=StringProperty(name="Unit"),
    path=StringProperty(name="Data path", description="The number in this .blend that the variable sets, such as "
                        'objects["Fan"].rotation_euler[2]'),
    choices=StringProperty(name="Choices", description="What its choices were called when they were last looked up"),
    limited=BoolProperty(name="Limited", description="Whether the joint has limits"),
    held=BoolProperty(name="Fixed", description="Whether the joint stays at zero by default"),
    limit_low=FloatProperty(name="Lower limit"),
    limit_high=FloatProperty(name="Upper limit"),
    changed=BoolProperty(name="Changed", description="Whether it differs from the preset"),
    **_twins(),
    **_choice_twins(),
)  # fmt: skip
class KEYPOINTS_PG_variable(bpy.types.PropertyGroup):
    """One random variable of the scene; see :class:`.VariableSettings`. Plain units: rad, m, mm, K."""


def _keypoint_renamed(self: Any, context: bpy.types.Context) -> None:
    if self.name != self.known_as:
        for edge in self.id_data.robot_keypoints.skeleton:
            if edge.first == self.known_as:
                edge.first = self.name
            if edge.second == self.known_as:
                edge.second = self.name
        self.known_as = self.name


@fields(
    name=StringProperty(name="Name", description="Name of the keypoint", update=_keypoint_renamed),
    known_as=StringProperty(options={"HIDDEN"}),
    frame=StringProperty(name="Moves with", description="The bone or object that the keypoint is fixed to"),
    offset=FloatVectorProperty(name="Offset", description="Its place in that bone's or object's own frame", size=3,
                               subtype="TRANSLATION", precision=3),
    robot=StringProperty(name="Robot", description="The further robot that it belongs to; empty for the first"),
)  # fmt: skip
class KEYPOINTS_PG_keypoint(bpy.types.PropertyGroup):
    """One keypoint."""


@fields(first=StringProperty(name="From"), second=StringProperty(name="To"))
class KEYPOINTS_PG_edge(bpy.types.PropertyGroup):
    """One link of the skeleton, by keypoint names."""


@fields(name=StringProperty(name="Name"))
class KEYPOINTS_PG_name(bpy.types.PropertyGroup):
    """One name of a list of names."""


def _theme_changed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user():
        scene_robots.refresh(self.id_data)


@fields(
    name=StringProperty(name="Theme", description="Name of the folder"),
    validation=BoolProperty(name="For validation only", description="Keep these photographs apart: only validation and "
                            "test images have them behind them", update=_theme_changed),
    pictures=IntProperty(name="Pictures"),
)  # fmt: skip
class KEYPOINTS_PG_theme(bpy.types.PropertyGroup):
    """One theme of the photographs in the folder of backgrounds."""


def is_armature(self: Any, obj: bpy.types.Object) -> bool:
    """Which objects can be chosen as a robot."""
    return str(obj.type) == "ARMATURE"


def _robot_renamed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user() and self.name != self.known_as:
        scene_robots.rename_robot(self)


def _robot_changed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user():
        scene_robots.readopt(self)


@fields(
    name=StringProperty(name="Name", description="Goes before the names of its joints and keypoints",
                        update=_robot_renamed),
    known_as=StringProperty(options={"HIDDEN"}),
    armature=PointerProperty(name="Armature", description="The armature of this further robot", type=bpy.types.Object,
                             poll=is_armature, update=_robot_changed),
)  # fmt: skip
class KEYPOINTS_PG_robot(bpy.types.PropertyGroup):
    """One further robot of the scene."""


def _links_renamed(self: Any, context: bpy.types.Context) -> None:
    if by_the_user() and self.name != self.known_as:
        scene_robots.rename_links(self)


@fields(
    name=StringProperty(name="Name", description="Name of the group of links", update=_links_renamed),
    known_as=StringProperty(options={"HIDDEN"}),
    links=CollectionProperty(type=KEYPOINTS_PG_name),
)  # fmt: skip
class KEYPOINTS_PG_links(bpy.types.PropertyGroup):
    """Links that share one material of their own; see :class:`.LinkGroup`."""


CLASSES: tuple[type, ...] = (
    KEYPOINTS_PG_variable,
    KEYPOINTS_PG_keypoint,
    KEYPOINTS_PG_edge,
    KEYPOINTS_PG_name,
    KEYPOINTS_PG_theme,
    KEYPOINTS_PG_robot,
    KEYPOINTS_PG_links,
)
