# SPDX-License-Identifier: GPL-3.0-or-later
"""``predict --joints-by-image``: one camera that rests is placed by all of its images, better than by any of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core.camera.intrinsics import Intrinsics, invert, orbit, transform
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.inference.predictor import Found, Predictor
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.model_file import ModelInfo

CAMERA = Intrinsics(640, 480, 610.0, 600.0, 322.0, 237.0)
ROBOT = load_urdf(builtin_urdf())
POINTS = keypoints.joint_keypoints(ROBOT)
JOINTS = [j.name for j in ROBOT.moving_joints]
POSE = invert(orbit(0.7, 0.4, 2.6, 0.1, (0.1, 0.0, 0.4)))
SHOTS = 8


class Fake:
    """A model that sees each image, which tells its number, with noise; in the last one all is wrong."""

    def __init__(self, angles: Sequence[dict[str, float]]) -> None:
        config = factory.NetworkConfig("light", len(POINTS), 1.0, width=8)
        names = tuple(k.name for k in POINTS)
        self.info = ModelInfo(config, 64, 48, names, (), ROBOT.to_dict(), places=tuple(POINTS))
        self._angles = angles

    def predict(self, images: Sequence[NDArray[np.uint8]], *_: object) -> list[list[Found]]:
        number = int(images[0][0, 0, 0])
        rng = np.random.default_rng(number)
        pixels, _ = CAMERA.project(
            transform(POSE, keypoints.positions(POINTS, {"": ROBOT.link_frames(self._angles[number])}))
        )
        pixels = pixels + rng.normal(0, 1.5, pixels.shape)
        if number == SHOTS - 1:
            pixels = rng.uniform(0, 400, pixels.shape)
        spread = ((2.25, 0.0), (0.0, 2.25))
        return [[Found(k.name, float(u), float(v), 0.9, spread) for k, (u, v) in zip(POINTS, pixels, strict=True)]]


@pytest.fixture
def angles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Of each of the images in the folder ``shots``, which the model knows."""
    rng = np.random.default_rng(5)
    result = [dict(zip(JOINTS, rng.uniform(-1.5, 1.5, len(JOINTS)).tolist(), strict=True)) for _ in range(SHOTS)]
    (tmp_path / "shots").mkdir()
    for n in range(SHOTS):
        Image.new("RGB", (640, 480), (n, n, n)).save(tmp_path / "shots" / f"{n}.png")
    monkeypatch.setattr(Predictor, "load", lambda *_: Fake(result))
    return result


def ask(folder: Path, *options: object) -> int:
    return cli.main(
        ["predict", "model.safetensors", str(folder / "shots"), "--camera", "610,600,322,237", *map(str, options)]
    )


def off(pose: dict[str, Any]) -> float:
    return float(np.abs(np.array(pose["T_cam_base"])[:3, 3] - POSE[:3, 3]).max())


def test_all_images_together_place_the_camera_better_than_each_does(
    tmp_path: Path, angles: list[dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "joints.json"
    file.write_text(json.dumps({f"{n}.png": a for n, a in enumerate(angles)}), encoding="utf-8")
    assert ask(tmp_path, "--joints-by-image", file, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    together, alone = document["pose"], [i["pose"] for i in document["images"]]
    assert together["status"] == "solved" and together["images"] == SHOTS
    assert together["keypoints"] == SHOTS * len(POINTS) and together["inliers"] <= (SHOTS - 1) * len(POINTS) + 1
    assert off(together) < 0.02 and off(together) < np.median([off(p) for p in alone if "T_cam_base" in p])
    deviation, own = (np.sqrt(np.diag(p["covariance"])[3:]).max() for p in (together, alone[0]))
    assert deviation < own
    assert ask(tmp_path, "--joints-by-image", file) == 0
    assert f"all {SHOTS} images together" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read"),
        ("[1]", "does not tell the joints of images"),
        ("{", "is not valid JSON"),
        ({}, "does not tell the joints of images"),
        ({"0.png": {"shoulder_pan_joint": "a"}}, "does not tell the joints of images"),
        ({"0.png": {"shoulder_pan_joint": 0.1}}, "for the image 0.png: give all joints"),
        ({"0.png": dict.fromkeys([*JOINTS, "arm"], 0.1)}, "has no joint 'arm'"),
        ({"0.png": dict.fromkeys(JOINTS, float("nan"))}, "finite"),
        ({"0.png": dict.fromkeys(JOINTS, 0.1)}, "says nothing of the image"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, angles: list[dict[str, float]], capsys: pytest.CaptureFixture[str], content: object, words: str
) -> None:
    file, out = tmp_path / "joints.json", tmp_path / "lines.jsonl"
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    assert ask(tmp_path, "--joints-by-image", file, "--out", out) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not out.exists()


def test_joints_are_given_in_one_way(tmp_path: Path, angles: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, "--joints-by-image", tmp_path / "a.json", "--joints", "a=1") == 2
    assert "give one of them" in capsys.readouterr().err


def test_the_camera_may_have_been_calibrated_with_larger_pictures(
    tmp_path: Path, angles: list[dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "joints.json"
    file.write_text(json.dumps({f"{n}.png": a for n, a in enumerate(angles)}), encoding="utf-8")
    poses = []
    for camera, more in (("610,600,322,237", []), ("1220,1200,644.5,474.5", ["--camera-size", "1280x960"])):
        command = ["predict", "model.safetensors", str(tmp_path / "shots"), "--joints-by-image", str(file), "--json"]
        assert cli.main([*command, "--camera", camera, *more]) == 0
        document = json.loads(capsys.readouterr().out)
        poses.append([np.array(p["T_cam_base"]) for p in (document["pose"], document["images"][0]["pose"])])
    np.testing.assert_allclose(poses[1], poses[0], atol=1e-6)
