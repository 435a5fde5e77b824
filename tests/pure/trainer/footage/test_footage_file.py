# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage with times: joint logs, videos, clocks that differ; what is refused, and how."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import marker_footage as recordings
import numpy as np
import pytest
from marker_footage import CAMERA, FLANGE, JOINTS, MIDDLE, UR10, Floats, apart, checkerboard, frames_at
from PIL import Image
from robot_keypoints.core.camera.intrinsics import invert
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.footage.calibration import calibrate
from robot_keypoints.trainer.footage.footage_file import load_footage
from robot_keypoints.trainer.footage.joint_log import read_joint_log
from robot_keypoints.trainer.footage.marker_detector import Detection, board_points
from robot_keypoints.trainer.footage.marker_quality import observation
from robot_keypoints.trainer.footage.recording import Footage, MarkerObservation

RATE = 10.0


def positions_at(time: float) -> dict[str, float]:
    """A robot that swings, each joint at its own pace."""
    return {n: v + 0.25 * math.sin((0.9 + 0.23 * k) * time + k) for k, (n, v) in enumerate(MIDDLE.items())}


def write_log(path: Path, seconds: float = 6.0, step: float = 0.02, factor: float = 1.0) -> Path:
    rows = [[t, *(factor * v for v in positions_at(t).values())] for t in np.arange(0, seconds, step)]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["time", *JOINTS], *rows])
    return path


def write_images(folder: Path, count: int = 30) -> None:
    folder.mkdir()
    for k in range(count):
        Image.new("L", (CAMERA.width, CAMERA.height), 90).save(folder / f"image_{k:03d}.png")


def footage_file(folder: Path, log: str = "", camera: str = "fps = 10.0") -> Path:
    lens = [CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy, *CAMERA.distortion]
    path = folder / "FOOTAGE.toml"
    path.write_text(
        f'robot = "{UR10}"\n[cameras.left]\nimages = "images"\nintrinsics = {lens}\n{camera}\n'
        f'[markers.board]\nkind = "checkerboard"\ninner_corners = [6, 5]\nsquare_m = 0.02\non = "{FLANGE}"\n'
        f'[joint_log]\nfile = "joints.csv"\n{log}\n'
    )
    return path


def seen_by_clock(footage: Footage, camera: Floats, mount: Floats, late: float) -> list[MarkerObservation]:
    """What the camera sees of the board where its clock is ``late`` seconds behind the log's."""
    marker, random = footage.markers[0], np.random.default_rng(0)
    points = board_points(marker)
    result = []
    for k, frame in enumerate(footage.frames):
        pose = camera @ frames_at(positions_at((frame.time or 0.0) + late))[FLANGE] @ mount
        corners, _ = CAMERA.project(points @ pose[:3, :3].T + pose[:3, 3])
        if CAMERA.contains(corners).all():
            corners = corners + random.normal(0, 0.05, corners.shape)
            found = observation(k, Detection(marker, corners, points, 1.0), 1.0, CAMERA)
            if found is not None:
                result.append(found)
    return result


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    write_log(tmp_path / "joints.csv")
    return tmp_path


def test_joints_are_read_between_two_samples(recorded: Path) -> None:
    footage = load_footage(footage_file(recorded, "clock_offset = 0.013"))
    assert footage.clock_offset == 0.013 and len(footage.frames) == 30
    frame = footage.frames[7]
    assert frame.time == pytest.approx(0.7)
    truth = positions_at(0.713)
    assert frame.positions is not None
    assert all(abs(frame.positions[n] - v) < 1e-4 for n, v in truth.items())


def test_the_clocks_offset_is_estimated(recorded: Path) -> None:
    footage = load_footage(footage_file(recorded, 'clock_offset = "estimate"'))
    mount = np.eye(4)
    mount[:3, :3] = cv2.Rodrigues(np.array([0.3, 1.4, 0.1]))[0]
    mount[:3, 3] = (0.06, 0.02, -0.03)
    at = frames_at(MIDDLE)[FLANGE] @ mount
    camera = invert(at @ recordings.looking_at(checkerboard().corners.mean(0), np.array([0, 0, -1.0]), 0.8))
    seen = seen_by_clock(footage, camera, mount, late=0.137)
    assert len(seen) > 12
    result = calibrate(footage, seen)
    assert result.clock is not None
    value, deviation = result.clock
    assert abs(value - 0.137) < 0.003 and 0 < deviation < 0.01
    assert result.footage.clock_offset == pytest.approx(value, abs=1e-5)
    assert apart(result.cameras["left"].pose, camera)[0] < 2
    # Without it the same images contradict the joints, or fit worse.
    taken = replace(footage, estimate_clock=False)
    try:
        worse = calibrate(taken, seen)
    except UserError:
        return
    assert np.median(worse.cameras["left"].reprojection) > 5 * np.median(result.cameras["left"].reprojection)


def test_columns_and_degrees(recorded: Path) -> None:
    write_log(recorded / "joints.csv", factor=180 / math.pi)
    text = (recorded / "joints.csv").read_text().replace(JOINTS[0], "q1")
    (recorded / "joints.csv").write_text(text)
    with pytest.raises(UserError, match="has no column for the joint"):
        load_footage(footage_file(recorded, 'unit = "degrees"'))
    footage = load_footage(footage_file(recorded, f'unit = "degrees"\ncolumns = {{q1 = "{JOINTS[0]}"}}'))
    positions = footage.frames[0].positions
    assert positions is not None and positions[JOINTS[0]] == pytest.approx(positions_at(0)[JOINTS[0]])
    with pytest.raises(UserError, match="which are degrees and not radians: set unit to degrees"):
        load_footage(footage_file(recorded, f'columns = {{q1 = "{JOINTS[0]}"}}'))


def test_a_log_that_ends_early_leaves_frames_out_and_says_so(recorded: Path) -> None:
    write_log(recorded / "joints.csv", seconds=2.0)
    footage = load_footage(footage_file(recorded))
    known = [f.positions is not None for f in footage.frames]
    assert known == [True] * 20 + [False] * 10
    mount = np.eye(4)
    mount[:3, :3] = cv2.Rodrigues(np.array([0.3, 1.4, 0.1]))[0]
    at = frames_at(MIDDLE)[FLANGE] @ mount
    camera = invert(at @ recordings.looking_at(checkerboard().corners.mean(0), np.array([0, 0, -1.0]), 0.9))
    result = calibrate(footage, seen_by_clock(footage, camera, mount, 0.0))
    assert "joint positions of 10 of 30 frames are not known" in result.warnings[0]
    assert apart(result.cameras["left"].pose, camera)[0] < 3


def test_a_log_of_another_time_is_refused(recorded: Path) -> None:
    with pytest.raises(UserError, match=r"runs from 0.000 s to .* and the images from 100.000 s"):
        load_footage(footage_file(recorded, camera="fps = 10.0\nstart = 100.0"))


def test_times_that_run_backwards_are_refused(recorded: Path) -> None:
    lines = (recorded / "joints.csv").read_text().splitlines()
    lines[5], lines[9] = lines[9], lines[5]
    (recorded / "joints.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"The times in .*joints.csv run backwards, from .* at sample 6"):
        load_footage(footage_file(recorded))
    write_log(recorded / "joints.csv")
    rows = ["file,time", *(f"image_{k:03d}.png,{(29 - k) / RATE}" for k in range(30))]
    (recorded / "times.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"The times of the camera left run backwards, from 2\.9 s of image_000"):
        load_footage(footage_file(recorded, camera='times = "times.csv"'))


def test_times_are_read_from_names_and_tables(recorded: Path) -> None:
    for k, path in enumerate(sorted((recorded / "images").iterdir())):
        path.rename(path.with_name(f"image_{k / RATE:.2f}.png"))
    by_name = load_footage(footage_file(recorded, camera='times = "name"'))
    assert [f.time for f in by_name.frames[:3]] == [0.0, 0.1, 0.2]
    (recorded / "times.csv").write_text("file,time\nimage_0.00.png,0.5\n")
    with pytest.raises(UserError, match=r"has no time of image_0.10.png: add it"):
        load_footage(footage_file(recorded, camera='times = "times.csv"'))


def test_a_video_has_its_own_times_and_one_without_frames_is_refused(recorded: Path) -> None:
    path = recorded / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (CAMERA.width, CAMERA.height))
    for k in range(12):
        writer.write(np.full((CAMERA.height, CAMERA.width, 3), 10 * k, np.uint8))
    writer.release()
    file = footage_file(recorded, camera="every = 3")
    file.write_text(file.read_text().replace('"images"', '"film.mp4"'))
    footage = load_footage(file)
    assert [(f.index, f.time) for f in footage.frames] == [(0, 0.0), (3, 0.15), (6, 0.3), (9, 0.45)]
    assert footage.cameras[0].size == (CAMERA.width, CAMERA.height)
    empty = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (CAMERA.width, CAMERA.height))
    empty.release()
    with pytest.raises(UserError, match=r"film.mp4 (is a video without frames|can't be read as a video)"):
        load_footage(file)


def test_json_logs(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([{"time": 0.1 * k, "joints": {"a": k, "b": -k}} for k in range(3)]))
    log = read_joint_log(path)
    assert log.names == ("a", "b") and log.positions[2].tolist() == [2, -2]
    path.write_text(json.dumps({"t": [0, 1], "a": [0.5, 0.6]}))
    assert read_joint_log(path).at(0.5) == {"a": pytest.approx(0.55)}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("log.csv", "time,a\n0,1\n1\n", "has 1 values in line 3, and 2 columns"),
        ("log.csv", "", "is empty"),
        ("log.csv", "when,a\n0,1\n", "has no column 'time' or 'timestamp' or 't' or 'stamp'"),
        ("log.csv", "time,a\n0,nan\n", "has a number in sample 1 that is not finite"),
        ("log.csv", "time,a\nnoon,1\n", "has a time that is no number of seconds"),
        ("log.csv", "time,a\n", "has no joint positions"),
        ("log.json", "[1, 2]", "is not a list of joint positions"),
        ("log.json", '[{"time": 0, "a": 1}, {"time": 1}]', "has no number for 'a' in every sample"),
        ("log.xlsx", "", "is no joint log that can be read"),
    ],
)
def test_logs_that_are_none(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_joint_log(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("files", "library", "sentence"),
    [
        ({"log.parquet": b"PAR1"}, "pyarrow", "needs pyarrow: pip install 'robot-keypoints[footage]'"),
        ({"bag/metadata.yaml": b""}, "rosbags", "needs rosbags: pip install 'robot-keypoints[footage]'"),
        ({"bag/other.txt": b""}, "", "is neither a LeRobot data set"),
    ],
)
def test_logs_that_need_another_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], library: str, sentence: str
) -> None:
    import sys

    for module in (library, f"{library}.highlevel"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    first: Any = next(iter(files)).split("/")[0]
    with pytest.raises(UserError) as caught:
        read_joint_log(tmp_path / first)
    assert sentence in str(caught.value)


def test_names_and_numbers_of_any_length_are_refused_in_one_sentence(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 2)
    write_log(tmp_path / "joints.csv")
    path = footage_file(tmp_path)
    whole = path.read_text()
    path.write_text(whole.replace(str(UR10), "a" * 5000))
    with pytest.raises(UserError, match="can't be looked up"):
        load_footage(path)
    (tmp_path / "camera.yaml").write_text("fx: " + "1" * 5001)
    head, _, rest = whole.partition("intrinsics = ")
    path.write_text(f'{head}intrinsics = "camera.yaml"\n{rest.partition(chr(10))[2]}')
    with pytest.raises(UserError, match="is not YAML"):
        load_footage(path)
