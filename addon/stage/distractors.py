# SPDX-License-Identifier: GPL-3.0-or-later
"""Distractors, occluders, cables and what robots carry, as their variables see them."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils import Color, Matrix, Quaternion
from numpy.typing import NDArray

from ...core.scene import catalogue
from ...core.settings.schema import Settings
from ..robot.link_boxes import Outline
from ..robot.rig import upright
from ..robot.robot_in_scene import RobotInScene
from . import distractor_meshes, distractor_placement, pattern_nodes
from .camera import Camera
from .object_pool import NOWHERE, camera_pose, clear, most, place

Floats = NDArray[np.float64]

COLLECTION = "Keypoints Distractors"
MATERIAL = "Keypoints Objects"
CABLES = 3


def columns(**widths: int) -> dict[str, slice]:
    """Where each use of a row of random numbers finds its own, one use after the other: none shares a number."""
    ends = list(itertools.accumulate(widths.values()))
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


STANDING = 0.7
"""The share of distractors that stand upright on something; the others hang in the air, turned at random."""
APPEARANCE = 5
"""Numbers that say what an object looks like, see :meth:`_Item._paint`."""
SOLID = columns(
    size=1, stretch=3, standing=1, rotation=3, appearance=APPEARANCE, places=4 * distractor_placement.CANDIDATES
)
CABLE = columns(size=1, appearance=APPEARANCE, course=24)
CARRIED = columns(kind=1, appearance=APPEARANCE, place=10)
CARRIED_KINDS = ("cube", "cube", "cube", "cube", "cube", "cylinder", "cylinder", "cone")
"""Kinds of what can be carried; each object of the pool has a pattern of its own, and boards are flat cubes."""


class Objects:
    """A pool of solids and tubes, of which each draw uses some. Made only if the run's variables can need it."""

    def __init__(
        self, scene: bpy.types.Scene, robots: Sequence[RobotInScene], camera: Camera, settings: Settings
    ) -> None:
        """Make them, in place of those of an earlier run.

        Args:
            robots: the first one first.
            settings: with the floor's height above the first robot's base: see :func:`.on_ground`.
        """
        self._camera, self._base, self._reach = camera, robots[0].armature, robots[0].reach
        self._floor = settings.scene.floor
        self._most = {n: most(settings, f"objects/{n}") for n in ("count", "front", "cables", "carried")}
        self._solids: list[_Item] = []
        self._cables: list[_Item] = []
        self._carried: list[_Item] = []
        clear(COLLECTION)
        if not any(self._most.values()):
            return
        self._outline = Outline(robots)
        collection = bpy.data.collections.new(COLLECTION)
        scene.collection.children.link(collection)
        # Workbench knows no shaders, so there each object has a material of its own to be coloured.
        flat = settings.render.engine == "workbench"
        shared = _material(MATERIAL)
        number = self._most["count"] + self._most["front"]
        if number:
            meshes = [distractor_meshes.mesh(kind, shared) for kind in distractor_meshes.KINDS]
            # Half as many again as can be needed, so that draws differ in their shapes.
            for index in range(max(number + number // 2, len(meshes))):
                self._solids.append(_Item(collection, index + 1, meshes[index % len(meshes)], flat))
        for index in range(self._most["cables"]):
            tube = distractor_meshes.tube_mesh(f"Keypoints cable {index + 1}", shared)
            self._cables.append(_Item(collection, len(self._solids) + index + 1, tube, flat))
        if self._most["carried"]:
            first = len(self._solids) + len(self._cables) + 1
            for index, kind in enumerate(CARRIED_KINDS):
                mesh = distractor_meshes.mesh(kind, shared, f"Keypoints carried {index + 1}")
                self._carried.append(_Item(collection, first + index, mesh, flat))

    def apply(self, v: Mapping[str, float]) -> None:
        """Place them; the camera and the robots' joints must have been set."""
        if not (self._solids or self._cables or self._carried):
            return
        wanted = {n: min(_choice(n, v), limit) for n, limit in self._most.items()}
        used: list[_Item] = []
        if any(wanted.values()):
            seed = np.random.default_rng(int(v["objects/layout"] * 2**53))
            site = self._site(v)
            used += self._place_solids(wanted["count"], wanted["front"], v["objects/size"] / 2, seed, site)
            used += self._place_cables(wanted["cables"], seed, site)
            if wanted["carried"]:
                used += self._place_carried(seed, site)
        for item in (*self._solids, *self._cables, *self._carried):
            if item not in used:
                item.hide()

    def _site(self, v: Mapping[str, float]) -> distractor_placement.Site:
        intrinsics = self._camera.intrinsics()
        half = (intrinsics.width / 2 / intrinsics.fx, intrinsics.height / 2 / intrinsics.fy)
        view = distractor_placement.View(camera_pose(self._base, v), half, self._camera.object.data.clip_start)
        return distractor_placement.Site(self._outline.boxes(v), view, upright(self._base), self._reach, self._floor)

    def _place_solids(
        self, count: int, front: int, size: float, seed: np.random.Generator, site: distractor_placement.Site
    ) -> list[_Item]:
        # Drawn for as many as there can ever be, so that one more leaves the others where they are.
        rows = len(catalogue.BY_NAME["objects/count"].choices) + len(catalogue.BY_NAME["objects/front"].choices)
        u = seed.random((rows, SOLID["places"].stop))
        order = seed.permutation(len(self._solids))
        distractors = [self._solids[i] for i in order[:count]]
        occluders = [self._solids[i] for i in order[::-1][:front]]
        used = []
        if distractors:
            rows_used = u[:count]
            radii, stretch = _size(rows_used, size)
            standing = rows_used[:, SOLID["standing"]][:, 0] < STANDING
            lifts = np.array([i.lowest for i in distractors]) * radii * stretch[:, 2]
            tries = rows_used[:, SOLID["places"]].reshape(count, -1, 4)[..., :3]
            centres = distractor_placement.around(tries, radii, np.where(standing, lifts, np.nan), site)
            for item, row, place, radius, s, stands in zip(
                distractors, rows_used, centres, radii, stretch, standing, strict=True
            ):
                if place is not None:
                    turn = _turn(row[SOLID["rotation"]], site.base, stands)
                    item.show(place, turn, radius * s, row[SOLID["appearance"]])
                    used.append(item)
        if occluders:
            rows_used = u[-front:][::-1]
            wanted, stretch = _size(rows_used, size)
            places, radii = distractor_placement.front(
                rows_used[:, SOLID["places"]].reshape(front, -1, 4), wanted, site
            )
            for item, row, place, radius, s in zip(occluders, rows_used, places, radii, stretch, strict=True):
                if place is not None:
                    turn = _turn(row[SOLID["rotation"]], site.base, False)
                    item.show(place, turn, radius * s, row[SOLID["appearance"]])
                    used.append(item)
        return used

    def _place_cables(self, count: int, seed: np.random.Generator, site: distractor_placement.Site) -> list[_Item]:
        used = []
        u = seed.random((CABLES, CABLE["course"].stop))
        for item, row in zip(self._cables[:count], u, strict=False):
            radius = self._reach * (0.004 + 0.009 * row[CABLE["size"]].item())
            course = distractor_placement.cable(row[CABLE["course"]], radius, site)
            if course is not None:
                item.bend(distractor_meshes.tube(course, radius), row[CABLE["appearance"]])
                used.append(item)
        return used

    def _place_carried(self, seed: np.random.Generator, site: distractor_placement.Site) -> list[_Item]:
        row = seed.random(CARRIED["place"].stop)
        found = distractor_placement.carried(row[CARRIED["place"]], site)
        if found is None:
            return []
        centre, turn, half = found
        item = self._carried[int(row[CARRIED["kind"]].item() * len(self._carried))]
        item.show(centre, Matrix(turn.tolist()).to_quaternion(), half / item.extent, row[CARRIED["appearance"]])
        return [item]


class _Item:
    """One object of the pool. It is touched only where something changes."""

    def __init__(self, collection: bpy.types.Collection, number: int, mesh: bpy.types.Mesh, flat: bool) -> None:
        self.object = bpy.data.objects.new(f"Keypoints Object {number}", mesh)
        self.lowest = -min(v.co.z for v in mesh.vertices)
        self.extent = np.abs([v.co[:] for v in mesh.vertices]).max(axis=0)
        """Half of each edge of the mesh's bounds, ``(3,)``."""
        collection.objects.link(self.object)
        self.object.rotation_mode = "QUATERNION"
        self.object.scale = NOWHERE
        self._shown = False
        self._material = None
        if flat:
            self._material = pattern_nodes.material(f"{MATERIAL} {number}")
            self.object.material_slots[0].link = "OBJECT"
            self.object.material_slots[0].material = self._material

    def hide(self) -> None:
        """Take it out of the scene."""
        if self._shown:
            self.object.scale = NOWHERE
            self._shown = False

    def show(self, at: Floats, turn: Quaternion, scale: Floats, appearance: Floats) -> None:
        """Put it somewhere ``(3,)``, turned and scaled ``(3,)``; ``appearance`` ``(5,)`` is in [0, 1)."""
        place(self.object, at, turn, scale)
        self._paint(*appearance)
        self._shown = True

    def bend(self, vertices: Floats, appearance: Floats) -> None:
        """Give a tube its course, as vertices ``(N, 3)`` in the world; ``appearance`` is as for :meth:`show`."""
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        half = np.maximum((high - low) / 2, 1e-6)
        mesh = self.object.data
        mesh.vertices.foreach_set("co", ((vertices - (low + high) / 2) / half).astype(np.float32).ravel())
        mesh.update()
        # Cables are darker than most things.
        self.show((low + high) / 2, Quaternion(), half, appearance * (1.0, 1.0, 0.6, 1.0, 1.0))

    def _paint(self, hue: float, saturation: float, value: float, kind: float, roughness: float) -> None:
        """Colour it: a third is grey, a quarter metal; the rest is coloured plastic. All numbers are in [0, 1)."""
        grey, metal = hue < 0.33, kind < 0.25
        saturation = 0.0 if grey else 0.3 + 0.65 * saturation
        display = colorsys.hsv_to_rgb((hue - 0.33) / 0.67 % 1, saturation, 0.04 + 0.9 * value)
        colour = Color(display).from_srgb_to_scene_linear()
        roughness = 0.08 + 0.85 * roughness
        # The shader reads whether it is metal off the alpha's upper half, and how rough it is off the rest.
        self.object.color = (*colour, roughness / 2 + (0.5 if metal else 0.0))
        if self._material is not None:
            self._material.diffuse_color = (*colour, 1.0)


def _choice(name: str, v: Mapping[str, float]) -> int:
    entry = catalogue.BY_NAME[f"objects/{name}"]
    return catalogue.choice(v[entry.name], len(entry.choices))


def _size(u: Floats, size: float) -> tuple[Floats, Floats]:
    """Radii ``(N,)`` and stretches ``(N, 3)`` of solids from their rows ``(N, …)``, for a largest radius in metres."""
    return size * (0.5 + 0.5 * u[:, SOLID["size"]][:, 0]), 0.45 + 0.55 * u[:, SOLID["stretch"]]


def _turn(u: Floats, base: Floats, standing: bool) -> Quaternion:
    """A rotation from three numbers in [0, 1): any at all, or one about the vertical."""
    if standing:
        return Matrix(base[:3, :3].tolist()).to_quaternion() @ Quaternion((0.0, 0.0, 1.0), 2 * np.pi * u[0])
    a, b = 2 * np.pi * u[1], 2 * np.pi * u[2]
    x, y = np.sqrt(1 - u[0]), np.sqrt(u[0])
    # Shoemake: every rotation alike.
    return Quaternion((x * np.sin(a), x * np.cos(a), y * np.sin(b), y * np.cos(b)))


def _material(name: str) -> bpy.types.Material:
    """One material for all: Cycles takes colours in with the objects, where shaders would be compiled anew.

    Colour and surface come from the object's colour, see :meth:`_Item._paint`; each object has a pattern of its own.
    """
    result = pattern_nodes.material(name)
    tree = result.node_tree
    link = tree.links.new
    about = pattern_nodes.node(tree, "ShaderNodeObjectInfo")
    place = pattern_nodes.node(tree, "ShaderNodeTexCoord")
    # Two skewed projections in one: there is no side of a solid that a pattern runs along.
    repeats = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="MULTIPLY")
    repeats.inputs[1].default_value = (1.0, 1.0, 0.6)
    link(place.outputs["Generated"], repeats.inputs[0])
    skew = pattern_nodes.node(tree, "ShaderNodeVectorRotate", rotation_type="EULER_XYZ")
    skew.inputs["Rotation"].default_value = (0.6, 0.5, 0.4)
    link(repeats.outputs[0], skew.inputs["Vector"])
    lookup = pattern_nodes.Lookup(tree)
    link(skew.outputs[0], lookup.vector)
    steps = pattern_nodes.node(tree, "ShaderNodeMath", operation="MULTIPLY")
    steps.inputs[1].default_value = pattern_nodes.COUNT
    link(about.outputs["Random"], steps.inputs[0])
    whole = pattern_nodes.node(tree, "ShaderNodeMath", operation="FLOOR")
    link(steps.outputs[0], whole.inputs[0])
    scaled = pattern_nodes.node(tree, "ShaderNodeMath", operation="MULTIPLY_ADD")
    scaled.inputs[1].default_value = 1.0 / pattern_nodes.COUNT
    half, across, _ = pattern_nodes.tile(0)
    scaled.inputs[2].default_value = half
    link(whole.outputs[0], scaled.inputs[0])
    tile = pattern_nodes.node(tree, "ShaderNodeCombineXYZ")
    tile.inputs["Y"].default_value = across
    link(scaled.outputs[0], tile.inputs["X"])
    link(tile.outputs[0], lookup.tile)
    shade = pattern_nodes.node(tree, "ShaderNodeMath", operation="MULTIPLY_ADD")
    shade.inputs[1].default_value = -0.65
    shade.inputs[2].default_value = 1.0
    link(lookup.mask, shade.inputs[0])
    colour = pattern_nodes.node(tree, "ShaderNodeVectorMath", operation="SCALE")
    link(about.outputs["Color"], colour.inputs[0])
    link(shade.outputs[0], colour.inputs["Scale"])
    metal = pattern_nodes.node(tree, "ShaderNodeMath", operation="GREATER_THAN")
    metal.inputs[1].default_value = 0.5
    link(about.outputs["Alpha"], metal.inputs[0])
    doubled = pattern_nodes.node(tree, "ShaderNodeMath", operation="MULTIPLY")
    doubled.inputs[1].default_value = 2.0
    link(about.outputs["Alpha"], doubled.inputs[0])
    rough = pattern_nodes.node(tree, "ShaderNodeMath", operation="FRACT")
    link(doubled.outputs[0], rough.inputs[0])
    shader = pattern_nodes.node(tree, "ShaderNodeBsdfPrincipled")
    link(colour.outputs[0], shader.inputs["Base Color"])
    link(metal.outputs[0], shader.inputs["Metallic"])
    link(rough.outputs[0], shader.inputs["Roughness"])
    output = pattern_nodes.node(tree, "ShaderNodeOutputMaterial")
    link(shader.outputs[0], output.inputs["Surface"])
    return result
