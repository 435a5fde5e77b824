# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the user's own: any Blender data path, set to the drawn value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import bpy

from ..core.errors import UserError
from ..core.settings import VariableSettings

LAST = re.compile(
    r"(?P<owner>.*?)(?:(?:^|\.)(?P<attribute>[A-Za-z_]\w*)|(?P<key>\[\"[^\"]*\"\]))(?:\[(?P<index>\d+)\])?$"
)


class Custom:
    """The user's own variables."""

    def __init__(self, variables: Sequence[VariableSettings]) -> None:
        """Find what each sets.

        Raises:
            UserError: if a path leads nowhere, or to something that is not a number.
        """
        self._targets = {v.name: _target(v) for v in variables if v.path}

    def apply(self, values: Mapping[str, float]) -> None:
        """Set them."""
        for name, target in self._targets.items():
            if name in values:
                target(values[name])


class _Target:
    """One number somewhere in the .blend."""

    def __init__(self, owner: Any, attribute: str, index: int | None, whole: bool) -> None:
        self._owner, self._attribute, self._index, self._whole = owner, attribute, index, whole

    def __call__(self, value: float) -> None:
        number = round(value) if self._whole else value
        if self._index is not None:
            getattr(self._owner, self._attribute)[self._index] = number
        elif self._attribute.startswith("["):
            self._owner[self._attribute[2:-2]] = number
        else:
            setattr(self._owner, self._attribute, number)


def _target(variable: VariableSettings) -> _Target:
    path = variable.path.removeprefix("bpy.data.")
    found = LAST.fullmatch(path)
    advice = 'give a path such as objects["Lamp"].location[2] ("Copy Full Data Path" on any number in Blender)'
    if found is None:
        raise UserError(f"{variable.name}: {variable.path!r} is not a data path: {advice}")
    try:
        owner = bpy.data.path_resolve(found["owner"]) if found["owner"] else bpy.data
        current = bpy.data.path_resolve(path)
    except (ValueError, TypeError) as problem:
        raise UserError(f"{variable.name}: {variable.path} leads nowhere in this scene: {advice}") from problem
    if isinstance(current, str) or not isinstance(current, (bool, int, float)):
        raise UserError(f"{variable.name}: {variable.path} is not one number: {advice}")
    index = int(found["index"]) if found["index"] is not None else None
    return _Target(owner, found["attribute"] or found["key"], index, not isinstance(current, float))
