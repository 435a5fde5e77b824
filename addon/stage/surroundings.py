# SPDX-License-Identifier: GPL-3.0-or-later
"""Floor and walls as their variables see them."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils import Color, Matrix
from numpy.typing import NDArray

from ...core.camera.intrinsics import invert, orbit, transform
from ...core.scene import catalogue
from ...core.settings.schema import Settings
from ..robot.link_boxes import Outline
from ..robot.rig import upright
from ..robot.robot_in_scene import RobotInScene
from . import pattern_nodes
from .light import blackbody
from .object_pool import NOWHERE, camera_pose, clear, most, place
from .world import World

Floats = NDArray[np.float64]

COLLECTION = "Keypoints Surroundings"
WALLS = len(catalogue.BY_NAME["surroundings/walls"].choices) - 1
SIDES = math.radians(35)
"""How far the first wall may turn from facing the camera."""
BELOW = 1e-3
"""The floor lies this much deeper than it should, in metres, so that what stands on it does not flicker through it."""
SOFT = 0.12
"""The traced part of the floor ends over such a distance, in reaches."""
STRONG = 0.1
"""Lamps that give less than this share of the floor's light cast no shadow worth tracing."""
LONGEST = 1.0
"""Shadows are traced up to so far from what casts them, in reaches."""
NEAR = 0.25
"""What is closer to the floor than this, in reaches, darkens it below, whatever the light."""
ROOM = 0.05
"""Walls keep this far from the robots, and from the camera, in reaches."""


class Surroundings:
    """A floor under the first robot, and walls behind it as the camera sees it.

    Light is traced only where the robots' shadows fall: a picture full of surfaces would take several times as long. On
    the rest of the floor and on walls the light of lamps and world is added up, as if nothing stood in its way.
    """

    def __init__(
        self, scene: bpy.types.Scene, robots: Sequence[RobotInScene], settings: Settings, world: World
    ) -> None:
        """Make what the run's variables can need, in place of that of an earlier run.

        Args:
            robots: the first one first.
            settings: with the floor's height above the first robot's base: see :func:`.on_ground`.
            world: the light from all around.
        """
        self._world = world
        self._base, self._reach = robots[0].armature, robots[0].reach
        self._height = settings.scene.floor
        floors, walls = most(settings, "surroundings/floor"), most(settings, "surroundings/walls")
        clear(COLLECTION)
        self._floor: _Surface | None = None
        self._walls: list[_Surface] = []
        if not (floors or walls):
            return
        collection = bpy.data.collections.new(COLLECTION)
        scene.collection.children.link(collection)
        flat = settings.render.engine == "workbench"
        mesh = _mesh()
        self._outline = Outline(robots)
        if floors:
            surface_material = _SurfaceMaterial("Keypoints Floor", flat, SOFT * self._reach)
            self._floor = _Surface(collection, "Keypoints Floor", mesh, surface_material)
        if walls:
            surface_material = _SurfaceMaterial("Keypoints Walls", flat, None)
            self._walls = [
                _Surface(collection, f"Keypoints Wall {n + 1}", mesh, surface_material) for n in range(walls)
            ]
            for wall in self._walls:
                # Light comes from beyond the walls: they are there to be seen, directly or in something shiny.
                wall.object.visible_diffuse = wall.object.visible_shadow = False

    def apply(self, v: Mapping[str, float]) -> None:
        """Place and paint them; the light and the joints must have been set."""
        if self._floor is None and not self._walls:
            return
        u = np.random.default_rng(int(v["surroundings/layout"] * 2**53)).random(32)
        base = upright(self._base)
        eye = (invert(base) @ camera_pose(self._base, v))[:3, 3]
        light = _Light(v, self._world, base)
        if self._floor is not None:
            self._apply_floor(self._floor, v, u[:16], base, eye[2], light)
        self._apply_walls(v, u[16:], base, eye, light)

    def _apply_floor(
        self, floor: _Surface, v: Mapping[str, float], u: Floats, base: Floats, eye: float, light: _Light
    ) -> None:
        wanted = catalogue.choice(v["surroundings/floor"], 2)
        if not wanted or eye < self._height + ROOM * self._reach:
            floor.hide()
            return
        # From a platform that just holds the robot to a hall.
        half = self._reach * 0.8 * 12.0 ** u[0]
        turn = _about_z(2 * np.pi * u[1])
        turn[2, 3] = self._height - BELOW
        floor.show(base @ turn, (half, half), light.on((0.0, 0.0, 1.0)))
        floor.surface_material.paint(v["surroundings/brightness"], u[2:], (half, half), self._reach)
        corners = transform(invert(base @ turn), self._outline.boxes(v).corners)
        lamps = [turn[:3, :3].T @ towards for towards in light.strong()]
        floor.surface_material.trace(*shadows(corners, lamps, self._reach), half)

    def _apply_walls(self, v: Mapping[str, float], u: Floats, base: Floats, eye: Floats, light: _Light) -> None:
        number = min(catalogue.choice(v["surroundings/walls"], WALLS + 1), len(self._walls))
        if number:
            height, half = self._reach * (1.2 + 2.5 * u[0]), self._reach * 8.0
            first = v["camera/azimuth"] + np.pi + SIDES * (2 * u[1] - 1)
            corners = self._outline.boxes(v).corners @ base[:3, :3] - base[:3, 3] @ base[:3, :3]
        for index, wall in enumerate(self._walls):
            if index >= number:
                wall.hide()
                continue
            # The first opposite the camera, then those beside it, then the one behind it.
            angle = first + (0.0, np.pi / 2, -np.pi / 2, np.pi)[index]
            outward = np.array([math.cos(angle), math.sin(angle), 0.0])
            away = max(v["surroundings/distance"], (corners @ outward).max() + ROOM * self._reach)
            if eye @ outward > away - ROOM * self._reach:
                wall.hide()  # it would stand between camera and robot
                continue
            matrix = np.eye(4)
            matrix[:3, 0] = np.cross((0.0, 0.0, 1.0), -outward)
            matrix[:3, 1] = (0.0, 0.0, 1.0)
            matrix[:3, 2] = -outward
            matrix[:3, 3] = outward * away
            matrix[2, 3] = self._height + height - BELOW
            wall.show(base @ matrix, (half, height), light.on(-outward))
        if number:
            self._walls[0].surface_material.paint(v["surroundings/brightness"], u[2:], (half, height), self._reach)


def shadows(corners: Floats, lamps: Sequence[Floats], reach: float) -> tuple[Floats, Floats, float]:
    """The rectangle of the floor that the robots' shadows fall in.

    Args:
        corners: of the robots' boxes, ``(N, 3)``, z above the floor.
        lamps: directions ``(3,)`` towards them.
        reach: of the first robot, metres.

    Returns:
        its middle ``(2,)``, half its sides ``(2,)``, and the angle of the first of them.
    """
    above = corners[corners[:, 2] > -NEAR * reach].clip((-np.inf, -np.inf, 0.0), None)
    fallen = [above[above[:, 2] < NEAR * reach, :2]]
    for towards in lamps:
        away = above[:, 2:] * towards[:2] / max(towards[2], 1e-3)
        length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        fallen.append(above[:, :2] - away * np.minimum(1.0, LONGEST * reach / length))
    points = np.concatenate(fallen)
    if not len(points):
        return np.zeros(2), np.zeros(2), 0.0
    middle = points.mean(axis=0)
    x, y = np.linalg.svd(points - middle, full_matrices=False)[2][0] if len(points) > 1 else (1.0, 0.0)
    along = (points - middle) @ np.array([[x, -y], [y, x]])
    low, high = along.min(axis=0), along.max(axis=0)
    middle = middle + np.array([[x, -y], [y, x]]) @ ((low + high) / 2)
    return middle, (high - low) / 2, math.atan2(y, x)


class _Light:
    """The light of a draw, as it falls on a surface that nothing shades; directions in the base's frame."""

    def __init__(self, v: Mapping[str, float], world: World, base: Floats) -> None:
        self._world, self._base = world, base
        self._lamps: list[tuple[Floats, Floats]] = []
        for number in range(catalogue.choice(v["light/count"], catalogue.LAMPS) + 1):
            prefix = "light/" if number == 0 else f"light/{number + 1}/"
            towards = orbit(v[prefix + "azimuth"], v[prefix + "elevation"], 1.0, 0.0, (0, 0, 0))[:3, 3]
            colour = np.array(blackbody(v[prefix + "temperature"])) * v[prefix + "strength"]
            self._lamps.append((towards, colour / np.pi))

    def on(self, normal: Sequence[float] | Floats) -> Floats:
        """What a white matt surface radiates, RGB ``(3,)``."""
        result = self._world.radiance(self._base[:3, :3] @ normal)
        for towards, colour in self._lamps:
            result = result + max(0.0, float(np.dot(towards, normal))) * colour
        return np.asarray(result)

    def strong(self) -> list[Floats]:
        """The directions ``(3,)`` of the lamps that matter on the floor."""
        whole = float(self.on((0.0, 0.0, 1.0)).sum())
        return [towards for towards, colour in self._lamps if towards[2] * colour.sum() > STRONG * whole]


class _SurfaceMaterial:
    """The material of the floor, or of all walls."""

    def __init__(self, name: str, flat: bool, soft: float | None) -> None:
        """``soft``: over how many metres light ceases to be traced around shadows; None where it never is."""
        self.material = pattern_nodes.material(name)
        self.material.cycles.emission_sampling = "NONE"
        self._flat = flat
        tree = self.material.node_tree
        link = tree.links.new
        place_ = pattern_nodes.node(tree, "ShaderNodeTexCoord")
        self._repeats = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="MULTIPLY_ADD")
        link(place_.outputs["Object"], self._repeats.inputs[0])
        self._lookup = pattern_nodes.Lookup(tree)
        link(self._repeats.outputs[0], self._lookup.vector)
        self._mix = pattern_nodes.node(tree, "ShaderNodeMix", data_type="RGBA")
        link(self._lookup.mask, self._mix.inputs["Factor"])
        self._colours = [s for s in self._mix.inputs if s.type == "RGBA"]
        colour = next(s for s in self._mix.outputs if s.type == "RGBA")
        about = pattern_nodes.node(tree, "ShaderNodeObjectInfo")
        lit = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="MULTIPLY")
        link(colour, lit.inputs[0])
        link(about.outputs["Color"], lit.inputs[1])
        shader = pattern_nodes.node(tree, "ShaderNodeEmission")
        link(lit.outputs[0], shader.inputs["Color"])
        link(about.outputs["Alpha"], shader.inputs["Strength"])
        surface = shader.outputs[0]
        if soft is not None:
            surface = self._traced(tree, surface, colour, soft)
        output = pattern_nodes.node(tree, "ShaderNodeOutputMaterial")
        link(surface, output.inputs["Surface"])
        self._painted: tuple[float, ...] = ()

    def _traced(
        self, tree: bpy.types.NodeTree, rest: bpy.types.NodeSocket, colour: bpy.types.NodeSocket, soft: float
    ) -> bpy.types.NodeSocket:
        link = tree.links.new
        matt = pattern_nodes.node(tree, "ShaderNodeBsdfDiffuse")
        link(colour, matt.inputs["Color"])
        # Distance from the rectangle's edge, along its nearer axis.
        place_ = pattern_nodes.node(tree, "ShaderNodeTexCoord")
        self._frame = pattern_nodes.node(tree, "ShaderNodeMapping", vector_type="POINT")
        link(place_.outputs["Object"], self._frame.inputs["Vector"])
        aside = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="ABSOLUTE")
        link(self._frame.outputs[0], aside.inputs[0])
        self._half = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="SUBTRACT")
        link(aside.outputs[0], self._half.inputs[0])
        parts = pattern_nodes.node(tree, "ShaderNodeSeparateXYZ")
        link(self._half.outputs[0], parts.inputs[0])
        beyond = pattern_nodes.node(tree, "ShaderNodeMath", operation="MAXIMUM")
        link(parts.outputs["X"], beyond.inputs[0])
        link(parts.outputs["Y"], beyond.inputs[1])
        blend = pattern_nodes.node(tree, "ShaderNodeMapRange", interpolation_type="SMOOTHSTEP")
        blend.inputs["From Max"].default_value = soft
        link(beyond.outputs[0], blend.inputs["Value"])
        both = pattern_nodes.node(tree, "ShaderNodeMixShader")
        link(blend.outputs["Result"], both.inputs[0])
        link(matt.outputs[0], both.inputs[1])
        link(rest, both.inputs[2])
        return both.outputs[0]

    def trace(self, middle: Floats, half: Floats, angle: float, scale: float) -> None:
        """Trace light in a rectangle: its middle and half its sides ``(2,)`` in metres, the angle of the first; and the
        metres that the surface's own unit stands for."""
        c, s = math.cos(angle), math.sin(angle)
        location, rotation, size = (self._frame.inputs[n] for n in ("Location", "Rotation", "Scale"))
        # A mapping scales first, then turns, then moves.
        size.default_value = (scale, scale, scale)
        rotation.default_value = (0.0, 0.0, -angle)
        location.default_value = (-c * middle[0] - s * middle[1], s * middle[0] - c * middle[1], 0.0)
        self._half.inputs[1].default_value = (half[0], half[1], 0.0)

    def paint(self, brightness: float, u: Floats, half: tuple[float, float], reach: float) -> None:
        """Choose pattern, its size and two colours by ``u`` ``(>= 7,)`` in [0, 1)."""
        wanted = (brightness, *u[:7].tolist(), *half)
        if wanted == self._painted:
            return
        self._painted = wanted
        self._lookup.tile.default_value = pattern_nodes.tile(int(u[0] * pattern_nodes.COUNT))
        size = reach * 0.3 * 8.0 ** u[1]
        self._repeats.inputs[1].default_value = (half[0] / size, half[1] / size, 0.0)
        self._repeats.inputs[2].default_value = (u[2], u[3], 0.0)
        hue, saturation = u[4], 0.5 * u[5] ** 2
        contrast = 0.1 + 0.6 * u[6]
        colours = [
            Color(colorsys.hsv_to_rgb(hue, saturation, b)).from_srgb_to_scene_linear()
            for b in (brightness, brightness * (1 - contrast))
        ]
        for socket, colour in zip(self._colours, colours, strict=True):
            socket.default_value = (*colour, 1.0)
        if self._flat:
            self.material.diffuse_color = (*colours[0], 1.0)


class _Surface:
    """A rectangle."""

    def __init__(
        self, collection: bpy.types.Collection, name: str, mesh: bpy.types.Mesh, surface_material: _SurfaceMaterial
    ) -> None:
        self.object = bpy.data.objects.new(name, mesh)
        collection.objects.link(self.object)
        self.object.rotation_mode = "QUATERNION"
        self.surface_material = surface_material
        slot = self.object.material_slots[0]
        slot.link, slot.material = "OBJECT", surface_material.material
        self.object.scale = NOWHERE
        self._shown = False

    def hide(self) -> None:
        """Take it out of the scene."""
        if self._shown:
            self.object.scale = NOWHERE
            self._shown = False

    def show(self, matrix: Floats, half: tuple[float, float], light: Floats) -> None:
        """Place it by ``T_world_surface``, half as wide and high as ``half``; ``light`` falls on it."""
        place(self.object, matrix[:3, 3], Matrix(matrix[:3, :3].tolist()).to_quaternion(), (*half, 1.0))
        top = max(1.0, *light)
        self.object.color = (*(light / top), top)
        self._shown = True


def _mesh() -> bpy.types.Mesh:
    old = bpy.data.meshes.get(COLLECTION)
    if old is not None:
        bpy.data.meshes.remove(old)
    result = bpy.data.meshes.new(COLLECTION)
    result.from_pydata([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], [], [(0, 1, 2, 3)])
    result.materials.append(None)
    return result


def _about_z(angle: float) -> Floats:
    result = np.eye(4)
    c, s = math.cos(angle), math.sin(angle)
    result[:2, :2] = [[c, -s], [s, c]]
    return result
