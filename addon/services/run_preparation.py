# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run starts from: the scene's settings, complete and checked, and a new folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import bpy

from ...core.errors import UserError
from ...core.names import free_name
from ...core.settings import validation
from ...core.settings.schema import DataSettings, Settings
from ..properties import preferences, scene_robots, to_settings
from ..robot import rig


def ready_settings(scene: bpy.types.Scene) -> Settings:
    """The scene's settings, complete and checked.

    Raises:
        UserError: naming what is missing.
    """
    missing = scene_robots.problem(scene)
    if missing:
        raise UserError(missing)
    props = scene.robot_keypoints
    if props.scene.worlds or props.augmentation.backgrounds:
        scene_robots.reread_folders(scene)
    settings = to_settings.read(scene)
    validation.check(settings)
    robots = scene_robots.robots(props)
    for armature in robots.values():
        if not armature.children_recursive and not rig.robot_meshes(armature):
            raise UserError(
                f"{armature.name} has no shapes, so no picture would show it: load a robot that has, or hang meshes "
                "on its bones"
            )
    for keypoint in settings.keypoints:
        if keypoint.frame not in robots[keypoint.robot].pose.bones and keypoint.frame not in scene.objects:
            raise UserError(
                f"The keypoint {keypoint.name!r} moves with {keypoint.frame!r}, which is not there: "
                "choose another bone or object, or remove it"
            )
    return settings


def fine_tuning(settings: Settings, data: Path, model: Path) -> Settings:
    """The same, from a model on: half of each batch from a labelled data set, of which a tenth is held out.

    Raises:
        UserError: if that can't be.
    """
    learned = DataSettings(str(data), held_out=0.1, share=0.5)
    changed = replace(settings, data=(learned,), training=replace(settings.training, start_from=str(model)))
    validation.check(changed)
    return changed


def new_folder(scene: bpy.types.Scene) -> Path:
    """A path for a new run, named by date and time."""
    chosen = bpy.path.abspath(scene.robot_keypoints.run_folder) or preferences.get().runs
    parent = Path(bpy.path.abspath(chosen)).expanduser()
    if not parent.is_absolute():
        raise UserError(
            f"The folder for runs, {chosen!r}, is not a full path: choose a folder under Training ▸ Settings"
        )
    name = datetime.now().strftime("%Y-%m-%d %H-%M-%S").replace(" ", "_")
    return parent / free_name(name, lambda n: (parent / n).exists(), separator="_")
