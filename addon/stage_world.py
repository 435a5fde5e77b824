# SPDX-License-Identifier: GPL-3.0-or-later
"""The world around the scene: plain, or one of several HDRI pictures, as light and, if wanted, as background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from ..core import catalogue
from ..core import settings as settings_module
from ..core.errors import UserError
from ..core.settings import Settings
from . import hdri, needs
from .surface import mix_sockets

WORLD = "Keypoints World"
SLOTS = 8
"""So many pictures are kept at hand; the eight that Blender ships fit."""


class World:
    """The scene's world; the user's own stays in the file."""

    def __init__(self, scene: bpy.types.Scene, settings: Settings) -> None:
        """Build its nodes anew.

        Raises:
            UserError: if a picture that the run's variables can need is not there.
        """
        self._scene = scene
        worlds = settings_module.worlds(settings)
        self._choices = len(worlds) + 1
        self._paths = {
            k: hdri.locate(worlds[k - 1]) for k in needs.choices(settings, "light/world", self._choices) if k
        }
        self._seen = 1 in needs.choices(settings, "background/world", 2)
        self._set: dict[str, Any] = {}
        world = _world(scene)
        tree = world.node_tree
        tree.nodes.clear()
        hdri.clear()
        self._strength = _node(tree, "Value", "strength").outputs[0]
        self._mapping: Any = None
        self._show: Any = None
        self._slots: list[_Slot] = []
        if self._paths:
            self._build_pictures(tree, settings.render.width)
            # As fine as the pictures that light; finer costs milliseconds a frame, and Blender's own choice a second.
            world.cycles.sampling_method = "MANUAL"
            world.cycles.sample_map_resolution = hdri.LIGHT_WIDTH
        else:
            background = self._background(tree, None)
            tree.links.new(background.outputs[0], _node(tree, "OutputWorld").inputs["Surface"])
        world.update_tag()

    def _build_pictures(self, tree: bpy.types.NodeTree, width: int) -> None:
        coordinates = _node(tree, "TexCoord")
        mapping = _node(tree, "Mapping", "rotation")
        mapping.vector_type = "TEXTURE"
        tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
        self._mapping = mapping.inputs["Rotation"]
        count = min(len(self._paths), SLOTS)
        light = _Chain(tree, mapping, count)
        seen = _Chain(tree, mapping, count) if self._seen else None
        self._slots = [_Slot(light.links[n], seen.links[n] if seen else None, width) for n in range(count)]
        surface = self._background(tree, light.colour).outputs[0]
        if seen is not None:
            # What the camera sees is sharp, what lights is small; a closure that is not needed is not evaluated.
            path, show, mix = _node(tree, "LightPath"), _node(tree, "Math", "seen"), _node(tree, "MixShader")
            show.operation = "MULTIPLY"
            show.inputs[1].default_value = 0.0
            self._show = show.inputs[1]
            tree.links.new(path.outputs["Is Camera Ray"], show.inputs[0])
            tree.links.new(show.outputs[0], mix.inputs[0])
            tree.links.new(surface, mix.inputs[1])
            tree.links.new(self._background(tree, seen.colour).outputs[0], mix.inputs[2])
            surface = mix.outputs[0]
        tree.links.new(surface, _node(tree, "OutputWorld").inputs["Surface"])

    def _background(self, tree: bpy.types.NodeTree, colour: Any) -> bpy.types.Node:
        background = _node(tree, "Background")
        background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
        if colour is not None:
            tree.links.new(colour, background.inputs["Color"])
        tree.links.new(self._strength, background.inputs["Strength"])
        return background

    def apply(self, v: Mapping[str, float]) -> None:
        """Choose, turn and dim it.

        Raises:
            UserError: if its picture can't be read.
        """
        seen = catalogue.choice(v["background/world"], 2) == 1
        if self._scene.render.film_transparent == seen:
            self._scene.render.film_transparent = not seen
        if self._changed("strength", v["light/ambient"]):
            self._strength.default_value = v["light/ambient"]
        if not self._slots:
            return
        chosen = catalogue.choice(v["light/world"], self._choices)
        path = self._paths.get(chosen)
        if path is not None and self._changed("rotation", v["light/world_rotation"]):
            self._mapping.default_value[2] = v["light/world_rotation"]
        if self._show is not None and self._changed("show", seen):
            self._show.default_value = float(seen)
        slot = self._slot(path) if path is not None else None
        if self._changed("slot", (slot, seen)):
            for other in self._slots:
                if other is not slot:
                    other.switch(light=False, seen=False)
            if slot is not None:
                slot.switch(light=True, seen=seen)

    def _slot(self, path: str) -> _Slot:
        """The slot that holds a picture; if none does, the one that was needed longest ago takes it."""
        slot = next((s for s in self._slots if s.path == path), self._slots[0])
        self._slots.remove(slot)
        self._slots.append(slot)
        slot.load(path)
        return slot

    def _changed(self, what: str, value: object) -> bool:
        changed = what not in self._set or self._set[what] != value
        self._set[what] = value
        return changed


class _Link:
    """One picture of a chain: texture and the mix node that lets it through."""

    def __init__(self, texture: bpy.types.Node, factor: Any) -> None:
        self._texture, self._factor = texture, factor
        self._on = False
        texture.mute = True

    def show(self, image: bpy.types.Image) -> None:
        self._texture.image = image

    def switch(self, on: bool) -> None:
        """A muted texture is not even read; a picture that no mix lets through would be, in every frame."""
        if self._on != on:
            self._on = on
            self._texture.mute = not on
            self._factor.default_value = float(on)


class _Chain:
    """Pictures behind one another, of which one or none is let through: to choose is to set values, which costs less
    than giving a node another image."""

    def __init__(self, tree: bpy.types.NodeTree, mapping: bpy.types.Node, count: int) -> None:
        self.links: list[_Link] = []
        self.colour: Any = None
        for _ in range(count):
            texture, mix = _node(tree, "TexEnvironment"), _node(tree, "Mix")
            mix.data_type = "RGBA"
            factor, a, b, result = mix_sockets(mix)
            factor.default_value = 0.0
            a.default_value = (1.0, 1.0, 1.0, 1.0)
            tree.links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
            if self.colour is not None:
                tree.links.new(self.colour, a)
            tree.links.new(texture.outputs["Color"], b)
            self.colour = result
            self.links.append(_Link(texture, factor))


class _Slot:
    """One picture at hand, small as light and large as background."""

    def __init__(self, light: _Link, seen: _Link | None, width: int) -> None:
        self.path = ""
        self._light, self._seen, self._width = light, seen, width
        self._images: hdri.Images | None = None

    def load(self, path: str) -> None:
        """Hold the picture of this path."""
        if path == self.path:
            return
        images = hdri.load(path, hdri.seen_width(self._width) if self._seen is not None else 0)
        if self._images is not None:
            self._images.remove()
        self._images, self.path = images, path
        self._light.show(images.light)
        if self._seen is not None and images.seen is not None:
            self._seen.show(images.seen)

    def switch(self, light: bool, seen: bool) -> None:
        """Let it through, or not."""
        self._light.switch(light)
        if self._seen is not None:
            self._seen.switch(seen)


def _world(scene: bpy.types.Scene) -> bpy.types.World:
    world = bpy.data.worlds.get(WORLD)
    if world is None:
        world = bpy.data.worlds.new(WORLD)
    if not world.use_nodes:
        world.use_nodes = True
    if world.node_tree is None:
        raise UserError(f"The world {WORLD!r} can't have nodes: delete that world and try again")
    scene.world = world
    return world


def _node(tree: bpy.types.NodeTree, kind: str, name: str = "") -> Any:
    node = tree.nodes.new(f"ShaderNode{kind}")
    if name:
        node.name = node.label = name
    return node
