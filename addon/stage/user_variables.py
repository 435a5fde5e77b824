# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the user's own: any number in the .blend, set to the drawn value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.settings.schema import VariableSettings

LAST = re.compile(
    r"(?P<owner>.*?)(?:(?:^|\.)(?P<attribute>[A-Za-z_]\w*)|\[\"(?P<key>(?:[^\"\\]|\\.)*)\"\])(?:\[(?P<index>\d+)\])?$"
)
"""A data path's last step: an attribute or a custom property, and perhaps one of its elements."""
ADVICE = 'give a path such as objects["Lamp"].location[2] ("Copy Full Data Path" on any number in Blender)'


class Custom:
    """The user's own variables: numbers, whole numbers (the drawn value is rounded) and switches (0 or 1)."""

    def __init__(self, variables: Sequence[VariableSettings]) -> None:
        """Find what each sets.

        Raises:
            UserError: if a path leads nowhere, to something that is not one number, or to one that can't be set or
                would be overwritten; or if a variable ranges over more than its number can hold.
        """
        self._targets = {v.name: Target(v.path, v.name) for v in variables if v.path}
        for v in variables:
            if v.path:
                self._targets[v.name].check_range(v.low, v.high)

    def apply(self, values: Mapping[str, float]) -> None:
        """Set them; what keeps its value is left alone."""
        for name, target in self._targets.items():
            if name in values:
                target(values[name])


class Target:
    """One number somewhere in the .blend."""

    def __init__(self, path: str, name: str = "The variable") -> None:
        """Find it.

        Args:
            path: from ``bpy.data``, with or without that word; as Blender's own data paths have it.
            name: what messages call the variable.

        Raises:
            UserError: as in :class:`Custom`.
        """
        self._name, self._path = name, path.strip().removeprefix("bpy.data.")
        found = LAST.fullmatch(self._path)
        if found is None:
            raise UserError(f"{name}: {path!r} is not the data path of a number: {ADVICE}")
        try:
            self._owner = bpy.data.path_resolve(found["owner"]) if found["owner"] else bpy.data
            value = bpy.data.path_resolve(self._path)
        except (ValueError, TypeError, KeyError) as problem:
            raise UserError(f"{name}: {self._path} leads nowhere in this scene: {ADVICE}") from problem
        if not isinstance(value, (bool, int, float)):
            what = "a text or a choice" if isinstance(value, str) else "not one number"
            raise UserError(f"{name}: {self._path} is {what}: {ADVICE}")
        self._attribute = found["attribute"]
        self._key = None if found["key"] is None else bpy.utils.unescape_identifier(found["key"])
        self._index = None if found["index"] is None else int(found["index"])
        self._kind = type(value)
        self._set: float | None = None
        self._check_free(found["key"])
        self._check_writable(value)

    def __call__(self, value: float) -> None:
        """Set it."""
        if value == self._set:
            return
        self._set = value
        self._write(value if self._kind is float else self._kind(round(value)))

    def check_range(self, low: float, high: float) -> None:
        """Refuse a range that Blender would cut off.

        Raises:
            UserError: if the number can't take values from ``low`` to ``high``.
        """
        prop = self._property()
        least, most = (
            (0, 1) if self._kind is bool else (getattr(prop, "hard_min", low), getattr(prop, "hard_max", high))
        )
        slack = 1e-6 * max(1.0, abs(low), abs(high))
        if low < least - slack or high > most + slack:
            raise UserError(
                f"{self._name} ranges over {low:g} … {high:g}, but {self._path} can only be {least:g} … {most:g}: "
                "narrow its range"
            )

    def _write(self, number: float) -> None:
        if self._key is not None:
            if self._index is None:
                self._owner[self._key] = number
            else:
                self._owner[self._key][self._index] = number
            # Blender does not notice that a custom property changed, nor do drivers that read it.
            self._owner.id_data.update_tag()
        elif self._index is None:
            setattr(self._owner, self._attribute, number)
        else:
            getattr(self._owner, self._attribute)[self._index] = number

    def _property(self) -> Any:
        """Blender's description of it; None for a custom property."""
        if self._attribute is None:
            return None
        return self._owner.bl_rna.properties.get(self._attribute)

    def _check_writable(self, value: float) -> None:
        prop = self._property()
        try:
            if prop is not None and prop.is_readonly:
                raise AttributeError
            self._write(value)
        except (AttributeError, TypeError) as problem:
            raise UserError(
                f"{self._name}: {self._path} can be read but not set: choose the number that it follows from"
            ) from problem

    def _check_free(self, key: str | None) -> None:
        """Refuse what an animation or a driver would set again before each frame."""
        block = self._owner.id_data
        animation = getattr(block, "animation_data", None)
        if animation is None:
            return
        base = "" if self._owner == block else self._owner.path_from_id()
        last = f'["{key}"]' if key is not None else f".{self._attribute}" if base else self._attribute
        curves = [*animation.drivers, *(_curves(animation.action) if animation.action is not None else ())]
        for curve in curves:
            if curve.data_path == base + last and self._index in (None, curve.array_index):
                raise UserError(
                    f"{self._name}: {self._path} has a driver or keyframes, which would overwrite it: remove them, or "
                    "choose the number that they follow"
                )


def _curves(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    if hasattr(action, "fcurves"):
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]
