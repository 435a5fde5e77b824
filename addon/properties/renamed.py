# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that a .blend holds under a former name, from where the panel of an earlier version has saved them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy

from ...core.settings import renamed


def take_over(scene: bpy.types.Scene) -> None:
    """Give what is saved in a scene under former names its present ones."""
    for was, last in renamed.RENAMED.items():
        part, _, name = was.rpartition(".")
        for block in _blocks(getattr(scene.robot_keypoints, part, None)):
            saved = _saved(block)
            if name in saved:
                if last not in saved:
                    saved[last] = saved[name]
                del saved[name]


def register() -> None:
    """Look at every file from now on, and at the one that is open."""
    bpy.app.handlers.load_post.append(_file_loaded)
    for scene in getattr(bpy.data, "scenes", ()):  # which are not there yet while Blender starts
        take_over(scene)


def unregister() -> None:
    """Look at no more files."""
    bpy.app.handlers.load_post.remove(_file_loaded)


@bpy.app.handlers.persistent
def _file_loaded(*_: object) -> None:
    for scene in bpy.data.scenes:
        take_over(scene)


def _blocks(part: Any) -> Iterable[Any]:
    """The property groups of a part of the settings: one, those of a list, or none where the panel has no such part."""
    if part is None:
        return ()
    return (part,) if isinstance(part, bpy.types.PropertyGroup) else tuple(part)


def _saved(block: Any) -> Any:
    """The values of a property group that the file holds, by name: a table that can be changed.

    Since 5.0 Blender keeps them apart from those that scripts set with ``block["name"]``.
    """
    apart = getattr(block, "bl_system_properties_get", None)
    return block if apart is None else (apart() or {})
