# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras and joints as the command line and requests give them, each mistake refused in one sentence."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from ...core.errors import UserError
from ...core.input_files import read_json_table
from ...core.robot.robot import Joint, Robot
from ..pose.camera import Camera

BEYOND = 0.05
"""A sensor may read so much more than a joint's limit, radians or metres; what is further off are degrees."""

UNITS = {"deg": (math.pi / 180, False), "rad": (1.0, False), "mm": (0.001, True), "m": (1.0, True)}
"""What a unit is in radians or metres, and whether it is a length."""

MOST = math.pi
"""The largest standard deviation, radians or metres: who knows less has no reading."""


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


def joint_positions(text: str, robot: Robot) -> dict[str, float]:
    """``name=value,…``, or a JSON file with one object {name: value}, radians or metres.

    Raises:
        UserError: if it is not that, a joint isn't the robot's, or a value isn't finite or far beyond its limits.
    """
    return checked_joints(_pairs(text) if "=" in text and not os.path.isfile(text) else _from_file(text), robot)


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


def joint_deviations(text: str, given: Mapping[str, float], robot: Robot) -> dict[str, float]:
    """How far off readings of joints may be: standard deviations, radians or metres, by the joint's name.

    Args:
        text: ``2deg``, ``0.03rad``, ``5mm`` or ``0.005m`` for all joints of its kind, and ``name=2deg`` for one, with
            commas between. Joints without one are exact.
        given: the joints that are read.

    Raises:
        UserError: if it is not that, or of no use for these joints.
    """
    kinds = {j.name: j.kind for j in robot.joints}
    own: dict[str, float] = {}
    shared: dict[bool, float] = {}  # by whether it is a length
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        name, number = name.strip(), number.strip()
        value, slides = _quantity(number)
        if equals and name not in given:
            raise UserError(f"--joints-deviation names {name}, of which --joints says nothing: give its position there")
        if equals and slides != (kinds[name] == "prismatic"):
            units = "m or mm, as it slides" if kinds[name] == "prismatic" else "deg or rad, as it turns"
            raise UserError(f"--joints-deviation has {number} for the joint {name}: give {units}")
        if (name in own) if equals else (slides in shared):
            raise UserError(f"--joints-deviation has two for {name if equals else 'the same joints'}: give one")
        if equals:
            own[name] = value
        elif not any((kinds[n] == "prismatic") == slides for n in given):
            raise UserError(f"--joints-deviation has {number}, but no joint of --joints {_moves(slides)}: leave it out")
        else:
            shared[slides] = value
    found = {n: own.get(n, shared.get(kinds[n] == "prismatic")) for n in given}
    return {n: value for n, value in found.items() if value is not None}


def _quantity(text: str) -> tuple[float, bool]:
    """A deviation in radians or metres, and whether it is a length."""
    unit = text.lstrip("+-.0123456789").strip()
    try:
        factor, slides = UNITS[unit]
        value = float(text.removesuffix(unit)) * factor
    except (KeyError, ValueError) as problem:
        raise UserError(
            f"--joints-deviation has {text or 'an empty part'}: write 2deg, 0.03rad, 5mm or 0.005m, for one joint "
            "name=2deg, with commas between"
        ) from problem
    return checked_deviation(text, value), slides


def _moves(slides: bool) -> str:
    return "slides" if slides else "turns"


def checked_deviation(what: str, value: float) -> float:
    """A standard deviation in radians or metres.

    Raises:
        UserError: if it is none: above zero, and at most half a turn or :data:`MOST` metres.
    """
    if not 0 < value <= MOST:
        raise UserError(
            f"The deviation {what} is of no use: a standard deviation is above 0, and at most 180° or 3.14 m"
        )
    return value


def checked_deviations(deviations: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """Standard deviations of joints that are ``given``, radians or metres by the joint's name.

    Raises:
        UserError: if one is of no use, or of a joint that isn't given.
    """
    for name, value in deviations.items():
        if name not in given:
            raise UserError(f"There is a deviation of the joint {name}, but no position: give both")
        checked_deviation(f"{value:g} of the joint {name}", value)
    return dict(deviations)


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
