# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers and keypoints at each moment: from two cameras, and from depth images, against what is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from marker_footage import CAMERA, FLANGE, JOINTS, ROBOT, Floats, Recorded, charuco, frames_at, record
from robot_keypoints.core.robot.keypoints import joint_keypoints
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.footage.calibration import Calibration, calibrate
from robot_keypoints.trainer.footage.footage_file import load_footage
from robot_keypoints.trainer.footage.marker_observing import observe_markers
from robot_keypoints.trainer.footage.model_keypoints import FrameKeypoints, ModelKeypoints
from robot_keypoints.trainer.footage.moment_places import keypoint_places, with_depths
from robot_keypoints.trainer.footage.triangulation import triangulate

RIGHT = np.eye(4)
RIGHT[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.5, 0.0]))[0]
RIGHT[:3, 3] = (-0.3, 0.0, 0.1)


def solved(file: Path) -> Calibration:
    return calibrate(*observe_markers(load_footage(file)))


def told(file: Path, out: Path) -> dict[str, Any]:
    assert cli.main(["calibrate", str(file), "--out", str(out)]) == 0
    places: dict[str, Any] = json.loads((out / "places.json").read_text())
    return places


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("pair"), charuco(), cameras=2, count=8)


@pytest.fixture
def single(tmp_path: Path) -> Recorded:
    """A ChArUco board before one camera, with true depths beside its images."""
    recorded = record(tmp_path / "single", charuco(), count=8)
    depths = recorded.file.parent / "depth"
    depths.mkdir()
    for k, positions in enumerate(recorded.poses):
        pose = recorded.cameras["cam1"] @ frames_at(positions)[FLANGE] @ recorded.mounts["board"]
        cv2.imwrite(str(depths / f"{k + 1:02d}.png"), np.rint(1000 * plane_depth(pose)).astype(np.uint16))
    document = recorded.document
    lens = {**document["cameras"]["cam1"], "images": "cam1_*.png", "depth": "depth/*.png"}
    joints = {f"cam1_{int(key):02d}": value for key, value in document["joints"].items()}
    recorded.save(cameras={"cam1": lens}, frames=None, joints=joints)
    return recorded


def plane_depth(pose: Floats) -> Floats:
    """z in metres of a marker's plane at every pixel."""
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    straight = CAMERA.undistort(np.stack([u.ravel(), v.ravel()], 1)) - (CAMERA.cx, CAMERA.cy)
    rays = np.concatenate([straight / (CAMERA.fx, CAMERA.fy), np.ones((u.size, 1))], 1)
    depth = np.clip((pose[:3, 2] @ pose[:3, 3]) / (rays @ pose[:3, 2]), 0.0, 60.0)
    return np.asarray(depth.reshape(CAMERA.height, CAMERA.width))


def test_two_cameras_at_once_place_the_marker(
    pair: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = told(pair.file, tmp_path / "out")
    assert "markers placed by several cameras at once 8 times" in capsys.readouterr().out
    assert [p["moment"] for p in places["markers"]] == [str(k + 1) for k in range(8)]
    for positions, place in zip(pair.poses, places["markers"], strict=True):
        assert place["cameras"] == ["cam1", "cam2"] and not place["depth"]
        truth = (frames_at(positions)[FLANGE] @ pair.mounts["board"])[:3, 3]
        assert np.linalg.norm(np.array(place["T_base_marker"])[:3, 3] - truth) < 0.001
    assert places["keypoints"] == []


def test_a_depth_image_tells_the_distance(single: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = told(single.file, tmp_path / "out")
    assert "markers placed by depth images 8 times" in capsys.readouterr().out
    single.document["cameras"]["cam1"].pop("depth")
    single.save()
    without = told(single.file, tmp_path / "without")
    errors = []
    for found in (places, without):
        assert {p["depth"] for p in found["markers"]} == {found is places}
        errors.append([
            np.linalg.norm(np.array(p["T_base_marker"])[:3, 3] - (frames_at(q)[FLANGE] @ single.mounts["board"])[:3, 3])
            for p, q in zip(found["markers"], single.poses, strict=True)
        ])  # fmt: skip
        assert max(errors[-1]) < 0.003
    spread = [np.trace(np.array(p["covariance"])[3:, 3:]) for p in places["markers"]]
    assert all(s < np.trace(np.array(p["covariance"])[3:, 3:]) for s, p in zip(spread, without["markers"], strict=True))


def test_labels_go_by_depth_too(single: Recorded) -> None:
    """Depths that say 20 mm more move the pose that the labels go by away from the camera."""
    before = solved(single.file)
    for file in sorted((single.file.parent / "depth").glob("*.png")):
        values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), values + np.uint16(20))
    after = with_depths(before)
    for one, two in zip(before.observations, after.observations, strict=True):
        assert two.pose[2, 3] > one.pose[2, 3] + 1e-5
        assert two.covariance[5, 5] < one.covariance[5, 5]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((30, 40), 500, np.uint16), "has 40 x 30 pixels, and the images of the camera cam1 480 x 360"),
        (np.full((CAMERA.height, CAMERA.width), 50, np.uint8), "is no image of one channel of 16 bits"),
    ],
)
def test_depths_of_no_use_are_refused_and_nothing_is_written(
    single: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str], values: np.ndarray, sentence: str
) -> None:
    cv2.imwrite(str(single.file.parent / "depth" / "03.png"), values)
    for command in ("calibrate", "label"):
        assert cli.main([command, str(single.file), "--out", str(tmp_path / "out")]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_triangulated_points_are_off_as_far_as_said() -> None:
    random = np.random.default_rng(0)
    squares = []
    for _ in range(60):
        point = np.array([*random.uniform(-0.15, 0.15, 2), random.uniform(0.7, 1.2)])
        poses = [np.eye(4), RIGHT]
        covariances = np.stack([np.diag(random.uniform(0.3, 2.0, 2) ** 2) for _ in poses])
        pixels = np.stack([CAMERA.project(p[:3, :3] @ point + p[:3, 3])[0][0] for p in poses])
        pixels += np.stack([random.normal(0, np.sqrt(np.diag(c))) for c in covariances])
        found = triangulate(poses, [CAMERA, CAMERA], pixels, covariances)
        assert found is not None
        error = found[0] - point
        squares.append(error @ np.linalg.solve(found[1], error))
    assert 2.2 < np.mean(squares) < 3.9  # chi-square with three degrees of freedom


def test_rays_that_are_parallel_tell_no_point() -> None:
    pixels = np.full((2, 2), 200.0)
    assert triangulate([np.eye(4), np.eye(4)], [CAMERA, CAMERA], pixels, np.stack([np.eye(2)] * 2)) is None


def test_a_models_keypoints_are_triangulated_where_two_cameras_are_sure(pair: Recorded) -> None:
    calibration = solved(pair.file)
    footage = calibration.footage
    keypoints = joint_keypoints(ROBOT)
    frames = []
    for k, frame in enumerate(footage.frames):
        assert frame.positions is not None and sorted(frame.positions) == sorted(JOINTS)
        links = frames_at(frame.positions)
        points = np.array([(links[p.frame] @ np.array([*p.offset, 1.0]))[:3] for p in keypoints])
        camera = pair.cameras[frame.camera]
        pixels, _ = CAMERA.project(points @ camera[:3, :3].T + camera[:3, 3])
        sure = CAMERA.contains(pixels) & (np.arange(len(keypoints)) != 5)
        frames.append(FrameKeypoints(k, points, np.nan_to_num(pixels), np.stack([np.eye(2)] * len(points)), sure))
    places = keypoint_places(calibration, ModelKeypoints(keypoints, tuple(frames)))
    assert {p.keypoint for p in places} >= {keypoints[-1].name} and keypoints[5].name not in {
        p.keypoint for p in places
    }
    for place in places:
        assert place.cameras == ("cam1", "cam2")
        assert place.apart < 0.002
        truth = next(
            frames[k].places[n] for k, f in enumerate(footage.frames) if f.moment == place.moment
            for n, p in enumerate(keypoints) if p.name == place.keypoint
        )  # fmt: skip
        assert np.linalg.norm(place.xyz - truth) < 0.002
    # What one camera alone is sure of has no place.
    alone = tuple(f for f in frames if footage.frames[f.frame].camera == "cam1")
    assert keypoint_places(calibration, ModelKeypoints(keypoints, alone)) == []
