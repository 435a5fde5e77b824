# SPDX-License-Identifier: GPL-3.0-or-later
"""The robots' materials as their variables see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
from mathutils import Color

from ..core.settings import LinkGroup
from .rig import robot_meshes

ORIGINAL_COLOUR = "robot_keypoints_colour"


class Materials:
    """The robots' materials, by link group."""

    def __init__(self, armatures: Sequence[bpy.types.Object], groups: Sequence[LinkGroup]) -> None:
        self._shaders = [s for armature in armatures for s in _shaders(armature)]

    def apply(self, v: Mapping[str, float]) -> None:
        """Paint them."""
        tint = Color()
        tint.hsv = (v["material/hue"] % 1.0, v["material/saturation"], v["material/brightness"])
        tint = tint.from_srgb_to_scene_linear()
        amount = v["material/tint"]
        for shader, original in self._shaders:
            mixed = [(1 - amount) * o + amount * t for o, t in zip(original, tint, strict=True)]
            shader.inputs["Base Color"].default_value = (*mixed, 1.0)
            if not shader.inputs["Roughness"].is_linked:
                shader.inputs["Roughness"].default_value = v["material/roughness"]


def _shaders(armature: bpy.types.Object) -> list[tuple[bpy.types.ShaderNode, tuple[float, float, float]]]:
    """Principled shaders of the robot's own meshes with a plain base colour, and that colour as it was at first."""
    found = {}
    for obj in robot_meshes(armature):
        for material in obj.data.materials:
            if material is None or not material.use_nodes or material in found:
                continue
            for node in material.node_tree.nodes:
                if node.type == "BSDF_PRINCIPLED" and not node.inputs["Base Color"].is_linked:
                    if ORIGINAL_COLOUR not in material:
                        material[ORIGINAL_COLOUR] = list(node.inputs["Base Color"].default_value[:3])
                    r, g, b = (float(c) for c in material[ORIGINAL_COLOUR])
                    found[material] = (node, (r, g, b))
    return list(found.values())
