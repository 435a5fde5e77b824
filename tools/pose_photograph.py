# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a photograph-like picture of a UR robot in a furnished world, whose camera and joints are known.

    .venv/bin/python tools/pose_photograph.py OUT.png [--urdf URDF] [--world interior] [--samples 64] [--width 1024]

A name that ends with .jpg gives a JPEG. The pictures that built-in models are tried on were made so, 640 wide.

Beside it OUT.json has the camera matrix, T_cam_base and the joints.
"""

from __future__ import annotations

import argparse
import json
import math
import sysconfig
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector
from robot_keypoints.addon.robot import rig
from robot_keypoints.core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, invert
from robot_keypoints.core.robot.urdf_reader import load_urdf

UR10 = "cmeel.prefix/share/example-robot-data/robots/ur_description/urdf/ur10_robot.urdf"
ANGLES = {
    "shoulder_pan_joint": 0.5, "shoulder_lift_joint": -1.2, "elbow_joint": 1.5, "wrist_1_joint": -0.7,
    "wrist_2_joint": -1.3, "wrist_3_joint": 0.4,
}  # fmt: skip
EYE, TARGET = Vector((1.35, -1.2, 1.15)), Vector((0.22, 0.1, 0.42))
"""For the UR10; nearer to a smaller robot."""
REACH = 1.88
LENS_MM = 35.0


def main() -> None:
    """Build, render, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--urdf", type=Path, default=Path(sysconfig.get_path("purelib")) / UR10, help="of another size")
    parser.add_argument("--distance", type=float, default=1.0, help="so many times as far away")
    parser.add_argument("--world", default="interior")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--turn", type=float, default=120.0, help="of the world about the vertical, degrees")
    options = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    robot = load_urdf(options.urdf)
    armature = rig.build(scene, robot)
    scale = options.distance * robot.reach() / REACH
    rig.pose(armature, ANGLES)
    _floor(scene)
    _world(scene, options.world, math.radians(options.turn))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.matrix_world = Matrix.Translation(scale * EYE) @ (EYE - TARGET).to_track_quat("Z", "Y").to_matrix().to_4x4()
    camera.data.lens, camera.data.sensor_width = LENS_MM, 36.0
    scene.camera = camera
    width, height = options.width, options.width * 3 // 4
    render = scene.render
    render.engine, render.resolution_x, render.resolution_y = "CYCLES", width, height
    scene.cycles.samples, scene.cycles.use_denoising = options.samples, True
    scene.view_settings.view_transform = "Standard"
    if options.out.suffix == ".jpg":
        render.image_settings.file_format, render.image_settings.quality = "JPEG", 88
    render.filepath = str(options.out.resolve())
    bpy.context.view_layer.update()
    pose = invert(np.array(camera.matrix_world) @ BLENDER_FROM_OPENCV) @ np.array(armature.matrix_world)
    k = Intrinsics.from_lens(width, height, LENS_MM)
    known = {"camera_matrix": k.matrix.tolist(), "T_cam_base": pose.tolist(), "joints": ANGLES}
    options.out.with_suffix(".json").write_text(json.dumps(known, indent=1), encoding="utf-8")
    bpy.ops.render.render(write_still=True)


def _floor(scene: bpy.types.Scene) -> None:
    """A worn grey floor, and a plinth."""
    material = bpy.data.materials.new("floor")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    noise, ramp = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 6.0, 8.0
    ramp.color_ramp.elements[0].color = (0.13, 0.12, 0.11, 1.0)
    ramp.color_ramp.elements[1].color = (0.32, 0.30, 0.27, 1.0)
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    surface = nodes["Principled BSDF"]
    links.new(ramp.outputs["Color"], surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value = 0.45
    mesh = bpy.data.meshes.new("floor")
    mesh.from_pydata([(-6, -6, 0), (6, -6, 0), (6, 6, 0), (-6, 6, 0)], [], [(0, 1, 2, 3)])
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("floor", mesh))


def _world(scene: bpy.types.Scene, name: str, turn: float) -> None:
    """One of the worlds that come with Blender."""
    folder = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    world = bpy.data.worlds.new(name)
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture, mapping, place = (nodes.new(f"ShaderNode{n}") for n in ("TexEnvironment", "Mapping", "TexCoord"))
    picture.image = bpy.data.images.load(str(folder / f"{name}.exr"))
    mapping.inputs["Rotation"].default_value[2] = turn
    links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], nodes["Background"].inputs["Color"])


if __name__ == "__main__":
    main()
