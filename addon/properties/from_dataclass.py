# SPDX-License-Identifier: GPL-3.0-or-later
"""How this package defines Blender properties: from plain tables, and from the settings' data classes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .labels import Words

_quiet = 0


@contextmanager
def quietly() -> Iterator[None]:
    """While it lasts, properties are set without the consequences that a user's own change has."""
    global _quiet
    _quiet += 1
    try:
        yield
    finally:
        _quiet -= 1


def by_the_user() -> bool:
    """Whether a property that changes now is changed by the user, not by :func:`quietly`."""
    return _quiet == 0


def fields(**definitions: Any) -> Callable[[type], type]:
    """Class decorator: Blender properties, as if each were an annotation of the class."""

    def decorate(cls: type) -> type:
        body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__annotations__")}
        body = {k: v for k, v in body.items() if not k.startswith("__annot")}
        return type(cls)(cls.__name__, cls.__bases__, {**body, "__annotations__": definitions})

    return decorate


def mirror(cls: type, words: dict[str, Words], **updates: Any) -> dict[str, Any]:
    """Blender properties for the fields of one settings data class that have words.

    Args:
        updates: what is called when a property of that name changes.
    """
    hints = typing.get_type_hints(cls)
    result: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name not in words:
            continue
        word = words[field.name]
        common = {"name": word.label, "description": word.tip, **word.extra}
        if field.default is not dataclasses.MISSING:
            common["default"] = field.default
        if field.name in updates:
            common["update"] = updates[field.name]
        limits = {
            k: field.metadata[v] for k, v in (("min", "low"), ("max", "high")) if field.metadata.get(v) is not None
        }
        hint = hints[field.name]
        if "options" in field.metadata:
            items = [(o, *word.options[o]) for o in field.metadata["options"]]
            result[field.name] = EnumProperty(items=items, **common)
        elif hint is bool:
            result[field.name] = BoolProperty(**common)
        elif hint is int:
            result[field.name] = IntProperty(**common, **limits)
        elif hint is float:
            result[field.name] = FloatProperty(**common, **limits)
        elif hint is str:
            result[field.name] = StringProperty(**common)
        else:
            raise TypeError(f"{cls.__name__}.{field.name} needs a property of its own")
    return result
