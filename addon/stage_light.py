# SPDX-License-Identifier: GPL-3.0-or-later
"""The light as its variables see it: lamps and world."""

from __future__ import annotations

import math
from collections.abc import Mapping

import bpy
import numpy as np
from mathutils import Color

from ..core.camera import BLENDER_FROM_OPENCV, orbit
from ..core.errors import UserError
from .meshes import as_matrix

SUN = "Keypoints Sun"
WORLD = "Keypoints World"


class Light:
    """Lamps and world of the scene; made where they are missing."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
        self._armature = armature
        self._sun = _sun(scene)
        self._background = _world(scene)

    def apply(self, v: Mapping[str, float]) -> None:
        """Place and colour them."""
        pose = orbit(v["light/azimuth"], v["light/elevation"], 4.0, 0.0, (0, 0, 0))
        self._sun.matrix_world = as_matrix(np.array(self._armature.matrix_world) @ pose @ BLENDER_FROM_OPENCV)
        self._sun.data.energy = v["light/strength"]
        self._sun.data.color = blackbody(v["light/temperature"])
        self._background.inputs["Strength"].default_value = v["light/ambient"]


def blackbody(kelvin: float) -> tuple[float, float, float]:
    """Linear colour of a black body, 1,000 to 40,000 K, scaled to a largest channel of one.

    Tanner Helland's fit to Charity's table, which is given in display sRGB.
    """
    t = kelvin / 100.0
    red = 1.0 if t <= 66 else 1.2929 * (t - 60) ** -0.1332
    green = 0.39008 * math.log(t) - 0.63184 if t <= 66 else 1.1299 * (t - 60) ** -0.07551
    blue = 1.0 if t >= 66 else (0.0 if t <= 19 else 0.54321 * math.log(t - 10) - 1.19625)
    colour = Color([min(max(c, 0.0), 1.0) for c in (red, green, blue)]).from_srgb_to_scene_linear()
    top = max(colour)
    return (colour[0] / top, colour[1] / top, colour[2] / top)


def _sun(scene: bpy.types.Scene) -> bpy.types.Object:
    sun = scene.objects.get(SUN)
    if sun is None or sun.type != "LIGHT":
        data = bpy.data.lights.new(SUN, "SUN")
        data.angle = math.radians(3)
        sun = bpy.data.objects.new(SUN, data)
        scene.collection.objects.link(sun)
    return sun


def _world(scene: bpy.types.Scene) -> bpy.types.ShaderNode:
    """The background node of our world; the user's own world stays in the file."""
    world = bpy.data.worlds.get(WORLD)
    if world is None:
        world = bpy.data.worlds.new(WORLD)
        if not world.use_nodes:
            world.use_nodes = True
    scene.world = world
    node = world.node_tree.nodes.get("Background")
    if node is None:
        raise UserError(f"The world {WORLD!r} has lost its Background node: delete that world and try again")
    node.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    return node
