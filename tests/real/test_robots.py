# SPDX-License-Identifier: GPL-3.0-or-later
"""Robots stand in every Blender as other libraries say, to a hundredth of a millimetre.

A handful of very different ones; KEYPOINTS_ROBOTS=all takes every robot of ``example-robot-data``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from blenders import RealBlender
from reference import ROBOTS, Kinematics, label, random_poses, robots, visual_meshes
from robot_keypoints.core.robot.urdf_reader import load_urdf

INSIDE = Path(__file__).resolve().parent / "inside"
POSES = 50
HANDFUL = (
    "ur_description/urdf/ur10_robot.urdf",  # Collada
    "panda_description/urdf/panda.urdf",  # limits beyond half a turn, slides, a follower
    "anymal_c_simple_description/urdf/anymal.urdf",  # textures
    "romeo_description/urdf/romeo.urdf",  # hands of followers
    "so_arm_description/urdf/so101.urdf",  # STL
)
FLOATING = "talos_data/robots/talos_reduced.urdf"
"""Gets a floating base; has mirrored meshes."""


def floating(urdf: Path, folder: Path) -> Path:
    """A robot's description with a base that can go and turn anywhere."""
    text = urdf.read_text(encoding="utf-8")
    root = load_urdf(urdf).root
    joint = f'<joint name="free" type="floating"><parent link="world"/><child link="{root}"/></joint>'
    path = folder / f"floating_{urdf.name}"
    path.write_text(re.sub(r"</robot>\s*$", f'<link name="world"/>{joint}</robot>', text), encoding="utf-8")
    return path


def order(urdf: Path, name: str, folder: Path) -> dict[str, object]:
    """What the script inside Blender has to do, and what it must find."""
    packages = {"example-robot-data": str(ROBOTS.parent)}
    robot, kinematics = load_urdf(urdf, packages), Kinematics(urdf)
    rng = np.random.default_rng(11)
    joints = robot.moving_joints
    chosen = random_poses(robot, rng, POSES)
    poses = np.array([[pose[j.name] for j in joints] for pose in chosen]).reshape(POSES, len(joints))
    truth = [kinematics.frames(pose) for pose in chosen]
    links = [n for n in robot.links if n in truth[0]]
    meshes = visual_meshes(urdf)
    np.savez(
        folder / f"{name}.npz",
        joints=np.array([j.name for j in joints], dtype=str), poses=poses, links=np.array(links),
        frames=np.array([[t[n] for n in links] for t in truth]),
        mesh_links=np.array([link for link, _ in meshes], dtype=str),
        **{f"mesh_{i}": vertices for i, (_, vertices) in enumerate(meshes)},
    )  # fmt: skip
    return {"name": name, "urdf": str(urdf), "packages": packages, "truth": str(folder / f"{name}.npz")}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robots")
    chosen = robots() if os.environ.get("KEYPOINTS_ROBOTS") == "all" else [ROBOTS / name for name in HANDFUL]
    found = [order(path, label(path), folder) for path in chosen]
    found.append(order(floating(ROBOTS / FLOATING, folder), "floating", folder))
    (folder / "orders.json").write_text(json.dumps(found), encoding="utf-8")
    return folder / "orders.json"


def test_they_stand_as_other_libraries_say(
    blender: RealBlender, archive: Path, home: Path, tmp_path: Path, orders: Path, artefacts: Path
) -> None:
    blender.install(home, archive)
    result = artefacts / "result.json"
    blender.run(
        home, "--background", "--python-exit-code", "1", "--python", str(INSIDE / "robots.py"), "--", str(orders),
        str(result), timeout=900,
    )  # fmt: skip
    found = json.loads(result.read_text(encoding="utf-8"))
    assert len(found) == 1 + len(json.loads(orders.read_text(encoding="utf-8")))
    for name, one in found.items():
        if name != "version":
            assert one["metres"] < 1e-5 and one["radians"] < 1e-5 and one["surface"] < 1e-5, f"{name}: {one}"
            assert not one["notes"], f"{name}: {one['notes']}"
    assert len(found["anymal_c_simple-anymal"]["textures"]) > 10
    assert found["ur-ur10_robot"]["triangles"] > 100_000


def test_bones_of_a_users_own_armature_are_joints(
    blender: RealBlender, archive: Path, home: Path, tmp_path: Path
) -> None:
    blender.install(home, archive)
    result = tmp_path / "result.json"
    blender.run(
        home, "--background", "--python-exit-code", "1", "--python", str(INSIDE / "bones.py"), "--", str(result)
    )
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["at first"] == {"upper": [2, False, -1.0, 0.5], "lower": [0, False, -3.1416, 3.1416]}
    assert found["marked"] == {"lower": [0, False, -3.1416, 3.1416]}
    assert found["edited"] == {"upper": [1, True, -0.25, 0.5], "lower": [0, False, -3.1416, 3.1416]}
    assert found["variables"] == {"joint/upper": [-0.25, 0.5], "joint/lower": [-3.1416, 3.1416]}
    assert found["reopened"] == found["edited"]
    assert found["moved"] == pytest.approx(0.3, abs=1e-6)
