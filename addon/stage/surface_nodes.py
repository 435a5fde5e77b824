# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that stand in front of a material's shaders and change what goes into them: colour, roughness, metalness.

The user's own values and links stay beneath: an input's value is kept under the link that hides it, and what was linked
is linked through. So :func:`restore` brings back every material exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import pattern_nodes, wear_nodes

PREFIX = "Keypoints"
OWN = "robot_keypoints_input"
"""Custom property of the reroute node that passes on what the user had linked: the input it was linked to."""

COLOURS = ("Base Color", "Color")


@dataclass(frozen=True)
class Effects:
    """What can differ from the user's own material."""

    tint: bool = False
    roughness: bool = False
    metallic: bool = False
    dirt: bool = False
    scratches: bool = False
    stickers: bool = False

    @property
    def worn(self) -> bool:
        """Whether dirt, scratches or stickers can show."""
        return any(_worn(self))

    def __bool__(self) -> bool:
        return self.tint or self.roughness or self.metallic or self.worn


@dataclass(frozen=True)
class Appearance:
    """One draw of a surface; None for what the material itself says.

    Attributes:
        tint: linear colour, and how far the own colour gives way to it.
        worn: amounts of dirt, scratches and stickers.
        place: where on their pictures to look them up, three numbers in [0, 1).
    """

    tint: tuple[tuple[float, float, float], float] | None
    roughness: float | None
    metallic: float | None
    worn: tuple[float, float, float]
    place: tuple[float, float, float]


class Surface:
    """One shader node of a material, and the nodes before it."""

    def __init__(self, tree: bpy.types.NodeTree, shader: bpy.types.Node, effects: Effects, scale: float) -> None:
        """Add the nodes.

        Args:
            scale: repeats of the wear's pictures per unit of the object's own coordinates.
        """
        self._tree = tree
        self._settings: list[tuple[str, Any, Any]] = []
        self._set: dict[str, Any] = {}
        self._left = shader.location[0] - 260
        self._top = shader.location[1]
        inputs = [_input(shader, COLOURS), _input(shader, ("Roughness",)), _input(shader, ("Metallic",))]
        if shader.type == "BSDF_DIFFUSE":
            inputs[1] = None  # there it means something else
        values = [
            self._own(socket, wanted, number)
            for number, (socket, wanted) in enumerate(
                zip(inputs, (effects.tint, effects.roughness, effects.metallic), strict=True)
            )
        ]
        if effects.worn:
            values = self._wear(values, effects, scale)
        for socket, value in zip(inputs, values, strict=True):
            if socket is not None and isinstance(value, bpy.types.NodeSocket):
                tree.links.new(value, socket)

    def paint(self, appearance: Appearance) -> None:
        """Show it; what has not changed is not touched."""
        wanted = {
            "tint": appearance.tint, "roughness": appearance.roughness, "metallic": appearance.metallic,
            "worn": appearance.worn, "place": appearance.place,
        }  # fmt: skip
        for what, value in wanted.items():
            if what not in self._set or self._set[what] != value:
                self._set[what] = value
                for name, apply, argument in self._settings:
                    if name == what:
                        apply(argument, value)

    def _own(self, socket: Any, varies: bool, number: int) -> Any:
        """What goes into an input: an output socket, or the constant that stands there. None for an input that the
        shader lacks."""
        if socket is None:
            return None
        linked = socket.links[0].from_socket if socket.is_linked else None
        constant = tuple(socket.default_value) if number == 0 else socket.default_value
        if linked is not None:
            reroute = self._node("NodeReroute", f"own {socket.name}")
            reroute[OWN] = socket.identifier
            self._tree.links.new(linked, reroute.inputs[0])
            linked = reroute.outputs[0]
        if not varies:
            return constant if linked is None else linked
        what = ("tint", "roughness", "metallic")[number]
        if linked is None:
            output = self._node("ShaderNodeRGB" if number == 0 else "ShaderNodeValue", what).outputs[0]
            self._settings.append((what, _set_colour if number == 0 else _set_value, (output, constant)))
            return output
        factor, a, b, result = self._mix(what, "RGBA" if number == 0 else "FLOAT")
        self._tree.links.new(linked, a)
        self._settings.append((what, _mix_colour if number == 0 else _mix_value, (factor, b)))
        return result

    def _wear(self, values: list[Any], effects: Effects, scale: float) -> list[Any]:
        node_group = self._node("ShaderNodeGroup", "wear", node_tree=wear_nodes.node_group(*_worn(effects)))
        node_group.inputs["Scale"].default_value = scale
        self._settings.append(("place", _set_vector, node_group.inputs["Place"]))
        self._settings.append(("worn", _set_amounts, node_group.inputs["Amounts"]))
        for value, name in zip(values, wear_nodes.VALUES, strict=True):
            if isinstance(value, bpy.types.NodeSocket):
                self._tree.links.new(value, node_group.inputs[name])
            elif value is not None:
                node_group.inputs[name].default_value = value
        return [None if v is None else node_group.outputs[n] for v, n in zip(values, wear_nodes.VALUES, strict=True)]

    def _mix(self, name: str, data_type: str) -> tuple[Any, Any, Any, Any]:
        return pattern_nodes.mix_sockets(self._node("ShaderNodeMix", name, data_type=data_type))

    def _node(self, kind: str, name: str, **settings: Any) -> Any:
        node = pattern_nodes.node(self._tree, kind, **settings)
        node.name = f"{PREFIX} {name}"
        node.label = f"{PREFIX}: {name}"
        node.hide = True
        node.location = (self._left, self._top)
        self._top -= 40
        return node


def _worn(effects: Effects) -> tuple[bool, bool, bool]:
    return effects.dirt, effects.scratches, effects.stickers


def shaders(tree: bpy.types.NodeTree) -> list[bpy.types.Node]:
    """The shader nodes that have a colour; where there are none, groups with one, as users make them."""
    plain = [n for n in tree.nodes if n.type.startswith("BSDF_") and n.type not in ("BSDF_TRANSPARENT", "BSDF_HAIR")]
    groups = [n for n in tree.nodes if n.type == "GROUP" and any(o.type == "SHADER" for o in n.outputs)]
    return [n for n in plain or groups if _input(n, COLOURS) is not None]


def restore(tree: bpy.types.NodeTree) -> None:
    """Take out every node of ours and link again what was linked before."""
    ours = {n for n in tree.nodes if n.name.startswith(f"{PREFIX} ")}
    if not ours:
        return
    again = []
    for link in tree.links:
        if link.from_node in ours and link.to_node not in ours:
            source = _own_source(link.to_socket, ours)
            if source is not None:
                again.append((source, link.to_socket))
    for source, socket in again:
        tree.links.new(source, socket)
    for node in ours:
        tree.nodes.remove(node)


def _own_source(socket: Any, ours: set[Any]) -> Any:
    """What the user had linked to an input, found by following our nodes upstream."""
    seen: set[Any] = set()
    stack = [link.from_node for link in socket.links]
    while stack:
        node = stack.pop()
        if node in seen or node not in ours:
            continue
        seen.add(node)
        if node.get(OWN) == socket.identifier and node.inputs[0].is_linked:
            return node.inputs[0].links[0].from_socket
        stack += [link.from_node for s in node.inputs for link in s.links]
    return None


def _input(node: bpy.types.Node, names: tuple[str, ...]) -> Any:
    kind = "RGBA" if names == COLOURS else "VALUE"
    return next((s for s in node.inputs if s.name in names and s.type == kind), None)


def _set_colour(argument: tuple[Any, Any], value: Any) -> None:
    output, own = argument
    if value is not None:
        colour, amount = value
        own = (*((1.0 - amount) * o + amount * c for o, c in zip(own, colour, strict=False)), 1.0)
    output.default_value = own


def _mix_colour(argument: tuple[Any, Any], value: Any) -> None:
    factor, colour = argument
    factor.default_value = 0.0 if value is None else value[1]
    if value is not None:
        colour.default_value = (*value[0], 1.0)


def _set_value(argument: tuple[Any, float], value: float | None) -> None:
    output, own = argument
    output.default_value = own if value is None else value


def _mix_value(argument: tuple[Any, Any], value: float | None) -> None:
    factor, number = argument
    factor.default_value = float(value is not None)
    if value is not None:
        number.default_value = value


def _set_vector(socket: Any, value: tuple[float, float, float]) -> None:
    socket.default_value = value


def _set_amounts(socket: Any, value: tuple[float, float, float]) -> None:
    dirt, scratches, stickers = value
    socket.default_value = tuple(np.multiply(wear_nodes.STEEPNESS, (-dirt, scratches - 1.0, stickers - 1.0)))
