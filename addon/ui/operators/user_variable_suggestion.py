# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the user's own: what a data path leads to, and the prior that suits it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import bpy

from ....core.errors import UserError
from ....core.names import free_name
from ...stage.user_variables import Target

WIDE = 1000.0
"""Soft limits further apart than this say nothing about a sensible range."""

UNITS = {"ROTATION": "rad", "LENGTH": "m", "CAMERA": "mm", "TEMPERATURE": "K"}


@dataclass(frozen=True)
class Suggestion:
    """What a number could be called, and how it could vary."""

    path: str
    name: str
    low: float
    high: float
    value: float
    bins: int
    unit: str


def suggest(path: str) -> Suggestion:
    """Look at the number behind a data path.

    Raises:
        UserError: if there is none.
    """
    path = path.strip().removeprefix("bpy.data.")
    if not path:
        raise UserError(
            "The clipboard is empty: right-click a number in Blender, choose Copy Full Data Path, and try again"
        )
    if len(path) > 300 or "\n" in path:
        raise UserError("The clipboard holds no data path: right-click a number and choose Copy Full Data Path")
    Target(path)
    value = float(bpy.data.path_resolve(path))
    prop, owner = _property(path)
    low, high = _range(prop, value)
    whole = prop is not None and prop.type in ("INT", "BOOLEAN")
    bins = max(2, min(16, round(high - low))) if whole else 8
    unit = UNITS.get(prop.unit, "") if prop is not None and prop.type == "FLOAT" else ""
    return Suggestion(path, _name(path, prop, owner), low, high, value, bins, unit)


def name_for(props: Any, name: str) -> str:
    """A name that a variable of the user's own can have: without slashes, and none of another one."""
    taken = {v.name for v in props.variables}
    return free_name(name.strip().replace("/", " ") or "value", lambda n: f"custom/{n}" in taken)


def _property(path: str) -> tuple[Any, Any]:
    """The RNA property behind a path, and what it is a property of; None for a custom property."""
    found = re.fullmatch(r"(.*)\.(\w+)(?:\[\d+\])?", path)
    if found is None:
        return None, None
    owner = bpy.data.path_resolve(found[1])
    properties = getattr(getattr(owner, "bl_rna", None), "properties", {})
    return properties.get(found[2]), owner


def _range(prop: Any, value: float) -> tuple[float, float]:
    """The soft limits where they say something, else as much about the present value."""
    if prop is not None and prop.type == "BOOLEAN":
        return 0.0, 1.0
    if prop is not None:
        low, high = float(prop.soft_min), float(prop.soft_max)
        if 0 < high - low <= WIDE:
            return (low, high)
    if prop is not None and prop.type == "FLOAT" and prop.unit == "ROTATION":
        return value - math.pi, value + math.pi
    reach = max(1.0, abs(value) * 0.5)
    low, high = value - reach, value + reach
    if prop is not None:
        low, high = max(low, prop.hard_min), min(high, prop.hard_max)
    return low, high


def _name(path: str, prop: Any, owner: Any) -> str:
    """``Fan rotation Z`` for ``objects["Fan"].rotation_euler[2]``."""
    thing = getattr(getattr(owner, "id_data", None), "name", "") if owner is not None else ""
    if prop is None:
        return re.sub(r'[\[\]"]', " ", path).split(".")[-1].split()[-1]
    index = re.search(r"\[(\d+)\]$", path)
    letters = "XYZW" if prop.array_length in (3, 4) and prop.subtype not in ("COLOR", "COLOR_GAMMA") else "RGBA"
    letter = f" {letters[int(index[1])]}" if index and prop.array_length in (3, 4) and int(index[1]) < 4 else ""
    words = prop.name.replace("Euler ", "")
    return f"{thing} {words[0].lower()}{words[1:]}{letter}".strip()
