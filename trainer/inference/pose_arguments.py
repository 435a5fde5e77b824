# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras and joints as the command line and requests give them, each mistake refused in one sentence."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import UserError
from ...core.input_files import read_json_table
from ...core.robot.robot import Joint, Robot
from ..pose.camera import Camera

BEYOND = 0.05
"""A sensor may read so much more than a joint's limit, radians or metres; what is further off are degrees."""


def camera_numbers(text: str) -> tuple[float, ...]:
    """``fx,fy,cx,cy`` or ``fx,fy,cx,cy,k1,k2,p1,p2,k3`` as nine numbers.

    Raises:
        UserError: if it is not that, or a number is of no use.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise UserError(
            f"--camera is {text}: write fx,fy,cx,cy or fx,fy,cx,cy,k1,k2,p1,p2,k3 as numbers with commas between"
        ) from problem
    Camera.of_numbers(values)
    return (*values, *[0.0] * (9 - len(values)))


def scaled_camera(numbers: Sequence[float], scale: tuple[float, float]) -> tuple[float, ...]:
    """The nine numbers of a camera whose pictures' width and height are multiplied by ``scale``."""
    (fx, fy, cx, cy, *lens), (u, v) = numbers, scale
    return (fx * u, fy * v, (cx + 0.5) * u - 0.5, (cy + 0.5) * v - 0.5, *lens)


def joint_positions(text: str, robot: Robot) -> dict[str, float]:
    """``name=value,…``, or a JSON file with one object {name: value}, radians or metres.

    Raises:
        UserError: if it is not that, a joint isn't the robot's, or a value isn't finite or far beyond its limits.
    """
    return checked_joints(_pairs(text) if "=" in text and not os.path.isfile(text) else _from_file(text), robot)


def check_outline(outline: bool, deviation: str | None, camera: bool = True) -> None:
    """Refuse ``--outline`` where there is nothing to go by.

    Raises:
        UserError: saying what is missing.
    """
    if outline and not camera:
        raise UserError("--outline is for the robot's pose, which needs --camera fx,fy,cx,cy and --joints: add them")
    if outline and deviation is not None:
        raise UserError("--outline takes joints as exact, and --joints-deviation doesn't: leave one of them out")


def checked_joints(values: Mapping[str, float], robot: Robot) -> dict[str, float]:
    """Positions of joints, radians or metres by the joint's name, if a robot can have them.

    Raises:
        UserError: if a joint isn't the robot's, or a value isn't finite or far beyond its limits.
    """
    joints = {j.name: j for j in robot.joints if j.moving}
    for name, value in values.items():
        if name not in joints:
            known = ", ".join(joints) or "none"
            raise UserError(f"The robot {robot.name} has no joint {name!r} that moves: it has {known}")
        _check(joints[name], value)
    return dict(values)


def _check(joint: Joint, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(f"The joint {joint.name} is {value}: give a finite number")
    limited = joint.kind != "continuous" and joint.upper > joint.lower
    if limited and not joint.lower - BEYOND <= value <= joint.upper + BEYOND:
        unit = "metres" if joint.kind == "prismatic" else "radians"
        raise UserError(
            f"The joint {joint.name} is {value:g}, beyond its limits {joint.lower:g} and {joint.upper:g}: give {unit}"
        )


def _pairs(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (p.strip() for p in part.partition("="))
        if name in values:
            raise UserError(f"--joints has {name} twice: give it once")
        try:
            values[name] = float(number)
        except ValueError as problem:
            raise UserError(
                f"--joints has {part.strip() or 'an empty part'}: write name=value with commas between, or a JSON file"
            ) from problem
    return values


def _from_file(text: str) -> dict[str, float]:
    document = read_json_table(text, "give --joints name=value,… or a JSON file with a number for each joint")
    if not is_table(document):
        raise UserError(f"{text} is not one JSON object with a number for each joint: write it so")
    return dict(document)


def is_table(document: Any) -> bool:
    """Whether it is numbers by name."""
    return isinstance(document, dict) and all(type(v) is float for v in document.values())
