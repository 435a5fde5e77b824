# SPDX-License-Identifier: GPL-3.0-or-later
"""What the choices of categorical variables are called, and the folders from which some of them come.

Folders are read when the user changes or rereads them, never while a panel is drawn; the scene keeps what was found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.scene import catalogue
from ...core.settings import asset_folders, schema as core

MOST = 999
"""Pictures of a theme are counted up to so many."""

Item = tuple[str, str, str, int]
_items: dict[tuple[str, ...], list[Item]] = {}
"""Blender wants the texts of an enumeration kept alive."""


def names(props: Any, variable: str) -> tuple[str, ...]:
    """The choices of a variable in a scene's settings ``props``; empty for one that is a number."""
    entry = catalogue.find(variable)
    if entry is None or not entry.choices:
        return ()
    if entry.name == "light/world":
        return ("plain", *catalogue.SHIPPED_WORLDS, *(w.name for w in props.world_files))
    if entry.name == "background/theme":
        return ("drawn", *(theme_label(t) for t in training_themes(props)))
    return entry.choices


def theme_label(name: str) -> str:
    """A theme as people call it."""
    return {".": "photographs", asset_folders.PLACES: "places"}.get(name, name)


def training_themes(props: Any) -> list[str]:
    """The themes that images to train on may have behind them; see :func:`.asset_folders.training_themes`."""
    return [*(t.name for t in props.augmentation.themes if not t.validation), asset_folders.PLACES]


def items(props: Any, variable: str) -> list[Item]:
    """The choices as the items of a Blender enumeration."""
    known = names(props, variable) or ("",)
    if known not in _items:
        _items[known] = [(str(number), name, "", number) for number, name in enumerate(known)]
    return _items[known]


def read_worlds(props: Any) -> None:
    """Find the user's own HDRI worlds; a folder that can't be used leaves a sentence in ``worlds_note``."""
    folder = bpy.path.abspath(props.scene.worlds)
    found: tuple[str, ...] = ()
    props.worlds_note = ""
    try:
        found = asset_folders.worlds(core.Settings(scene=core.SceneSettings(worlds=folder)))[
            len(catalogue.SHIPPED_WORLDS) :
        ]
    except UserError as problem:
        props.worlds_note = str(problem)
    props.world_files.clear()
    for path in found:
        props.world_files.add().name = Path(path).stem


def read_themes(props: Any) -> None:
    """Find the photographs' themes; which of them are for validation only is kept by name."""
    part = props.augmentation
    folder = bpy.path.abspath(part.backgrounds)
    apart = {t.name for t in part.themes if t.validation}
    found: tuple[str, ...] = ()
    props.backgrounds_note = ""
    try:
        found = asset_folders.themes(core.Settings(augmentation=core.AugmentationSettings(backgrounds=folder)))
    except UserError as problem:
        props.backgrounds_note = str(problem)
    part.themes.clear()
    for name in found:
        theme = part.themes.add()
        theme.name, theme.pictures, theme.validation = name, _pictures(Path(folder) / name), name in apart
    empty = [t.name for t in part.themes if not t.pictures]
    if empty and not props.backgrounds_note:
        props.backgrounds_note = f"There are no photographs in {', '.join(empty)}: add some, or remove the folder"


def _pictures(folder: Path) -> int:
    count = 0
    try:
        for entry in folder.iterdir():
            count += asset_folders.is_photograph(entry) and entry.is_file()
            if count >= MOST:
                break
    except OSError:
        return 0
    return count
