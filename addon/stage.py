# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies one draw of the hidden variables to the scene: joints, camera, light and materials."""

from __future__ import annotations

import math
from collections.abc import Mapping

import bpy
import numpy as np
from mathutils import Color
from numpy.typing import NDArray

from ..core.camera import BLENDER_FROM_OPENCV, Intrinsics, orbit
from ..core.errors import UserError
from ..core.settings import Settings
from . import rig
from .meshes import as_matrix

CAMERA = "Keypoints Camera"
SUN = "Keypoints Sun"
WORLD = "Keypoints World"
ORIGINAL_COLOUR = "robot_keypoints_colour"
SENSOR_MM = 36.0

NEUTRAL = {
    "camera/azimuth": math.radians(40),
    "camera/elevation": math.radians(20),
    "camera/distance": 3.0,
    "camera/roll": 0.0,
    "camera/target_x": 0.0,
    "camera/target_y": 0.0,
    "camera/target_z": 0.4,
    "camera/focal_length": 35.0,
    "light/azimuth": math.radians(70),
    "light/elevation": math.radians(50),
    "light/strength": 2.0,
    "light/temperature": 6500.0,
    "light/ambient": 0.5,
    "material/hue": 0.0,
    "material/saturation": 0.0,
    "material/brightness": 0.5,
    "material/tint": 0.0,
    "material/roughness": 0.5,
}
"""What stands in for a variable of the scene that a run does not have."""


class Stage:
    """The scene as the variables see it. Camera, sun and world are made where they are missing."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object, settings: Settings) -> None:
        """Look everything up once.

        Raises:
            UserError: if a variable or a keypoint's frame does not exist in the scene.
        """
        self.scene = scene
        self.armature = armature
        self.keypoints = settings.keypoints
        self.frames = rig.Frames(scene, armature, [k.frame for k in settings.keypoints])
        self._pose = rig.Poser(armature)
        self._joints = set(settings.joint_names())
        self._check([v.name for v in settings.variables])
        self.camera = _camera(scene)
        self._sun = _sun(scene)
        self._background = _world(scene)
        self._shaders = _shaders(armature)
        self._applied: dict[str, float] = {}

    def _check(self, names: list[str]) -> None:
        known = {f"joint/{j.name}" for j in rig.joints(self.armature)} | NEUTRAL.keys()
        for name in names:
            if name not in known:
                raise UserError(f"The scene has no variable {name!r}: remove it, or load the robot that has it")

    def apply(self, values: Mapping[str, float]) -> None:
        """Set every variable of the scene; the view layer is then up to date.

        Args:
            values: by variable name, in the variable's own unit. What is not named keeps a neutral value, except
                joints, which keep their pose.
        """
        v = {**NEUTRAL, **values}
        self._pose({name: values[f"joint/{name}"] for name in self._joints if f"joint/{name}" in values})
        self._place_camera(v)
        self._light(v)
        self._paint(v)
        self.scene.view_layers[0].update()
        self._applied = dict(v)

    def intrinsics(self) -> Intrinsics:
        """Of the camera at the scene's render size."""
        render = self.scene.render
        scale = render.resolution_percentage / 100
        width, height = int(render.resolution_x * scale), int(render.resolution_y * scale)
        return Intrinsics.from_lens(width, height, self.camera.data.lens, SENSOR_MM)

    def camera_pose(self) -> NDArray[np.float64]:
        """``T_world_cam`` ``(4, 4)``, OpenCV's camera frame."""
        return np.asarray(np.array(self.camera.matrix_world) @ BLENDER_FROM_OPENCV)

    def _place_camera(self, v: Mapping[str, float]) -> None:
        target = (v["camera/target_x"], v["camera/target_y"], v["camera/target_z"])
        pose = orbit(v["camera/azimuth"], v["camera/elevation"], v["camera/distance"], v["camera/roll"], target)
        base = np.array(self.armature.matrix_world)
        self.camera.matrix_world = as_matrix(base @ pose @ BLENDER_FROM_OPENCV)
        self.camera.data.lens = v["camera/focal_length"]

    def _light(self, v: Mapping[str, float]) -> None:
        pose = orbit(v["light/azimuth"], v["light/elevation"], 4.0, 0.0, (0, 0, 0))
        self._sun.matrix_world = as_matrix(np.array(self.armature.matrix_world) @ pose @ BLENDER_FROM_OPENCV)
        self._sun.data.energy = v["light/strength"]
        self._sun.data.color = blackbody(v["light/temperature"])
        self._background.inputs["Strength"].default_value = v["light/ambient"]

    def _paint(self, v: Mapping[str, float]) -> None:
        tint = Color()
        tint.hsv = (v["material/hue"] % 1.0, v["material/saturation"], v["material/brightness"])
        tint = tint.from_srgb_to_scene_linear()
        amount = v["material/tint"]
        for shader, original in self._shaders:
            mixed = [(1 - amount) * o + amount * t for o, t in zip(original, tint, strict=True)]
            shader.inputs["Base Color"].default_value = (*mixed, 1.0)
            if not shader.inputs["Roughness"].is_linked:
                shader.inputs["Roughness"].default_value = v["material/roughness"]


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


def _object(scene: bpy.types.Scene, name: str, kind: str) -> bpy.types.Object | None:
    obj = scene.objects.get(name)
    return obj if obj is not None and obj.type == kind else None


def _camera(scene: bpy.types.Scene) -> bpy.types.Object:
    camera = _object(scene, CAMERA, "CAMERA")
    if camera is None:
        camera = bpy.data.objects.new(CAMERA, bpy.data.cameras.new(CAMERA))
        scene.collection.objects.link(camera)
    camera.data.sensor_fit = "AUTO"
    camera.data.sensor_width = SENSOR_MM
    scene.camera = camera
    return camera


def _sun(scene: bpy.types.Scene) -> bpy.types.Object:
    sun = _object(scene, SUN, "LIGHT")
    if sun is None:
        data = bpy.data.lights.new(SUN, "SUN")
        data.angle = math.radians(3)
        sun = bpy.data.objects.new(SUN, data)
        scene.collection.objects.link(sun)
    return sun


def _world(scene: bpy.types.Scene) -> bpy.types.ShaderNode:
    """The background node of our world; the user's own world stays in the file."""
    world = bpy.data.worlds.get(WORLD)
    if world is None:
        world = bpy.data.worlds.new(WORLD)
        if not world.use_nodes:
            world.use_nodes = True
    scene.world = world
    node = world.node_tree.nodes.get("Background")
    if node is None:
        raise UserError(f"The world {WORLD!r} has lost its Background node: delete that world and try again")
    node.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    return node


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


def robot_meshes(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """Mesh objects that hang on the armature or are deformed by it."""
    own = [o for o in armature.children_recursive if o.type == "MESH"]
    deformed = [
        o
        for o in bpy.data.objects
        if o.type == "MESH" and o not in own and any(m.type == "ARMATURE" and m.object == armature for m in o.modifiers)
    ]
    return own + deformed
