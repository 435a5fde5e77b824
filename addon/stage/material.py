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
        places = {
            obj: _place_of(obj, armature, f"{name}/" if name else "", settings.groups)
            for name, armature in armatures.items()
            for obj in robot_meshes(armature)
        }
        restore(list(places))
        flat = settings.render.engine == "workbench"
        values = {n: _Values(settings.groups[n].name if n >= 0 else "", settings) for n, _ in places.values()}
        # Links whose materials never differ share them.
        parts = {obj: (n, link if values[n].differ else "") for obj, (n, link) in places.items() if values[n].effects}
        keys = sorted(set(parts.values()))
        found = material_slots.split({obj: keys.index(key) for obj, key in parts.items()})
        self._parts: list[_Part] = []
        for index, (number, link) in enumerate(keys):
            part = _Part(values[number], link)
            for material, obj in found.get(index, {}).items():
                scale = float(np.abs(obj.matrix_world.to_scale()).mean()) / (TILE * reach)
                part.take(material, scale, flat)
            self._parts.append(part)

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


class _Values:
    """The variables of one group of links, or of those in none.

    Attributes:
        differ: whether links of the group can differ from one another.
    """

    def __init__(self, link_group: str, settings: Settings) -> None:
        priors = {v.name: v.variable().prior for v in settings.variables}
        self._names, self._ranges = {}, {}
        for entry in catalogue.MATERIAL:
            what = entry.name.split("/")[1]
            own = f"material/{link_group}/{what}"
            name = own if link_group and own in priors else entry.name
            self._names[what] = (name, entry.name)
            if name in priors and not priors[name].constant:
                self._ranges[what] = (priors[name].low, priors[name].high)
        self.effects = Effects(**{
            what: prior_support.varies(settings, self._names[what][0])
            for what in ("tint", "roughness", "metallic", "dirt", "scratches", "stickers")
        })  # fmt: skip
        self.differ = prior_support.varies(settings, self._names["parts"][0])

    def of(self, link: str, v: Mapping[str, float]) -> dict[str, float]:
        """The values of one link, by the last word of their names.

        Where links differ, each link's values are the group's, moved on by a random share of their range and from its
        end to its beginning: so they cover the range as evenly as the group's do.
        """
        values = {what: v.get(own, v[general]) for what, (own, general) in self._names.items()}
        seed = values["parts"]
        if not link or seed < 0.0:
            return values
        rng = np.random.default_rng([int(seed * 2**53), *link.encode()])
        shares = dict(zip(self._names, rng.random(len(self._names)).tolist(), strict=True))
        for what, (low, high) in self._ranges.items():
            if what != "parts":
                values[what] = low + ((values[what] - low) / (high - low) + shares[what]) % 1.0 * (high - low)
        return values


class _Part:
    """The materials of the links that share them."""

    def __init__(self, values: _Values, link: str) -> None:
        """See :meth:`_Values.of`; without a ``link`` they are those of the whole group."""
        self._values, self._link = values, link
        self._surfaces: list[Surface | _Flat] = []
        self._set: dict[str, float] = {}

    def take(self, material: bpy.types.Material, scale: float, flat: bool) -> None:
        if flat:
            self._surfaces.append(_Flat(material))
            return
        for shader in surface_nodes.shaders(material.node_tree):
            self._surfaces.append(Surface(material.node_tree, shader, self._values.effects, scale))

    def apply(self, v: Mapping[str, float]) -> None:
        values = self._values.of(self._link, v)
        if values == self._set:
            return
        self._set = values
        appearance = _appearance(values, self._values.effects)
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


def _place_of(
    obj: bpy.types.Object, armature: bpy.types.Object, prefix: str, groups: Sequence[LinkGroup]
) -> tuple[int, str]:
    """Number of the first group that has the link or links which a mesh hangs on, -1 for none, and these links' names;
    those of the armature itself have the robot's."""
    links = {prefix + link for link in _links(obj, armature)}
    number = next((n for n, g in enumerate(groups) if links and links <= set(g.links)), -1)
    return number, " ".join(sorted(links)) or prefix or "robot"


def _links(obj: bpy.types.Object, armature: bpy.types.Object) -> set[str]:
    child: Any = obj
    while child is not None:
        if child.parent == armature and child.parent_type == "BONE":
            return {child.parent_bone}
        child = child.parent
    return {g.name for g in obj.vertex_groups if g.name in armature.data.bones}
