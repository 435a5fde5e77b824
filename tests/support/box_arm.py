# SPDX-License-Identifier: GPL-3.0-or-later
"""A robot of three boxes and two joints, for tests that draw it."""

from __future__ import annotations

import numpy as np
from robot_keypoints.core.robot.robot import Joint, Robot, Visual


def _at(x: float, y: float, z: float) -> tuple[tuple[float, ...], ...]:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return tuple(map(tuple, pose.tolist()))


ROBOT = Robot(
    "arm", "base",
    (
        Joint("turn", "revolute", "base", "upper", _at(0, 0, 0.1), (0.0, 0.0, 1.0), -3.0, 3.0),
        Joint("bend", "revolute", "upper", "lower", _at(0, 0, 0.3), (0.0, 1.0, 0.0), -3.0, 3.0),
    ),
    (
        Visual("base", "box", _at(0, 0, 0.05), (0.2, 0.2, 0.1)),
        Visual("upper", "box", _at(0.05, 0, 0.15), (0.15, 0.08, 0.3)),
        Visual("lower", "box", _at(0, 0, 0.2), (0.07, 0.07, 0.4)),
    ),
)  # fmt: skip
