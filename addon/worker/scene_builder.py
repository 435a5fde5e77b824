# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a run's ``scene.blend``, in a Blender without a window."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

from ...core import files, run_folder
from ...core.errors import UserError, one_line
from ...core.settings import completion, toml_file, validation
from ...core.settings.schema import Settings
from ..base.saving import save_copy
from ..properties import scenery
from ..robot import rig
from ..stage.stage import Stage
from . import settings_completion


def build_scene(settings: Settings, folder: Path, *, complete: bool = False) -> tuple[str, ...]:
    """Save ``scene.blend``: the robots from their URDFs, or a copy of the .blend that holds the user's own.

    Args:
        folder: to write to.
        complete: whether to fill in what the settings leave out, write ``settings.toml`` again, and the robots'
            kinematics to ``robots.json``. Whoever has read the settings already must not want that.

    Returns:
        names of the objects of Blender's start-up file that were left out.

    Raises:
        UserError: if a robot can't be loaded or a file not be written.
    """
    left_out: tuple[str, ...] = ()
    names = ["", *(r.name for r in settings.others)]
    if settings.robot.kind == "armature":
        open_scene(Path(settings.robot.path))
        built = [rig.find(bpy.context.scene, r.armature or r.name) for r in settings.robots]
        needed = [k.frame for k in settings.keypoints] + scenery.named(v.path for v in settings.variables)
        left_out = scenery.leave_out_startup(bpy.context.scene, needed)
    else:
        bpy.ops.wm.read_homefile(use_empty=True)
        built = []
        for source, robot in zip(settings.robots, completion.load_robots(settings), strict=True):
            notes = list(robot.warnings)
            armature = rig.build(bpy.context.scene, robot, notes)
            for note in notes:
                print(f"warning: {one_line(note)}", file=sys.stderr)
            armature.name = source.name or armature.name
            armature.location = source.position
            armature.rotation_euler[2] = source.yaw
            built.append(armature)
        bpy.context.view_layer.update()
    if complete:
        settings = settings_completion.complete(settings, dict(zip(names, built, strict=True)))
        validation.check(settings)
        toml_file.save(settings, folder / run_folder.SETTINGS)
        files.write_json(folder / run_folder.ROBOTS, [settings_completion.describe(a) for a in built])
    if settings.robot.kind != "armature":
        Stage(bpy.context.scene, built[0], settings)
    save_copy(folder / run_folder.SCENE)
    return left_out


def open_scene(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no scene file at {path}: choose another")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path.absolute()), load_ui=False)
    except RuntimeError as problem:
        raise UserError(
            f"{path} can't be opened as a .blend file ({' '.join(str(problem).split())}): choose another"
        ) from problem
