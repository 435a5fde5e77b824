# SPDX-License-Identifier: GPL-3.0-or-later
"""The robots' materials as their variables see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Color

from ...core.errors import UserError
from ...core.scene import catalogue
from ...core.settings.schema import LinkGroup, Settings
from ..robot.rig import robot_meshes
from . import material_slots, prior_support, surface_nodes
from .surface_nodes import Appearance, Effects, Surface

VIEWPORT = "robot_keypoints_viewport"
"""Custom property of a material: how the viewport showed it before Workbench's colours were set."""

TILE = 0.5
"""Extent of the wear's pictures on a surface, in reaches of the robot."""


class Materials:
    """The robots' materials, by link group."""

    def __init__(self, armatures: Mapping[str, bpy.types.Object], reach: float, settings: Settings) -> None:
        """Add what the run's variables can need to the robots' materials; the user's own material stays beneath.

        Args:
            armatures: the robots by name; the first one's name is empty.
            reach: of the first robot, metres.

        Raises:
            UserError: if a group of links names one that no robot has.
        """
        _check(armatures, settings.groups)
        groups = {
            obj: _group_of(obj, armature, f"{name}/" if name else "", settings.groups)
            for name, armature in armatures.items()
            for obj in robot_meshes(armature)
        }
        restore(list(groups))
        flat = settings.render.engine == "workbench"
        self._parts: list[_Part] = []
        for number in sorted(set(groups.values())):
            part = _Part(settings.groups[number].name if number >= 0 else "", settings)
            if part.effects:
                self._parts.append(part)
            else:
                groups = {o: g for o, g in groups.items() if g != number}
        found = material_slots.split(groups)
        for part in self._parts:
            for material, obj in found.get(part.number, {}).items():
                scale = float(np.abs(obj.matrix_world.to_scale()).mean()) / (TILE * reach)
                part.take(material, scale, flat)

    def apply(self, v: Mapping[str, float]) -> None:
        """Paint them."""
        for part in self._parts:
            part.apply(v)


def restore(objects: Sequence[bpy.types.Object]) -> None:
    """Give meshes their own materials back as they were."""
    material_slots.restore(objects)
    for material in {s.material for obj in objects for s in obj.material_slots if s.material is not None}:
        if material.library is not None:
            continue
        if material.node_tree is not None:
            surface_nodes.restore(material.node_tree)
        if VIEWPORT in material:
            *colour, metallic, roughness = material[VIEWPORT]
            material.diffuse_color, material.metallic, material.roughness = colour, metallic, roughness
            del material[VIEWPORT]


class _Part:
    """The materials of one group of links, or of those in none."""

    def __init__(self, link_group: str, settings: Settings) -> None:
        self.number = next((n for n, g in enumerate(settings.groups) if g.name == link_group), -1)
        given = {v.name for v in settings.variables}
        self._names = {}
        for entry in catalogue.MATERIAL:
            what = entry.name.split("/")[1]
            own = f"material/{link_group}/{what}"
            self._names[what] = (own if link_group and own in given else entry.name, entry.name)
        self.effects = Effects(**{
            what: prior_support.varies(settings, self._names[what][0])
            for what in ("tint", "roughness", "metallic", "dirt", "scratches", "stickers")
        })  # fmt: skip
        self._surfaces: list[Surface | _Flat] = []
        self._set: tuple[float, ...] = ()

    def take(self, material: bpy.types.Material, scale: float, flat: bool) -> None:
        if flat:
            self._surfaces.append(_Flat(material))
            return
        for shader in surface_nodes.shaders(material.node_tree):
            self._surfaces.append(Surface(material.node_tree, shader, self.effects, scale))

    def apply(self, v: Mapping[str, float]) -> None:
        values = tuple(v.get(own, v[general]) for own, general in self._names.values())
        if values == self._set:
            return
        self._set = values
        appearance = _appearance(dict(zip(self._names, values, strict=True)), self.effects)
        for painted in self._surfaces:
            painted.paint(appearance)


class _Flat:
    """A material in Workbench, which knows no nodes."""

    def __init__(self, material: bpy.types.Material) -> None:
        self._material = material
        self._own = (tuple(material.diffuse_color), material.metallic, material.roughness)
        material[VIEWPORT] = [*self._own[0], *self._own[1:]]

    def paint(self, appearance: Appearance) -> None:
        colour, metallic, roughness = self._own
        if appearance.tint is not None:
            new, amount = appearance.tint
            colour = (*((1.0 - amount) * o + amount * n for o, n in zip(colour, new, strict=False)), colour[3])
        self._material.diffuse_color = colour
        self._material.metallic = metallic if appearance.metallic is None else appearance.metallic
        self._material.roughness = roughness if appearance.roughness is None else appearance.roughness


def _appearance(v: Mapping[str, float], effects: Effects) -> Appearance:
    place = tuple(np.random.default_rng(int(v["pattern"] * 2**53)).random(3).tolist())
    if catalogue.choice(v["original"], 2) == 1:
        return Appearance(None, None, None, (0.0, 0.0, 0.0), place)
    tint = Color()
    tint.hsv = (v["hue"] % 1.0, v["saturation"], v["brightness"])
    red, green, blue = tint.from_srgb_to_scene_linear()
    return Appearance(
        ((red, green, blue), v["tint"]) if effects.tint else None,
        v["roughness"] if effects.roughness else None,
        v["metallic"] if effects.metallic else None,
        (v["dirt"], v["scratches"], v["stickers"]),
        place,
    )


def _check(armatures: Mapping[str, bpy.types.Object], groups: Sequence[LinkGroup]) -> None:
    known = {f"{name}/{b.name}" if name else b.name for name, a in armatures.items() for b in a.data.bones}
    for link_group in groups:
        for link in link_group.links:
            if link not in known:
                raise UserError(
                    f"The group {link_group.name!r} names the link {link!r}, which no robot has: take it out"
                )


def _group_of(obj: bpy.types.Object, armature: bpy.types.Object, prefix: str, groups: Sequence[LinkGroup]) -> int:
    """Number of the first group that has the link or links which a mesh hangs on; -1 for none."""
    links = {prefix + link for link in _links(obj, armature)}
    return next((n for n, g in enumerate(groups) if links and links <= set(g.links)), -1)


def _links(obj: bpy.types.Object, armature: bpy.types.Object) -> set[str]:
    child: Any = obj
    while child is not None:
        if child.parent == armature and child.parent_type == "BONE":
            return {child.parent_bone}
        child = child.parent
    return {g.name for g in obj.vertex_groups if g.name in armature.data.bones}
