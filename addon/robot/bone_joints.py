# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bones of a user's own armature are joints, about or along which axis, and how far.

By default that is read off the bone: a bone with one free rotation turns about it, one with nothing but one free
location slides along it, and Limit Rotation and Limit Location constraints or IK limits give the range. What the user
says about a bone goes first; it is kept in a custom property, so that workers read it without the panel's classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy

KEY = "robot_keypoints_settings"
"""Custom property of a pose bone with what the user said about it."""
CHOICES = ("AUTO", "YES", "NO")
AXES = ("AUTO", "X", "Y", "Z")
KINDS = ("AUTO", "TURN", "SLIDE")
DEFAULTS: Mapping[str, Any] = {
    "joint": "AUTO", "axis": "AUTO", "kind": "AUTO", "own_range": False, "lower": -math.pi, "upper": math.pi,
    "near": -0.1, "far": 0.1,
}  # fmt: skip
"""``lower`` and ``upper`` in radians hold for a bone that turns, ``near`` and ``far`` in metres for one that slides,
both where ``own_range``."""


@dataclass(frozen=True)
class BoneJoint:
    """The one axis (0, 1, 2) that a bone turns about or slides along, and its range in radians or metres."""

    axis: int
    linear: bool
    lower: float
    upper: float


def setting(bone: bpy.types.PoseBone, name: str) -> Any:
    """What the user said about a bone, or the default."""
    kept = bone.get(KEY)
    value = kept.get(name) if hasattr(kept, "get") else None
    return DEFAULTS[name] if value is None else type(DEFAULTS[name])(value)


def put(bone: bpy.types.PoseBone, name: str, value: Any) -> None:
    """Keep what the user says about a bone."""
    if not hasattr(bone.get(KEY), "get"):
        bone[KEY] = {}
    bone[KEY][name] = value


def of(bone: bpy.types.PoseBone) -> BoneJoint | None:
    """A bone as a joint; None if it is none."""
    said = setting(bone, "joint")
    if said == "NO":
        return None
    kind, axis = setting(bone, "kind"), setting(bone, "axis")
    turning, sliding = _turning_axis(bone), _sliding_axis(bone)
    linear = kind == "SLIDE" or (kind == "AUTO" and turning is None and sliding is not None)
    found = sliding if linear else turning
    if found is None and said != "YES":
        return None
    # A bone points along its y axis: it slides along that and, as a hinge, turns about x, where nothing else is said.
    index = AXES.index(axis) - 1 if axis != "AUTO" else found if found is not None else (1 if linear else 0)
    lower, upper = (_location_limits if linear else _rotation_limits)(bone, index)
    if setting(bone, "own_range"):
        lower, upper = (setting(bone, n) for n in (("near", "far") if linear else ("lower", "upper")))
    return BoneJoint(index, linear, min(lower, upper), max(lower, upper))


def _turning_axis(bone: bpy.types.PoseBone) -> int | None:
    """The axis a bone turns about: its only unlocked one, else its limited one, else x as for any hinge."""
    free = [i for i in range(3) if not bone.lock_rotation[i]]
    if len(free) <= 1:
        return free[0] if free else None
    for constraint in _limits(bone, "LIMIT_ROTATION"):
        ranges = []
        for i, letter in enumerate("xyz"):
            low, high = getattr(constraint, f"min_{letter}"), getattr(constraint, f"max_{letter}")
            if getattr(constraint, f"use_limit_{letter}") and i in free and high > low:
                ranges.append((high - low, i))
        if ranges:
            return max(ranges)[1]
    return 0


def _sliding_axis(bone: bpy.types.PoseBone) -> int | None:
    """The only unlocked axis of a bone that can move away from its parent."""
    free = [i for i in range(3) if not bone.lock_location[i]]
    return free[0] if len(free) == 1 and not bone.bone.use_connect else None


def _rotation_limits(bone: bpy.types.PoseBone, axis: int) -> tuple[float, float]:
    letter = "xyz"[axis]
    for constraint in _limits(bone, "LIMIT_ROTATION"):
        if getattr(constraint, f"use_limit_{letter}"):
            return getattr(constraint, f"min_{letter}"), getattr(constraint, f"max_{letter}")
    if getattr(bone, f"use_ik_limit_{letter}"):
        return getattr(bone, f"ik_min_{letter}"), getattr(bone, f"ik_max_{letter}")
    return -math.pi, math.pi


def _location_limits(bone: bpy.types.PoseBone, axis: int) -> tuple[float, float]:
    letter = "xyz"[axis]
    for constraint in _limits(bone, "LIMIT_LOCATION"):
        if getattr(constraint, f"use_min_{letter}") and getattr(constraint, f"use_max_{letter}"):
            return getattr(constraint, f"min_{letter}"), getattr(constraint, f"max_{letter}")
    return float(DEFAULTS["near"]), float(DEFAULTS["far"])


def _limits(bone: bpy.types.PoseBone, kind: str) -> list[bpy.types.Constraint]:
    return [c for c in bone.constraints if c.type == kind and not c.mute and c.influence > 0]
