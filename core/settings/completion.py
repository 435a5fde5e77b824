# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills in what the user left out: the robots' own keypoints, skeleton and variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..robot.keypoints import joint_keypoints, skeleton
from ..robot.robot import Robot
from ..robot.urdf_reader import builtin_urdf, load_urdf
from ..scene import catalogue, presets
from ..scene.scene_model import Variable, joint_variable
from .asset_folders import training_themes, worlds
from .schema import RobotSettings, Settings, VariableSettings


def load_robot(settings: RobotSettings) -> Robot:
    """The robot that is described by a URDF: the user's own or the built-in one.

    Raises:
        UserError: if it can't be read.
        ValueError: for an armature, which only Blender can read.
    """
    if settings.kind == "armature":
        raise ValueError("an armature has no URDF")
    path = settings.path if settings.kind == "urdf" else builtin_urdf()
    return load_urdf(path, settings.packages, settings.arguments)


def load_robots(settings: Settings) -> tuple[Robot, ...]:
    """All robots of a scene that are described by URDFs; see :func:`load_robot`.

    Raises:
        UserError: also if one has nothing that a picture could show.
    """
    robots = tuple(load_robot(r) for r in settings.robots)
    for source, robot in zip(settings.robots, robots, strict=True):
        if not robot.visuals:
            raise UserError(
                f"The robot {robot.name} of {Path(source.path).name} has no shapes, so no picture would show it: "
                "give its links visual or collision shapes"
            )
    return robots


def complete(settings: Settings, *robots: Robot) -> Settings:
    """Fill in what the user left out: the robots' own keypoints, skeleton and variables.

    Variables that are given replace the default of the same name; the others keep their defaults.

    Args:
        robots: as in ``settings.robots``.

    Raises:
        UserError: if two robots can't be told apart, or the folder of worlds can't be read.
    """
    names = ["", *(o.name for o in settings.others)]
    keypoints = settings.keypoints or tuple(
        k if not name else replace(k, name=f"{name}/{k.name}", robot=name)
        for name, r in zip(names, robots, strict=True)
        for k in joint_keypoints(r)
    )
    edges = settings.skeleton or tuple(
        edge
        for name, r in zip(names, robots, strict=True)
        for edge in skeleton(r, [k for k in keypoints if k.robot == name])
    )
    defaults = [
        joint_variable(
            f"{name}/{j.name}" if name else j.name, *_joint_range(j.lower, j.upper, j.circular), circular=j.circular,
            linear=j.kind == "prismatic", fixed=j.fixed,
        )
        for name, r in zip(names, robots, strict=True)
        for j in r.moving_joints
    ]  # fmt: skip
    reach = catalogue.REACH_SHARE * robots[0].reach()
    return complete_scene(replace(settings, keypoints=keypoints, skeleton=edges), defaults, reach)


def complete_scene(settings: Settings, joints: Sequence[Variable], reach: float) -> Settings:
    """Fill in variables: the given ``joints``, and the scene's as the preset has them for a robot that reaches
    ``reach`` metres. Those that the user gave stay as they are.

    Raises:
        UserError: if the folder of worlds or of backgrounds can't be read.
    """
    defaults = [*joints, *presets.variables(
        settings.scene.preset, reach, groups=[g.name for g in settings.groups], worlds=len(worlds(settings)),
        themes=training_themes(settings),
    )]  # fmt: skip
    given = {v.name: v for v in settings.variables}
    merged = {v.name: VariableSettings.of(v) for v in defaults} | given
    return replace(settings, variables=tuple(merged.values()))


def _joint_range(lower: float, upper: float, circular: bool) -> tuple[float, float]:
    return (-math.pi, math.pi) if circular else (lower, upper)
