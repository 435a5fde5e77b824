# SPDX-License-Identifier: GPL-3.0-or-later
"""The light as its variables see it: lamps, and the world around them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import bpy
from mathutils import Color

from ...core.camera.intrinsics import BLENDER_FROM_OPENCV, orbit
from ...core.scene import catalogue
from ...core.settings.schema import Settings
from ..robot.link_meshes import as_matrix
from ..robot.rig import upright
from . import prior_support
from .world import World

LAMP = "Keypoints Lamp"
KINDS = tuple(c.upper() for c in catalogue.BY_NAME["light/type"].choices)

AWAY = 3.0
"""How far lamps other than suns stand from the robot, in reaches."""
AIM = 0.2
"""Height of the point that they shine at, above the robot's base, in reaches."""
CONE = 2.0 * math.asin(1.2 / AWAY)
"""Angle of a spot's cone: it holds all that the robot reaches."""


class Light:
    """Lamps and world of the scene; made where they are missing, as many as the run's variables can need."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, reach: float, settings: Settings) -> None:
        """Make lamps and world.

        Args:
            reach: of the robot, metres.

        Raises:
            UserError: if an HDRI world that the run can need is not there.
        """
        count = max(prior_support.choices(settings, "light/count", catalogue.LAMPS)) + 1
        self._lamps = [_Lamp(scene, armature, number + 1, reach) for number in range(count)]
        for number in range(count, catalogue.LAMPS):
            _remove(scene, _name(number + 1))
        self.world = World(scene, settings)

    def apply(self, v: Mapping[str, float]) -> None:
        """Place and colour them.

        Raises:
            UserError: if a world's picture can't be read.
        """
        lit = catalogue.choice(v["light/count"], catalogue.LAMPS) + 1
        for number, lamp in enumerate(self._lamps, 1):
            if number <= lit:
                lamp.light(v, "light/" if number == 1 else f"light/{number}/")
            else:
                lamp.put_out()
        self.world.apply(v)


class _Lamp:
    """One lamp. Its kind may change from draw to draw; what it already has is not set again."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, number: int, reach: float) -> None:
        self._object = _object(scene, _name(number))
        self._base = upright(armature)
        self._target = (0.0, 0.0, AIM * reach)
        self._away = AWAY * reach
        self._set: dict[str, object] = {}

    def light(self, v: Mapping[str, float], prefix: str) -> None:
        """Set the lamp as the variables whose names begin with ``prefix`` say."""
        kind = KINDS[catalogue.choice(v[prefix + "type"], len(KINDS))]
        if self._changed("kind", kind):
            self._object.data.type = kind
        place = (v[prefix + "azimuth"], v[prefix + "elevation"])
        if self._changed("place", place):
            pose = orbit(*place, self._away, 0.0, self._target)
            self._object.matrix_world = as_matrix(self._base @ pose @ BLENDER_FROM_OPENCV)
        if self._changed("size", (kind, v[prefix + "size"])):
            self._resize(kind, v[prefix + "size"])
        if self._changed("temperature", v[prefix + "temperature"]):
            self._object.data.color = blackbody(v[prefix + "temperature"])
        self._energise(power(kind, v[prefix + "strength"], v[prefix + "size"], self._away))

    def put_out(self) -> None:
        """No light. (Hiding it from the renderer would have Blender sort the scene's dependencies anew.)"""
        self._energise(0.0)

    def _energise(self, energy: float) -> None:
        if self._changed("energy", energy):
            self._object.data.energy = energy

    def _resize(self, kind: str, angle: float) -> None:
        data = self._object.data
        radius = self._away * math.tan(angle / 2.0)
        if kind == "SUN":
            data.angle = angle
        elif kind == "AREA":
            data.shape = "DISK"
            data.size = 2.0 * radius
        else:
            data.shadow_soft_size = radius
            if kind == "SPOT":
                data.spot_size = CONE
                data.spot_blend = 0.15

    def _changed(self, what: str, value: object) -> bool:
        changed = self._set.get(what) != value
        self._set[what] = value
        return changed


def power(kind: str, strength: float, angle: float, distance: float) -> float:
    """What Blender is told, so that a lamp seen under ``angle`` from ``distance`` metres gives the light of a sun of
    this strength, which is irradiance in W/m².

    Straight ahead, a disk of radius r and P watts gives P / π(d² + r²), a ball or a spot P / 4π(d² + r²).
    """
    if kind == "SUN":
        return strength
    across = (distance / math.cos(angle / 2.0)) ** 2
    return strength * across * math.pi * (1.0 if kind == "AREA" else 4.0)


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


def _name(number: int) -> str:
    return f"{LAMP} {number}"


def _object(scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    lamp = scene.objects.get(name)
    if lamp is None or lamp.type != "LIGHT":
        lamp = bpy.data.objects.new(name, bpy.data.lights.new(name, "SUN"))
        scene.collection.objects.link(lamp)
    lamp.hide_render = False
    lamp.visible_camera = False
    return lamp


def _remove(scene: bpy.types.Scene, name: str) -> None:
    lamp = scene.objects.get(name)
    if lamp is not None and lamp.type == "LIGHT":
        bpy.data.lights.remove(lamp.data)
