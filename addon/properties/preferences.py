# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the extension: programs and folders of this machine, which no .blend should carry."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty

from ...core.errors import UserError
from ...core.processes import own_programs
from ...core.processes.programs import LAUNCHER, Programs
from .from_dataclass import fields

PACKAGE = __package__.rsplit(".", 2)[0]
"""``bl_ext.<repository>.robot_keypoints`` in Blender, ``robot_keypoints`` as a Python package."""

RUNS = str(Path.home() / "robot-keypoints-runs")


@fields(
    python=StringProperty(name="Trainer's Python", description="A Python that has torch; the Environment panel can "
                          "make one", subtype="FILE_PATH"),
    runs=StringProperty(name="Runs", description="Folder in which each run gets a folder of its own", default=RUNS,
                        subtype="DIR_PATH"),
    blender=StringProperty(name="Workers' Blender", description="The Blender that renders the training images; empty "
                           "takes this one", subtype="FILE_PATH"),
)  # fmt: skip
class KEYPOINTS_AP_preferences(bpy.types.AddonPreferences):
    """Shown under Preferences ▸ Add-ons."""

    bl_idname = PACKAGE

    def draw(self, context: bpy.types.Context) -> None:
        """The three paths."""
        column = self.layout.column()
        column.use_property_split = True
        for name in ("python", "runs", "blender"):
            column.prop(self, name)


@dataclass
class Plain:
    """Stands in where the package was registered without being an add-on, as with the bpy wheel."""

    python: str = ""
    runs: str = RUNS
    blender: str = ""


_plain = Plain()
CLASSES = (KEYPOINTS_AP_preferences,)


def get() -> Any:
    """The preferences: ``python``, ``runs``, ``blender``."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return addon.preferences if addon is not None and addon.preferences is not None else _plain


def set_python(path: str) -> None:
    """Choose the trainer's Python; Blender saves its preferences when it quits."""
    get().python = path
    bpy.context.preferences.is_dirty = True


def python() -> str:
    """The trainer's Python.

    Raises:
        UserError: if none is chosen, or it is gone.
    """
    path = str(get().python)
    if not path:
        raise UserError("No Python with torch is chosen: choose or create one in the Environment panel")
    if not Path(bpy.path.abspath(path)).is_file():
        raise UserError(f"There is no Python at {path}: choose another in the Environment panel")
    return str(bpy.path.abspath(path))


def blender_program() -> str:
    """The Blender for workers; empty where there is no program, as with the bpy wheel."""
    return str(bpy.path.abspath(get().blender)) or str(bpy.app.binary_path)


def blender_command(command: str = "") -> tuple[str, ...]:
    """The Blender that works in the background, up to the job's own words; ``command`` may name another one.

    Raises:
        UserError: if it is missing, or ``command`` is one that the user has not named.
    """
    launch = (sys.executable, str(LAUNCHER))
    if command:
        _check(command)
        return Programs.with_python(sys.executable, command).blender
    program = blender_program()
    if not program:
        return launch
    if not Path(program).is_file():
        raise UserError(f"There is no Blender at {program}: choose another in the preferences")
    # --addons, because preferences in which the extension is enabled may not have been saved yet.
    return (program, "--background", "--addons", PACKAGE, "--command", "robot_keypoints")


def blender_words(command: str = "") -> str:
    """The chosen Blender as the command line's ``--blender`` takes it; empty for the bpy wheel.

    Raises:
        UserError: if ``command`` is one that the user has not named.
    """
    if command:
        _check(command)
        return command
    program = blender_program()
    return f"{quoted(program)} --addons {PACKAGE}" if program else ""


def programs(command: str = "") -> Programs:
    """How a run's processes are started; ``command`` may name another Blender for the workers.

    Raises:
        UserError: if a program is missing, or ``command`` is one that the user has not named.
    """
    chosen = python()
    trainer = (chosen, str(LAUNCHER))
    if not command and not blender_program():
        return Programs(trainer, trainer)
    return Programs(trainer, blender_command(command))


def _check(command: str) -> None:
    """Refuse a command from a scene or a run unless the user has named it, and remember one of the preferences.

    Raises:
        UserError: saying how to allow it.
    """
    own = quoted(str(bpy.path.abspath(get().blender)))
    own_programs.check(command, "name it as Workers' Blender in the extension's preferences", {own})
    if command == own:
        own_programs.remember(command)


def quoted(program: str) -> str:
    """A program's path as a word of a command."""
    return program if sys.platform == "win32" or not program else shlex.quote(program)
