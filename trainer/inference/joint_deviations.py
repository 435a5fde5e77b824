# SPDX-License-Identifier: GPL-3.0-or-later
"""How far off readings of joints may be, by the command line and requests; a mistake is refused in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...core.errors import UserError
from ...core.robot.robot import Robot

UNITS = {"deg": (math.pi / 180, False), "rad": (1.0, False), "mm": (0.001, True), "m": (1.0, True)}
"""What a unit is in radians or metres, and whether it is a length."""

MOST = math.pi
"""The largest standard deviation, radians or metres: who knows less has no reading."""

DEVIATION: dict[str, Any] = {
    "metavar": "2deg|5mm|name=2deg,…",
    "help": "standard deviation of the joints' readings, which are then starting values and weak evidence, not exact",
}
"""What the parser of a command says of ``--joints-deviation``."""


def check_deviation(deviation: str | None, joints: str | None) -> None:
    """Refuse a deviation of nothing.

    Raises:
        UserError: if there is no ``--joints`` beside ``--joints-deviation``.
    """
    if deviation is not None and joints is None:
        raise UserError("--joints-deviation is how far off --joints may be: give --joints name=value,… or a JSON file")


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
            f"The deviation {what} is of no use: give one above 0, and of at most 180 degrees or 3.14 metres"
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
