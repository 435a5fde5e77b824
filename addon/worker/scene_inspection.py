# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a scene before training, in another Blender: some draws, posed and labelled, but not rendered."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from ...core import files, run_folder
from ...core.errors import UserError
from ...core.messages.job_progress import ProgressWriter
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ..properties.scene_check_report import Report
from ..stage.stage import Stage

DRAWS = 64
UNDER = 0.1
"""So deep within a surface, as a share of the robot's reach, a keypoint still counts as one that can be seen."""
REPORT = "report.json"


def main(arguments: Sequence[str]) -> int:
    """``--run DIR --count N [--progress]``: 0 when done, 2 on a user's mistake."""
    parser = argparse.ArgumentParser(prog="robot_keypoints check")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--count", type=int, default=DRAWS)
    parser.add_argument("--progress", action="store_true", help="say how far it is as lines of JSON")
    options = parser.parse_args(list(arguments))
    try:
        settings = toml_file.load(options.run / run_folder.SETTINGS)
        inspect(options.run, settings, options.count, ProgressWriter(options.progress))
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 2
    return 0


def inspect(folder: Path, settings: Settings, count: int, progress: ProgressWriter) -> Report:
    """In another Blender: draw, pose and label ``count`` times, and write the report into the folder.

    Raises:
        UserError: if the scene lacks what the settings name.
    """
    from ..robot import rig
    from . import labels
    from .obstruction import ObstructionCheck
    from .process import open_stage

    stage = open_stage(folder / run_folder.SCENE, settings)
    stage.camera.render_at(settings.render.width, settings.render.height)
    check = ObstructionCheck(stage)
    model = settings.scene_model()
    rng = np.random.default_rng(settings.training.seed)
    names = [k.name for k in settings.keypoints]
    report = Report(inside=dict.fromkeys(names, 0), seen=dict.fromkeys(names, 0))
    depth = UNDER * stage.robots[""].reach
    boxes = [o for robot in stage.robots.values() for o in rig.robot_meshes(robot.armature)]
    for number in range(count):
        stage.apply(stage.draw_rules.sample(model, rng).values)
        check.check_draw()
        visibility = labels.label(stage).visibility
        report.draws += 1
        for name, value, place in zip(names, visibility, stage.positions(), strict=True):
            report.inside[name] += int(value > 0)
            report.seen[name] += int(value == 2 or (value == 1 and _under_surface(stage, place, depth)))
        report.camera_inside += _camera_inside(stage.camera.object, boxes) / count
        progress("check", f"{number + 1} of {count} draws", number + 1, count)
    rules = stage.draw_rules
    report.tried, report.accepted = (rules.tries, rules.accepted) if rules.active else (count, count)
    check.found().write(folder)
    files.write_json(folder / REPORT, asdict(report))
    return report


def _under_surface(stage: Stage, place: Any, depth: float) -> bool:
    """Whether what hides a point from the camera lies close before it, as a link does that has its joint inside."""
    view_layer = stage.scene.view_layers[0]
    origin = stage.camera.object.matrix_world.translation
    ray = Vector(place) - origin
    hit, where, *_ = stage.scene.ray_cast(view_layer.depsgraph, origin, ray.normalized(), distance=ray.length)
    return bool(hit) and (Vector(place) - where).length < depth


def _camera_inside(camera: bpy.types.Object, objects: list[bpy.types.Object]) -> bool:
    """Whether the camera stands within the bounding box of any of the objects."""
    place = camera.matrix_world.translation
    for obj in objects:
        corners: Any = np.array(obj.bound_box)
        local = np.array(obj.matrix_world.inverted_safe() @ place)
        if math.isfinite(local.sum()) and (corners.min(0) <= local).all() and (local <= corners.max(0)).all():
            return True
    return False
