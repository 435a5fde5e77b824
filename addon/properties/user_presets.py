# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own presets: files in Blender's folder for presets, which outlives the extension.

Each is a settings file that holds variables alone; lengths are in units of the robot's reach, so that a preset suits
robots of any size.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import bpy
import tomli_w

from ...core import files
from ...core.errors import UserError
from ...core.scene import presets
from ...core.settings import schema as core, toml_file

_read: dict[Path, tuple[int, dict[str, core.VariableSettings]]] = {}


def folder() -> Path:
    """Where the presets are."""
    return Path(bpy.utils.user_resource("SCRIPTS", path="presets")) / "robot_keypoints"


def names() -> list[str]:
    """The presets that there are, by name."""
    try:
        return sorted(p.stem for p in folder().glob("*.toml"))
    except OSError:
        return []


def load(name: str) -> dict[str, core.VariableSettings]:
    """The variables of a preset, by name.

    Raises:
        UserError: if the file is gone or can't be read.
    """
    path = folder() / f"{name}.toml"
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as problem:
        raise UserError(f"The preset {name} is no longer at {path}: choose another") from problem
    known = _read.get(path)
    if known is None or known[0] != stamp:
        known = (stamp, {v.name: v for v in toml_file.load(path).variables})
        _read[path] = known
    return known[1]


def known(name: str) -> dict[str, core.VariableSettings]:
    """The variables of a preset as far as they can be read: none of one that is gone."""
    try:
        return load(name)
    except UserError:
        return {}


def save(name: str, variables: Sequence[core.VariableSettings]) -> Path:
    """Keep variables under a name, in place of what it held.

    Raises:
        UserError: if the name can't be that of a file, or the file can't be written.
    """
    if not name.strip() or re.search(r'[<>:"/\\|?*\x00-\x1f]', name) or name.startswith("."):
        raise UserError(f"A preset can't be called {name!r}: use letters, digits, spaces and - only")
    if name.lower() in list(presets.PRESETS) + [p.label.lower() for p in presets.PRESETS.values()]:
        raise UserError(f"{name} is one of the presets that come with the extension: choose another name")
    path = folder() / f"{name}.toml"
    document = {"version": toml_file.VERSION, "variables": [dataclasses.asdict(v) for v in variables]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.WriteError(path, problem) from problem
    files.write_text(path, tomli_w.dumps(document))
    return path


def remove(name: str) -> None:
    """Delete a preset.

    Raises:
        UserError: if it can't be deleted.
    """
    try:
        (folder() / f"{name}.toml").unlink(missing_ok=True)
    except OSError as problem:
        raise UserError(f"The preset {name} can't be deleted ({problem.strerror})") from problem
