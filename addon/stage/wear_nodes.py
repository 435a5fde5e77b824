# SPDX-License-Identifier: GPL-3.0-or-later
"""Dirt, scratches and stickers as a group of nodes. (A material with many nodes of its own takes longer to change.)"""

from __future__ import annotations

from typing import Any

import bpy

from . import pattern_nodes, wear_images

GROUP = "Keypoints Wear"
VERSION = "robot_keypoints_version"
CURRENT = 1
VALUES = ("Colour", "Roughness", "Metallic")
"""What goes through the group."""

STEEPNESS = (-5.0, 8.0, 255.0)
"""How sharply dirt, scratches and stickers end. Their masks are this times their ranks, plus the input "Amounts"."""

DIRT = ((0.03, 0.02, 0.012, 1.0), (0.3, 0.26, 0.2, 1.0))
"""Grease and dust, linear; dirt lies between."""
SCRATCH = (0.45, 0.45, 0.43, 1.0)


def node_group(dirt: bool, scratches: bool, stickers: bool) -> bpy.types.NodeTree:
    """The group for these effects; made where it is missing.

    Its inputs beside ``VALUES``: "Place", three numbers in [0, 1) that say where on the pictures to look things up;
    "Amounts" of dirt, scratches and stickers; "Scale", repeats of the pictures per unit of the object's coordinates.
    """
    effects = [n for n, used in (("Dirt", dirt), ("Scratches", scratches), ("Stickers", stickers)) if used]
    name = f"{GROUP}: {', '.join(effects)}"
    found = bpy.data.node_groups.get(name)
    if found is not None and found.get(VERSION) == CURRENT:
        return found
    tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
    tree[VERSION] = CURRENT
    kinds = {"Colour": "Color", "Roughness": "Float", "Metallic": "Float"}
    for direction in ("INPUT", "OUTPUT"):
        for value, kind in kinds.items():
            tree.interface.new_socket(value, in_out=direction, socket_type=f"NodeSocket{kind}")
    for value, kind in (("Place", "Vector"), ("Amounts", "Vector"), ("Scale", "Float")):
        tree.interface.new_socket(value, in_out="INPUT", socket_type=f"NodeSocket{kind}")
    _Builder(tree).build(dirt, scratches, stickers)
    return tree


class _Builder:
    """Stickers on the paint, scratches through both, dirt over all."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self._tree = tree
        self._inputs = self._node("NodeGroupInput").outputs
        self._values: list[Any] = [self._inputs[name] for name in VALUES]

    def build(self, dirt: bool, scratches: bool, stickers: bool) -> None:
        link = self._tree.links.new
        place = self._placed()
        ranks = self._node("ShaderNodeCombineXYZ")
        thickness = colours = None
        if dirt or scratches:
            # Dirt would end in straight lines where the projection's sides meet; a sticker may.
            picture = self._picture(wear_images.wear_image(), place, 0.15)
            channels = self._node("ShaderNodeSeparateXYZ")
            link(picture.outputs["Color"], channels.inputs[0])
            link(channels.outputs[0], ranks.inputs[0])
            link(channels.outputs[1], ranks.inputs[1])
            thickness = channels.outputs[2]
        if stickers:
            picture = self._picture(wear_images.sticker_image(), place, 0.0)
            link(picture.outputs["Alpha"], ranks.inputs[2])
            colours = picture.outputs["Color"]
        steep = self._node("ShaderNodeVectorMath", operation="MULTIPLY_ADD")
        steep.inputs[1].default_value = STEEPNESS
        link(ranks.outputs[0], steep.inputs[0])
        link(self._inputs["Amounts"], steep.inputs[2])
        masks = self._node("ShaderNodeSeparateXYZ")
        link(steep.outputs[0], masks.inputs[0])
        if stickers:
            self._cover(masks.outputs[2], (colours, 0.35, 0.0))
        if scratches:
            self._cover(masks.outputs[1], (SCRATCH, 0.35, 0.6))
        if dirt:
            self._cover(self._dirt_mask(masks.outputs[0], thickness), (self._dirt_colour(), 0.9, 0.0))
        output = self._node("NodeGroupOutput")
        for value, name in zip(self._values, VALUES, strict=True):
            link(value, output.inputs[name])

    def _placed(self) -> Any:
        """The object's own coordinates, moved to where the input says and to elsewhere for every object: equal parts
        would look alike."""
        link = self._tree.links.new
        coordinates, which = self._node("ShaderNodeTexCoord"), self._node("ShaderNodeObjectInfo")
        scaled = self._node("ShaderNodeVectorMath", operation="MULTIPLY_ADD")
        link(coordinates.outputs["Object"], scaled.inputs[0])
        link(self._inputs["Scale"], scaled.inputs[1])
        link(self._inputs["Place"], scaled.inputs[2])
        apart = self._node("ShaderNodeVectorMath", operation="MULTIPLY_ADD")
        link(which.outputs["Random"], apart.inputs[0])
        apart.inputs[1].default_value = (7.3, 3.1, 5.7)
        link(scaled.outputs[0], apart.inputs[2])
        return apart.outputs[0]

    def _dirt_mask(self, mask: Any, thickness: Any) -> Any:
        inside, thick = self._node("ShaderNodeClamp"), self._node("ShaderNodeMath", operation="MULTIPLY")
        self._tree.links.new(mask, inside.inputs[0])
        self._tree.links.new(inside.outputs[0], thick.inputs[0])
        self._tree.links.new(thickness, thick.inputs[1])
        return thick.outputs[0]

    def _dirt_colour(self) -> Any:
        kind = self._node("ShaderNodeSeparateXYZ")
        self._tree.links.new(self._inputs["Place"], kind.inputs[0])
        factor, a, b, colour = pattern_nodes.mix_sockets(self._node("ShaderNodeMix", data_type="RGBA"))
        a.default_value, b.default_value = DIRT
        self._tree.links.new(kind.outputs[2], factor)
        return colour

    def _cover(self, mask: Any, cover: tuple[Any, float, float]) -> None:
        """Lay something over the values where the mask says."""
        for number, over in enumerate(cover):
            mix = self._node("ShaderNodeMix", data_type="FLOAT" if number else "RGBA")
            factor, a, b, result = pattern_nodes.mix_sockets(mix)
            self._tree.links.new(mask, factor)
            self._tree.links.new(self._values[number], a)
            if isinstance(over, bpy.types.NodeSocket):
                self._tree.links.new(over, b)
            else:
                b.default_value = over
            self._values[number] = result

    def _picture(self, image: bpy.types.Image, vector: Any, blend: float) -> Any:
        picture = self._node(
            "ShaderNodeTexImage", image=image, projection="BOX", projection_blend=blend, extension="REPEAT"
        )
        self._tree.links.new(vector, picture.inputs["Vector"])
        return picture

    def _node(self, kind: str, **settings: Any) -> Any:
        return pattern_nodes.node(self._tree, kind, **settings)
