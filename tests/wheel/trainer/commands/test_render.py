# SPDX-License-Identifier: GPL-3.0-or-later
"""``render`` with a real Blender: the same bits from any number of workers, labels that fit, robots of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from PIL import Image
from robot_keypoints.addon.robot import rig
from robot_keypoints.core.camera.intrinsics import Intrinsics
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, SceneSettings, Settings
from robot_keypoints.core.settings.toml_file import load, save

SMALL = RenderSettings(width=64, height=48, samples=1)


def render(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of a ``render`` of its own."""
    line = [sys.executable, str(LAUNCHER), "cli", "render", *map(str, arguments)]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def pictures(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "images").iterdir())}


def label(folder: Path, index: int) -> dict[str, Any]:
    return dict(json.loads((folder / "labels" / f"{index:06d}.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two built-in robots side by side, with masks, and everything varying."""
    path = tmp_path_factory.mktemp("source") / "settings.toml"
    second = RobotSettings(name="second", position=(0.6, 0.8, 0.0), yaw=1.0)
    scene = SceneSettings(preset="photographs")
    save(
        Settings(others=(second,), render=RenderSettings(width=64, height=48, samples=1, masks=True), scene=scene), path
    )
    return path


@pytest.fixture(scope="module")
def data(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that one worker made."""
    out = tmp_path_factory.mktemp("data") / "set"
    code, errors = render(source, "--count", 9, "--format", "coco", "--out", out, "--workers", 1)
    assert code == 0, errors
    return out


def test_the_same_seed_makes_the_same_bits_with_any_number_of_workers(source: Path, data: Path, tmp_path: Path) -> None:
    code, errors = render(source, "--count", 9, "--format", "coco", "--out", tmp_path / "set", "--workers", 3)
    assert code == 0, errors
    assert pictures(tmp_path / "set") == pictures(data)
    assert len(set(pictures(data).values())) == 9
    for i in range(9):
        assert label(tmp_path / "set", i) == label(data, i)
        masks = [(folder / "masks" / f"{i:06d}.png").read_bytes() for folder in (tmp_path / "set", data)]
        assert masks[0] == masks[1]


def test_labels_fit_one_another(data: Path) -> None:
    """Pixels from link frames and camera; frames and base from the joints, by the robot's own kinematics."""
    robot = load_urdf(builtin_urdf())
    varied = 0
    for i in range(9):
        document = label(data, i)
        (fx, _, cx), (_, fy, cy), _ = document["camera_matrix"]
        k1, k2, p1, p2, k3 = document["distortion"]
        camera = Intrinsics(document["width"], document["height"], fx, fy, cx, cy, (k1, k2, p1, p2, k3))
        varied += k1 != 0
        assert [n["robot"] for n in document["instances"]] == ["", "second"]
        assert [n["kind"] for n in document["instances"]] == [robot.name] * 2
        for instance in document["instances"]:
            values = document["hidden"]["values"]
            prefix = f"joint/{instance['robot']}/" if instance["robot"] else "joint/"
            joints = {j.name: values[prefix + j.name] for j in robot.moving_joints}
            assert instance["joints"] == pytest.approx(joints, abs=1e-6)
            base = np.array(instance["T_cam_base"])
            for link, frame in robot.link_frames(joints).items():
                np.testing.assert_allclose(instance["T_cam_link"][link], base @ frame, atol=1e-5)
            points = [k for k in instance["keypoints"] if k["uv"] is not None]
            pixels, _ = camera.project([k["xyz"] for k in points])
            np.testing.assert_allclose(pixels, [k["uv"] for k in points], atol=0.02)
    assert varied, "no image of the preset 'photographs' has a distorting lens"


def test_masks_tell_the_links_apart(data: Path) -> None:
    document = json.loads((data / "annotations.json").read_text(encoding="utf-8"))
    links = {(entry["robot"], entry["link"]): entry["value"] for entry in document["info"]["links"]}
    assert len(links) == 2 * len(load_urdf(builtin_urdf()).links)
    seen = set()
    for path in (data / "masks").iterdir():
        with Image.open(path) as picture:
            seen |= set(np.unique(np.asarray(picture)).tolist())
    assert seen <= {0, *links.values()}
    for robot in ("", "second"):
        assert len({v for (r, _), v in links.items() if r == robot} & seen) >= 3


def test_an_armature_of_the_users_own_needs_nothing_else(tmp_path: Path) -> None:
    """A panel's scene, or any .blend: what the settings leave out is filled in by the scene."""
    armature = rig.build(bpy.context.scene, load_urdf(builtin_urdf()))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    save(
        Settings(robot=RobotSettings("armature", "scene.blend", armature.name), render=SMALL),
        tmp_path / "settings.toml",
    )
    text = (tmp_path / "settings.toml").read_text(encoding="utf-8")
    assert '"scene.blend"' in text, "the path must be relative to try this"
    sheet, out = tmp_path / "sheet.png", tmp_path / "set"
    code, errors = render(tmp_path, "--count", 4, "--format", "ndds", "--out", out, "--sheet", sheet, "--workers", 1)
    assert code == 0, errors
    settings = load(out / "settings.toml")
    assert [k.name for k in settings.keypoints][:2] == ["shoulder_pan", "shoulder_lift"]
    assert {"joint/elbow_joint", "camera/azimuth"} <= {v.name for v in settings.variables}
    document = json.loads((out / "000003.json").read_text(encoding="utf-8"))
    assert document["objects"][0]["class"] == "ur10_simple"
    with Image.open(sheet) as picture:
        assert picture.width > 600


def test_a_scene_without_the_robot_is_one_sentence(tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), copy=True)
    save(Settings(robot=RobotSettings("armature", "scene.blend", "Arm"), render=SMALL), tmp_path / "settings.toml")
    code, errors = render(tmp_path, "--sheet", tmp_path / "sheet.png")
    assert code == 2 and errors.splitlines()[-1].startswith("error: There is no armature 'Arm'")
    assert "Traceback" not in errors and not (tmp_path / "sheet.png").exists()
