# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a robot's kinematics, without shapes, as URDF."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import ArrayLike

from .robot import Robot


def to_urdf(robot: Robot) -> str:
    """The text of a URDF file that :func:`.load_urdf` reads back as the same kinematics."""
    root = Element("robot", name=robot.name)
    for link in robot.links:
        SubElement(root, "link", name=link)
    for j in robot.joints:
        joint = SubElement(root, "joint", name=j.name, type=j.kind)
        SubElement(joint, "parent", link=j.parent)
        SubElement(joint, "child", link=j.child)
        origin = np.array(j.origin)
        SubElement(joint, "origin", xyz=_words(origin[:3, 3]), rpy=_words(_rpy(origin)))
        if j.moving:
            SubElement(joint, "axis", xyz=_words(j.axis))
            SubElement(joint, "limit", lower=repr(j.lower), upper=repr(j.upper), effort="0", velocity="0")
        if j.mimic is not None:
            m = j.mimic
            SubElement(joint, "mimic", joint=m.joint, multiplier=repr(m.multiplier), offset=repr(m.offset))
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _rpy(matrix: ArrayLike) -> tuple[float, float, float]:
    """Roll, pitch and yaw about fixed axes of a rotation, the upper left of ``(4, 4)``."""
    r = np.asarray(matrix, dtype=np.float64)
    across = math.hypot(r[0, 0], r[1, 0])
    pitch = math.atan2(-r[2, 0], across)
    if across < 1e-9:  # straight up or down, roll and yaw turn about the same axis
        return math.atan2(-r[1, 2], r[1, 1]), pitch, 0.0
    return math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0])


def _words(values: ArrayLike) -> str:
    return " ".join(repr(float(v)) for v in np.asarray(values, dtype=np.float64).ravel())
