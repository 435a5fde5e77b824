# SPDX-License-Identifier: GPL-3.0-or-later
"""The exposure that a camera would choose for the light that falls on the robot."""

from __future__ import annotations

import math
from collections.abc import Mapping

import bpy
import numpy as np

from ...core.scene import catalogue
from ..robot.rig import upright
from .object_pool import camera_pose
from .world import World

TARGET = 0.8
"""What a white matt ball radiates on the mean in a picture that is exposed as metered, as a share of white. A robot is
darker than that, and cameras do not know it."""

MOST_STOPS = 5.0
"""Exposure is not changed further than this; there may be no light at all."""


def stops(v: Mapping[str, float], armature: bpy.types.Object, world: World) -> float:
    """By how many stops the exposure differs from that of :data:`TARGET`'s light.

    Args:
        v: values of all variables.
        armature: the first robot.
        world: after its :meth:`.World.apply`.
    """
    towards_camera = -camera_pose(armature, v)[:3, 2]
    base = upright(armature)[:3, :3]
    light = float(world.radiance(towards_camera).mean())
    for number in range(1, catalogue.choice(v["light/count"], catalogue.LAMPS) + 2):
        prefix = "light/" if number == 1 else f"light/{number}/"
        azimuth, elevation = v[prefix + "azimuth"], v[prefix + "elevation"]
        towards_lamp = base @ [
            math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)
        ]  # fmt: skip
        light += v[prefix + "strength"] / math.pi * lit(float(towards_lamp @ towards_camera))
    return float(np.clip(math.log2(TARGET / max(light, 1e-9)), -MOST_STOPS, MOST_STOPS))


def lit(cosine: float) -> float:
    """What a matt ball shows of a lamp's light on the mean over its disk: 2/3 with the lamp behind the camera, 0 with
    the lamp behind the ball (Lambert's phase function).

    Args:
        cosine: of the angle between the directions to the lamp and to the camera.
    """
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    return 2.0 / (3.0 * math.pi) * (math.sin(angle) + (math.pi - angle) * math.cos(angle))
