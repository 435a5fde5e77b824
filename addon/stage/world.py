# SPDX-License-Identifier: GPL-3.0-or-later
"""The world around the scene: plain, or one of several HDRI pictures, as light and, if wanted, as background."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from ...core.scene import catalogue
from ...core.settings import asset_folders
from ...core.settings.schema import Settings
from . import hdri_files, irradiance, pattern_nodes, prior_support
from .panorama import Panorama, Plain

WORLD = "Keypoints World"
SLOTS = 8
"""So many pictures can be changed to at the least cost; the eight that Blender ships fit."""
MEMORY = 256 << 20
"""For pictures that have been read, in bytes."""


class World:
    """The scene's world; the user's own stays in the file.

    In the user's own window Blender itself shows the world behind the scene. For pictures that are made in numbers the
    film stays transparent, and :meth:`behind` lays the world behind the finished rendering.
    """

    def __init__(self, scene: bpy.types.Scene, settings: Settings) -> None:
        """Build its nodes anew.

        Raises:
            UserError: if a picture that the run's variables can need is not there.
        """
        self._scene = scene
        worlds = asset_folders.worlds(settings)
        self._choices = len(worlds) + 1
        self._paths = {
            k: hdri_files.locate(worlds[k - 1])
            for k in prior_support.choices(settings, "light/world", self._choices)
            if k
        }
        seen = 1 in prior_support.choices(settings, "background/world", 2)
        self._fineness = hdri_files.light_width(settings.render.width)
        self._width = hdri_files.seen_width(settings.render.width) if seen else 0
        self._apart = False
        self._set: dict[str, Any] = {}
        self._behind: tuple[Panorama | Plain, float, float, float] | None = None
        self._light: tuple[NDArray[np.float64] | None, float, float] = (None, 0.0, 0.0)
        world = _world(scene)
        tree = world.node_tree
        tree.nodes.clear()
        hdri_files.clear()
        background = _node(tree, "Background")
        background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
        self._strength = background.inputs["Strength"]
        tree.links.new(background.outputs[0], _node(tree, "OutputWorld").inputs["Surface"])
        self._rotation: Any = None
        self._slots: list[_Slot] = []
        self._pictures: dict[str, _Picture] = {}
        if self._paths:
            self._chain(tree, background.inputs["Color"], min(len(self._paths), SLOTS))
        self._aim(world)

    def _chain(self, tree: bpy.types.NodeTree, colour: Any, count: int) -> None:
        """Pictures behind one another, of which one or none is let through: to choose is to set values, which costs
        less than giving a node another image."""
        coordinates, mapping = _node(tree, "TexCoord"), _node(tree, "Mapping")
        mapping.vector_type = "TEXTURE"
        tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
        self._rotation = mapping.inputs["Rotation"]
        last: Any = None
        for _ in range(count):
            texture, mix = _node(tree, "TexEnvironment"), _node(tree, "Mix")
            mix.data_type = "RGBA"
            factor, a, b, result = pattern_nodes.mix_sockets(mix)
            factor.default_value = 0.0
            a.default_value = (1.0, 1.0, 1.0, 1.0)
            tree.links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
            tree.links.new(texture.outputs["Color"], b)
            if last is not None:
                tree.links.new(last, a)
            last = result
            self._slots.append(_Slot(texture, factor))
        tree.links.new(last, colour)

    def lay_behind(self) -> None:
        """From the next :meth:`apply` on, leave it to :meth:`behind` to show the world behind the scene."""
        if not self._apart:
            self._apart = True
            for picture in self._pictures.values():
                picture.remove()
            self._pictures.clear()
            self._aim(self._scene.world)

    def _aim(self, world: bpy.types.World) -> None:
        """How finely Cycles looks where light comes from: Blender's own choice takes a second a frame.

        Where it is as fine as the picture, and the picture's pixels are not interpolated, Cycles knows exactly how
        bright each is; otherwise a sun makes bright specks all over the robot.
        """
        world.cycles.sampling_method = "MANUAL"
        world.cycles.sample_map_resolution = self._fineness if self._apart else 1024
        for slot in self._slots:
            slot.interpolate(not self._apart)
        world.update_tag()

    def behind(self, picture: NDArray[np.uint8], camera: Intrinsics, rotation: ArrayLike) -> NDArray[np.uint8]:
        """A rendering ``(H, W, 4)`` before the world, if that is to be seen.

        Args:
            camera: the pinhole that took it.
            rotation: ``R_world_cam`` ``(3, 3)``.
        """
        if self._behind is None:
            return picture
        world, turn, strength, blur = self._behind
        gain = strength * 2.0**self._scene.view_settings.exposure
        return world.behind(picture, camera, rotation, turn, gain, blur * camera.fx)

    def radiance(self, normal: ArrayLike) -> NDArray[np.float64]:
        """What a white matt surface radiates in this world's light alone, RGB ``(3,)``; after :meth:`apply`.

        Args:
            normal: the surface's direction ``(3,)`` in the world.
        """
        harmonics, turn, strength = self._light
        return strength * (np.ones(3) if harmonics is None else irradiance.radiance(harmonics, normal, turn))

    def apply(self, v: Mapping[str, float]) -> None:
        """Choose, turn and dim it.

        Raises:
            UserError: if its picture can't be read.
        """
        seen = catalogue.choice(v["background/world"], 2) == 1
        opaque = seen and not self._apart
        if self._scene.render.film_transparent == opaque:
            self._scene.render.film_transparent = not opaque
        if self._changed("strength", v["light/ambient"]):
            self._strength.default_value = v["light/ambient"]
        path = self._paths.get(catalogue.choice(v["light/world"], self._choices))
        picture = self._picture(path) if path is not None else None
        slot = self._slot(picture) if picture is not None else None
        turn = v["light/world_rotation"]
        if self._apart:
            turn = round(turn / math.tau * self._fineness) * math.tau / self._fineness  # by whole pixels: see _aim
        if slot is not None and self._changed("rotation", turn):
            self._rotation.default_value[2] = turn
        for other in self._slots:
            other.switch(other is slot)
        self._light = (None if picture is None else picture.harmonics, turn, v["light/ambient"])
        self._behind = None
        if seen and self._apart:
            world = Plain() if picture is None or picture.panorama is None else picture.panorama
            self._behind = (world, v["light/world_rotation"], v["light/ambient"], _blur(v))

    def _picture(self, path: str) -> _Picture:
        """A picture at hand; the one that was needed longest ago makes room for it."""
        picture = self._pictures.pop(path, None)
        if picture is None:
            picture = _Picture(path, self._fineness, self._width, self._apart)
            while self._pictures and picture.size + sum(p.size for p in self._pictures.values()) > MEMORY:
                self._pictures.pop(next(iter(self._pictures))).remove()
        self._pictures[path] = picture
        return picture

    def _slot(self, picture: _Picture) -> _Slot:
        """The slot that holds a picture; if none does, the one that was needed longest ago takes it."""
        slot = next((s for s in self._slots if s.image == picture.image), self._slots[0])
        self._slots.remove(slot)
        self._slots.append(slot)
        if slot.image != picture.image:
            slot.image = picture.image
        return slot

    def _changed(self, what: str, value: object) -> bool:
        changed = what not in self._set or self._set[what] != value
        self._set[what] = value
        return changed


class _Picture:
    """One world's picture, as what it is needed for.

    Attributes:
        image: what lights the scene.
        panorama: what is laid behind renderings, if that is done.
        size: in bytes.
    """

    def __init__(self, path: str, fineness: int, width: int, apart: bool) -> None:
        """Read it.

        Args:
            fineness: its width as light, in pixels.
            width: what it is at most where it is seen, in pixels; 0 if it never is.
            apart: whether it is laid behind renderings; if not, one picture is light and seen.

        Raises:
            UserError: if it can't be read.
        """
        pixels, colour_space = hdri_files.load(path, max(width, fineness))
        large = hdri_files.resized(pixels, min(width or fineness, pixels.shape[1]))
        light = hdri_files.resized(pixels, fineness) if apart else large
        self.image = hdri_files.image(path, light, colour_space)
        self.panorama = Panorama(large) if apart and width else None
        self.harmonics = irradiance.harmonics(light)
        self.size = 16 * light[..., 0].size + (self.panorama.size if self.panorama is not None else 0)

    def remove(self) -> None:
        """Take it out of the file."""
        bpy.data.images.remove(self.image)


class _Slot:
    """A texture of the chain, and the mix node that lets it through."""

    def __init__(self, texture: Any, factor: Any) -> None:
        self._texture, self._factor = texture, factor
        self._on = False
        texture.mute = True

    @property
    def image(self) -> bpy.types.Image | None:
        """What it holds."""
        return self._texture.image

    @image.setter
    def image(self, image: bpy.types.Image) -> None:
        self._texture.image = image

    def interpolate(self, smoothly: bool) -> None:
        """Whether its pixels run into one another."""
        self._texture.interpolation = "Linear" if smoothly else "Closest"

    def switch(self, on: bool) -> None:
        """Let it through, or not. (Where no mix lets it through it would yet be read in every frame, if not muted.)"""
        if self._on != on:
            self._on = on
            self._texture.mute = not on
            self._factor.default_value = float(on)


def _blur(v: Mapping[str, float]) -> float:
    """Angle of the spot that a distant point makes."""
    focal, away = v["camera/focal_length"], 1000.0 * v["camera/focus"] * v["camera/distance"]
    return v["camera/aperture"] / max(away - focal, focal)


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


def _node(tree: bpy.types.NodeTree, kind: str) -> Any:
    return tree.nodes.new(f"ShaderNode{kind}")
