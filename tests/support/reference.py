# SPDX-License-Identifier: GPL-3.0-or-later
"""What a robot's links and shapes must be, by libraries that the project itself does not use for it."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pinocchio
import trimesh
from scipy.spatial.transform import Rotation

ROBOTS = Path(sysconfig.get_path("purelib")) / "cmeel.prefix/share/example-robot-data/robots"
"""The package ``example-robot-data``: about seventy real robots."""
PACKAGE = "package://example-robot-data/robots/"

REFUSED = {
    "ur_description/urdf/ur3.urdf": "describes no links",
    "romeo_description/urdf/romeo_laas_small.urdf": "None of the 20 meshes",
}
"""What can't be loaded, and why: an empty shell, and one whose meshes are in no package at all."""


def robots() -> list[Path]:
    """All URDF files of the package that can be loaded."""
    found = sorted(ROBOTS.rglob("*.urdf"))
    assert len(found) > 60, "example-robot-data is not installed: make test installs it"
    return [path for path in found if str(path.relative_to(ROBOTS)) not in REFUSED]


def label(path: Path) -> str:
    """A robot's short name for a test's id."""
    return f"{path.parts[-3].removesuffix('_description')}-{path.stem}"


def random_poses(robot: Any, rng: np.random.Generator, count: int) -> list[dict[str, float]]:
    """Positions of all joints within their limits; in every other pose many stand at a limit, or at or close to a
    multiple of 90°, where angles are hard to tell from a matrix."""
    found = []
    for number in range(count):
        pose = {}
        for joint in robot.moving_joints:
            value = rng.uniform(joint.lower, joint.upper)
            if number % 2 and rng.random() < 0.7:
                right = np.pi / 2 * rng.integers(-2, 3) + rng.choice([0.0, 1e-6, 3e-5, -3e-5])
                value = rng.choice([joint.lower, joint.upper, right, right])
            pose[joint.name] = float(np.clip(value, joint.lower, joint.upper))
        found.append(pose)
    return found


class Kinematics:
    """Link frames by pinocchio."""

    def __init__(self, urdf: Path) -> None:
        root = ElementTree.fromstring(_without_prefixes(urdf.read_text(encoding="utf-8")))
        for limit in root.iterfind("joint/limit"):  # which its parser insists on
            limit.attrib = {"effort": "0", "velocity": "0", **limit.attrib}
        for link in root.iterfind("link"):
            for shape in [*link.findall("visual"), *link.findall("collision")]:
                link.remove(shape)
        self.model = pinocchio.buildModelFromXML(ElementTree.tostring(root, encoding="unicode"))
        self.data = self.model.createData()
        self.mimics = {}
        for joint in root.findall("joint"):
            mimic = joint.find("mimic")
            if mimic is not None:
                self.mimics[joint.get("name")] = (
                    mimic.get("joint"), float(mimic.get("multiplier", 1)), float(mimic.get("offset", 0)),
                )  # fmt: skip

    def frames(self, values: Mapping[str, float]) -> dict[str, np.ndarray]:
        """``T_root_link`` of every link; ``values`` by the names of our joints (``JOINT/x`` for parts of one)."""
        q = pinocchio.neutral(self.model)
        for index in range(1, self.model.njoints):
            joint, name = self.model.joints[index], self.model.names[index]
            at = joint.idx_q
            if joint.nq == 1:
                q[at] = self._value(name, values)
            elif joint.nq == 2:
                angle = self._value(name, values)
                q[at : at + 2] = np.cos(angle), np.sin(angle)
            elif joint.nq == 4:
                x, y, angle = (values.get(f"{name}/{part}", 0.0) for part in ("x", "y", "rz"))
                q[at : at + 4] = x, y, np.cos(angle), np.sin(angle)
            else:
                q[at : at + 3] = [values.get(f"{name}/{part}", 0.0) for part in "xyz"]
                turns = [values.get(f"{name}/{part}", 0.0) for part in ("rz", "ry", "rx")]
                q[at + 3 : at + 7] = Rotation.from_euler("ZYX", turns).as_quat()
        pinocchio.framesForwardKinematics(self.model, self.data, q)
        return {
            frame.name: self.data.oMf[i].homogeneous
            for i, frame in enumerate(self.model.frames)
            if frame.type == pinocchio.BODY
        }

    def _value(self, name: str, values: Mapping[str, float]) -> float:
        leader, multiplier, offset = self.mimics.get(name, (None, 0.0, 0.0))
        if leader is not None and self.model.existJointName(leader):
            return multiplier * self._value(leader, values) + offset
        return values.get(name, 0.0)


def largest_difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """How far two transforms are apart: metres and radians."""
    turn = found[:3, :3].T @ expected[:3, :3]
    # From the sine: the cosine says nothing about small angles.
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    angle = np.arctan2(sine, (np.trace(turn) - 1) / 2)
    return float(np.linalg.norm(found[:3, 3] - expected[:3, 3])), float(angle)


def visual_meshes(urdf: Path) -> list[tuple[str, np.ndarray]]:
    """Link and vertices ``(N, 3)`` in its frame of every visual that is a mesh, by trimesh alone; of the
    collision shapes where no link has a visual."""
    found = []
    root = ElementTree.fromstring(_without_prefixes(urdf.read_text(encoding="utf-8")))
    kind = "collision" if root.find("link/visual") is None else "visual"
    for link in root.findall("link"):
        for visual in link.findall(kind):
            mesh = visual.find("geometry/mesh")
            if mesh is None:
                continue
            path = ROBOTS / re.sub(r"^package:/+example-robot-data/robots/", "", mesh.get("filename", ""))
            vertices = _vertices(path) * np.array([float(x) for x in mesh.get("scale", "1 1 1").split()])
            origin = visual.find("origin")
            xyz, rpy = np.zeros(3), np.zeros(3)
            if origin is not None:
                xyz, rpy = (np.array([float(x) for x in origin.get(k, "0 0 0").split()]) for k in ("xyz", "rpy"))
            found.append((link.get("name"), Rotation.from_euler("xyz", rpy).apply(vertices) + xyz))
    return found


@cache
def _vertices(path: Path) -> np.ndarray:
    data = path.read_bytes()
    if path.suffix.lower() == ".dae":  # trimesh leaves out what refers to a material that is broken
        data = re.sub(rb"<bind_material>.*?</bind_material>", b"", data, flags=re.DOTALL)
    scene = trimesh.load_scene(BytesIO(data), file_type=path.suffix[1:].lower(), process=False)
    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if isinstance(geometry, trimesh.Trimesh):
            used = np.unique(geometry.faces)
            parts.append(geometry.vertices[used] @ matrix[:3, :3].T + matrix[:3, 3])
    return np.concatenate(parts)


def _without_prefixes(text: str) -> str:
    return re.sub(r"<(/?)\w+:", r"<\1", text)
