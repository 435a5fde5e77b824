# SPDX-License-Identifier: GPL-3.0-or-later
"""Robots: settings that name them, URDF, xacro and mesh files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapes
import trimesh
from PIL import Image
from robot_keypoints.core.meshes import reader as mesh_reader
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.package_paths import packages_in
from robot_keypoints.core.robot.robot import Robot, Visual, as_matrix
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.core.settings import completion, toml_file, validation
from robot_keypoints.core.settings.schema import Settings
from subjects import Seed, contents

URDF = """<?xml version="1.0"?>
<robot name="arm">
  <material name="grey"><color rgba="0.5 0.5 0.5 1"/></material>
  <link name="base"><visual><origin xyz="0 0 0.1" rpy="0 0 1.57"/><geometry><box size="0.2 0.2 0.2"/></geometry>
    <material name="grey"/></visual><visual><geometry><sphere radius="0.1"/></geometry></visual></link>
  <link name="upper"><visual><geometry><cylinder radius="0.05" length="0.5"/></geometry>
    <material name="own"><color rgba="1 0 0 1"/><texture filename="skin.png"/></material></visual></link>
  <link name="lower"><visual><geometry>
    <mesh filename="package://arm/meshes/a.stl" scale="0.001 0.001 0.001"/></geometry></visual>
    <visual><geometry><capsule radius="0.05" length="0.3"/></geometry></visual></link>
  <link name="tool"><visual><geometry><mesh filename="meshes/a.stl"/></geometry></visual></link>
  <link name="cart"/>
  <link name="free"/>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.2"/>
    <axis xyz="0 0 1"/><limit lower="-1.5" upper="1.5" effort="1" velocity="1"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/><origin xyz="0 0 0.5" rpy="0 1 0"/>
    <axis xyz="0 1 0"/></joint>
  <joint name="grip" type="prismatic"><parent link="lower"/><child link="tool"/><origin xyz="0 0 0.4"/>
    <axis xyz="1 0 0"/><limit lower="0" upper="0.1"/><mimic joint="shoulder" multiplier="0.1" offset="0.01"/></joint>
  <joint name="drive" type="planar"><parent link="base"/><child link="cart"/><axis xyz="0 0 1"/></joint>
  <joint name="fly" type="floating"><parent link="base"/><child link="free"/></joint>
</robot>"""

PACKAGE = """<package><name>arm</name><version>1.0.0</version></package>"""

XACRO = """<?xml version="1.0"?>
<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:arg name="count" default="2"/>
  <xacro:include filename="$(find arm)/link.xacro"/>
  <xacro:include filename="link.xacro" ns="again"/>
  <xacro:property name="length" value="${0.25 * 2}"/>
  <xacro:property name="sizes" value="${[0.1, 0.2, 0.3]}"/>
  <xacro:property name="table" value="${dict(a=1, b=2)}"/>
  <xacro:property name="given" value="${xacro.load_yaml('values.yaml')}"/>
  <xacro:property name="name" value="arm_${length}"/>
  <link name="base"><visual><geometry><box size="${sizes[0]} ${sizes[1]} ${min(sizes)}"/></geometry></visual></link>
  <xacro:segment name="a" parent="base" length="${length}"><axis xyz="0 ${sin(pi/2)} 0"/></xacro:segment>
  <xacro:if value="${$(arg count) > 1 and table['a'] == 1}">
    <xacro:segment name="b" parent="a" length="${2 * given['length']}"><axis xyz="0 0 1"/></xacro:segment>
  </xacro:if>
  <xacro:unless value="${'a' in table}"><link name="never"/></xacro:unless>
  <link name="text_${'x' if length > 0 else 'y'}"/>
  <joint name="fixed" type="fixed"><parent link="base"/><child link="text_x"/></joint>
</robot>"""
LINK = """<robot xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:macro name="segment" params="name parent length:=1 *axis upper:=^|${pi}">
    <link name="${name}"/>
    <joint name="${name}_joint" type="revolute"><parent link="${parent}"/><child link="${name}"/>
      <origin xyz="0 0 ${length}"/><xacro:insert_block name="axis"/>
      <limit lower="${-pi}" upper="${radians(90)}"/></joint>
  </xacro:macro>
</robot>"""
VALUES = "length: 0.5\nnames: [a, b]\nangle: !degrees 90\n"


def use(robot: Robot) -> None:
    """What everybody does with a robot once it is read."""
    robot.reach()
    robot.link_frames({})
    points = keypoints.joint_keypoints(robot)
    keypoints.skeleton(robot, points)
    assert Robot.from_dict(robot.to_dict()).links == robot.links
    files: dict[str, mesh_reader.MeshData] = {}
    for visual in robot.visuals[:20]:
        mesh_reader.shape(visual, files)
    settings = completion.complete(Settings(), robot)
    validation.check(settings)
    settings.scene_model().sample(np.random.default_rng(0))


def stl() -> bytes:
    """A box of millimetres."""
    return bytes(trimesh.creation.box(extents=(100, 50, 200)).export(file_type="stl"))


class Urdf:
    """``robot.path`` of settings, *Load URDF…*: the robot with its meshes."""

    def __init__(self, scratch: Path) -> None:
        del scratch

    def seeds(self) -> Sequence[Seed]:
        files = {
            "arm/urdf/arm.urdf": URDF.encode(), "arm/urdf/meshes/a.stl": stl(), "arm/meshes/a.stl": stl(),
            "arm/package.xml": PACKAGE.encode(), "arm/urdf/skin.png": shapes.PIXEL,
        }  # fmt: skip
        return [Seed("arm/urdf/arm.urdf", files, ("arm/urdf/arm.urdf",) * 8 + ("arm/package.xml",))]

    def attempt(self, entry: Path) -> None:
        packages_in(entry.parent.parent)
        use(load_urdf(entry))


class Xacro:
    """A robot as a xacro file, with what it includes."""

    def __init__(self, scratch: Path) -> None:
        del scratch

    def seeds(self) -> Sequence[Seed]:
        files = {
            "arm/arm.urdf.xacro": XACRO,
            "arm/link.xacro": LINK,
            "arm/values.yaml": VALUES,
            "arm/package.xml": PACKAGE,
        }
        return [Seed("arm/arm.urdf.xacro", {k: v.encode() for k, v in files.items()})]

    def attempt(self, entry: Path) -> None:
        use(load_urdf(entry, arguments={"count": "2"}))


class Meshes:
    """One mesh file of each kind, with what lies beside it."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch / "meshes"

    def seeds(self) -> Sequence[Seed]:
        def in_folder(name: str) -> Path:
            folder = self._scratch / name
            folder.mkdir(parents=True)
            (folder / "skin.png").write_bytes(shapes.PIXEL)
            return folder

        dae = in_folder("dae")
        shapes.collada(dae)
        for binary, name in ((True, "glb"), (False, "gltf")):
            shapes.gltf(in_folder(name), binary)
        box = trimesh.creation.box(extents=(1, 2, 3))
        text = box.export(file_type="stl_ascii")
        ply = box.export(file_type="ply")
        obj = {"part.obj": shapes.OBJ.encode(), "look.mtl": shapes.MTL.format(image="skin.png").encode()}
        return [
            Seed("part.dae", contents(dae), ("part.dae",)),
            Seed("part.glb", contents(self._scratch / "glb"), ("part.glb",)),
            Seed("part.gltf", contents(self._scratch / "gltf"), ("part.gltf", "part.gltf", "part.bin")),
            Seed("part.obj", {**obj, "skin.png": shapes.PIXEL}, ("part.obj", "part.obj", "look.mtl")),
            Seed("part.stl", {"part.stl": stl()}),
            Seed("part.stl", {"part.stl": text if isinstance(text, bytes) else text.encode()}),
            Seed("part.ply", {"part.ply": ply}, valid=False),
        ]

    def attempt(self, entry: Path) -> None:
        mesh = mesh_reader.shape(Visual("a", "mesh", as_matrix(np.eye(4)), (1.0, 1.0, 1.0), str(entry)))
        assert np.isfinite(mesh.vertices).all()
        if len(mesh.faces):
            assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
            assert mesh.surface_of.min() >= 0 and mesh.surface_of.max() < len(mesh.surfaces)


class SettingsFiles:
    """``train SETTINGS.toml`` and ``render SETTINGS.toml``, as far as nothing is started."""

    def __init__(self, scratch: Path) -> None:
        self._path = scratch / "settings.toml"

    def seeds(self) -> Sequence[Seed]:
        own = """[robot]
kind = "urdf"
path = "arm/arm.urdf"
packages = { arm = "arm" }

[[variables]]
name = "camera/distance"
low = 1.0
high = 2.5
bins = 6
unit = "m"

[[variables]]
name = "custom/fan"
path = 'objects["Fan"].rotation_euler[2]'
low = 0.0
high = 6.28

[scene]
preset = "photographs"

[augmentation]
backgrounds = "backgrounds"

[training]
minutes = 60.0
epochs = 0
"""
        robot = {"arm/arm.urdf": URDF.encode(), "arm/meshes/a.stl": stl(), "arm/skin.png": shapes.PIXEL}
        grey = self._path.with_name("grey.jpg")
        Image.new("RGB", (8, 8), "grey").save(grey)
        photographs = {f"backgrounds/{t}/a.jpg": grey.read_bytes() for t in ("indoor", "outdoor")}
        settings = Settings()
        settings = completion.complete(settings, *completion.load_robots(settings))
        toml_file.save(settings, self._path)
        whole = self._path.read_bytes()
        return [
            Seed("settings.toml", {"settings.toml": own.encode(), **robot, **photographs}, ("settings.toml",)),
            Seed("settings.toml", {"settings.toml": whole}),
        ]

    def attempt(self, entry: Path) -> None:
        settings = toml_file.load(entry)
        if settings.robot.kind != "armature":
            settings = completion.complete(settings, *completion.load_robots(settings))
        validation.check(settings)
        toml_file.save(settings, self._path)
        assert toml_file.load(self._path) == settings
        settings.scene_model().sample(np.random.default_rng(0))
