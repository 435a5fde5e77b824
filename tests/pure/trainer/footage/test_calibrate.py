# SPDX-License-Identifier: GPL-3.0-or-later
"""``calibrate`` on computed photographs whose cameras, mounts and joints are known; one sentence for each mistake."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import marker_footage as recordings
import numpy as np
import pytest
import yaml
from marker_footage import CAMERA, Floats, Recorded, apart, aruco, charuco, record
from PIL import Image
from robot_keypoints.core.camera.intrinsics import invert
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.commands import calibrate as command, main as cli
from robot_keypoints.trainer.footage.calibration import Calibration, calibrate
from robot_keypoints.trainer.footage.calibration_files import quaternion
from robot_keypoints.trainer.footage.footage_file import load_footage
from robot_keypoints.trainer.footage.marker_observing import observe_markers
from robot_keypoints.trainer.footage.recording import Footage, MarkerObservation

Seen = tuple[MarkerObservation, ...]


def solved(file: Path, **options: Any) -> Calibration:
    return calibrate(*observe_markers(load_footage(file)), **options)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A checkerboard on the flange before one camera."""
    return record(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A ChArUco board before two cameras."""
    return record(tmp_path_factory.mktemp("pair"), charuco(), cameras=2, count=10)


@pytest.fixture(scope="module")
def board_seen(board: Recorded) -> tuple[Footage, Seen]:
    return observe_markers(load_footage(board.file))


@pytest.fixture(scope="module")
def pair_seen(pair: Recorded) -> tuple[Footage, Seen]:
    return observe_markers(load_footage(pair.file))


def copy(recorded: Recorded, **changes: Any) -> Path:
    """A footage file beside the images of a recording."""
    file = recorded.file.with_name("changed.json")
    return replace(recorded, file=file, document=dict(recorded.document)).save(**changes)


def deviations(pose: Floats, truth: Floats, covariance: Floats) -> Floats:
    """How many standard deviations the six numbers are off."""
    shift = truth @ invert(pose)
    off = np.array([*cv2.Rodrigues(shift[:3, :3])[0].ravel(), *shift[:3, 3]])
    return np.asarray(np.abs(off) / np.sqrt(np.diag(covariance)))


# ------------------------------------------------------------------------------------------------------ what it finds


def test_a_resting_camera_is_found_from_a_checkerboard(board: Recorded, board_seen: tuple[Footage, Seen]) -> None:
    result = calibrate(*board_seen)
    camera = result.cameras["cam1"]
    millimetres, degrees = apart(camera.pose, board.cameras["cam1"])
    assert millimetres < 0.3 and degrees < 0.05
    assert np.median(camera.reprojection) < 0.15 and not result.contradicting()
    assert deviations(camera.pose, board.cameras["cam1"], camera.covariance).max() < 6
    assert all(o.quality.high for o in result.observations)


def test_two_cameras_share_a_charuco_board_with_one_mount(pair: Recorded, pair_seen: tuple[Footage, Seen]) -> None:
    result = calibrate(*pair_seen)
    for name, truth in pair.cameras.items():
        millimetres, degrees = apart(result.cameras[name].pose, truth)
        assert millimetres < 0.3 and degrees < 0.05
    mount = result.footage.marker("board").mount
    assert mount is not None
    millimetres, degrees = apart(mount, pair.mounts["board"])
    assert millimetres < 0.3 and degrees < 0.1


@pytest.mark.parametrize("named", [True, False])
def test_an_apriltag_is_found_by_its_number_or_as_whichever_is_there(tmp_path: Path, named: bool) -> None:
    recorded = record(tmp_path, aruco(), count=10)
    if not named:
        table = dict(recorded.document["markers"]["board"])
        del table["id"]
        recorded.save(markers={"board": table})
    result = solved(recorded.file)
    millimetres, degrees = apart(result.cameras["cam1"].pose, recorded.cameras["cam1"])
    assert millimetres < 1.5 and degrees < 0.2
    assert [m.name for m in result.footage.markers] == ["board" if named else "board/7"]


def test_a_camera_on_the_flange_is_found_from_a_board_in_the_room(tmp_path: Path) -> None:
    recorded = record(tmp_path, in_hand=True)
    result = solved(recorded.file)
    camera = result.cameras["cam1"]
    assert camera.camera.link == recordings.FLANGE
    millimetres, degrees = apart(camera.pose, recorded.cameras["cam1"])
    assert millimetres < 0.5 and degrees < 0.05


def test_intrinsics_come_from_the_board_where_they_are_not_given(board: Recorded) -> None:
    result = solved(copy(board, cameras={"cam1": {}}))
    found = result.cameras["cam1"].camera.intrinsics
    assert found is not None
    assert abs(found.fx / CAMERA.fx - 1) < 0.015 and abs(found.cx - CAMERA.cx) < 6
    # A lens that is longer by a hundredth looks like a way that is.
    assert apart(result.cameras["cam1"].pose, board.cameras["cam1"])[0] < 10


def test_a_given_mount_is_kept(pair: Recorded, pair_seen: tuple[Footage, Seen]) -> None:
    table = {**pair.document["markers"]["board"], "mount": pair.mounts["board"].tolist()}
    result = calibrate(load_footage(copy(pair, markers={"board": table})), pair_seen[1])
    assert not result.mounts
    assert apart(result.cameras["cam2"].pose, pair.cameras["cam2"])[0] < 0.3


def test_records_that_belong_to_other_images_are_named(board: Recorded, board_seen: tuple[Footage, Seen]) -> None:
    joints = dict(board.document["joints"])
    joints["3"], joints["9"] = joints["9"], joints["3"]
    result = calibrate(load_footage(copy(board, joints=joints)), board_seen[1])
    assert result.contradicting() == ["cam1_03.png", "cam1_09.png"]
    assert apart(result.cameras["cam1"].pose, board.cameras["cam1"])[0] < 0.3
    reasons = [o.quality.reasons for o in result.observations if not o.quality.high]
    assert len(reasons) == 2 and all("pixels from where they have it" in r[0] for r in reasons)


def test_a_few_records_here_and_there_that_belong_to_other_images_are_no_moved_camera(tmp_path: Path) -> None:
    recorded = record(tmp_path, count=20, turn=0.5)
    joints, wrong = dict(recorded.document["joints"]), ["3", "8", "14", "19"]
    joints |= {k: joints[other] for k, other in zip(wrong, ["8", "14", "19", "3"], strict=True)}
    result = solved(recorded.save(joints=joints))
    assert result.contradicting() == [f"cam1_{int(k):02d}.png" for k in wrong]
    assert apart(result.cameras["cam1"].pose, recorded.cameras["cam1"])[0] < 0.3


def test_offsets_of_joints_are_told_where_the_images_tell_them(pair: Recorded, pair_seen: tuple[Footage, Seen]) -> None:
    elbow = recordings.JOINTS[2]
    joints = {k: {**p, elbow: p[elbow] + math.radians(2)} for k, p in pair.document["joints"].items()}
    footage = load_footage(copy(pair, joints=joints))
    result = calibrate(footage, pair_seen[1], offsets=dict.fromkeys(recordings.JOINTS, math.radians(2)))
    value, deviation = result.offsets[elbow]
    assert abs(math.degrees(value) + 2) < 0.1 and math.degrees(deviation) < 0.3
    # A turn of the first joint is one of the camera as well: its offset stays what was known before.
    value, deviation = result.offsets[recordings.JOINTS[0]]
    assert abs(math.degrees(value)) < 0.1 and 1.9 < math.degrees(deviation) < 2.1
    # Joints that are taken as true leave the same images worse explained.
    taken = calibrate(footage, pair_seen[1])
    assert np.median(taken.cameras["cam1"].reprojection) > 3 * np.median(result.cameras["cam1"].reprojection)


def test_blurred_images_are_left_out_with_a_reason(tmp_path: Path) -> None:
    recorded = record(tmp_path, count=12, edit=lambda k, _, pose: (pose, 4.5 if k in (2, 5) else 0.0))
    result = solved(recorded.file)
    left_out = {
        result.footage.frames[o.frame].name: o.quality.reasons for o in result.observations if not o.quality.high
    }
    assert set(left_out) == {"cam1_02.png", "cam1_05.png"}
    assert all("blurred" in r[0] for r in left_out.values())
    assert apart(result.cameras["cam1"].pose, recorded.cameras["cam1"])[0] < 0.4


def test_standard_deviations_tell_how_far_off_joints_make_it(board: Recorded, board_seen: tuple[Footage, Seen]) -> None:
    """Joints with random errors: over many draws the squared errors over variances have the mean of chi-square."""
    footage, observations = board_seen
    random = np.random.default_rng(4)
    squares = []
    for _ in range(8):
        frames = tuple(
            replace(f, positions={n: v + random.normal(0, math.radians(0.1)) for n, v in (f.positions or {}).items()})
            for f in footage.frames
        )
        camera = calibrate(replace(footage, frames=frames), observations).cameras["cam1"]
        squares.append(deviations(camera.pose, board.cameras["cam1"], camera.covariance) ** 2)
    assert 0.3 < float(np.mean(squares)) < 2.5


# ------------------------------------------------------------------------------------------------------------- output


def test_the_command_tells_and_writes(pair: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["calibrate", str(pair.file), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "calibration.json").read_text())
    pose = np.array(told["cameras"]["cam2"]["T_cam_base"])
    assert apart(pose, pair.cameras["cam2"])[0] < 0.3
    spread = told["cameras"]["cam2"]["standard_deviations"]
    assert 0 < spread["leave_one_out_mm"] < 1 and len(spread["position_mm"]) == 3
    info = yaml.safe_load((out / "cam2_camera_info.yaml").read_text())
    assert info["distortion_model"] == "plumb_bob" and info["camera_matrix"]["data"][0] == CAMERA.fx
    line = next(x for x in (out / "static_transforms.sh").read_text().splitlines() if "cam2_optical_frame" in x)
    words = line.split()
    value = {w[2:]: float(words[k + 1]) for k, w in enumerate(words) if w.startswith(("--x", "--y", "--z", "--q"))}
    place = invert(pose)
    assert np.allclose([value[n] for n in "xyz"], place[:3, 3], atol=1e-6)
    x, y, z, w = (value[f"q{n}"] for n in "xyzw")
    assert np.allclose([2 * (x * y + w * z), 2 * (x * z - w * y)], place[1:, :1].ravel()[:2], atol=1e-6)
    # Once more into the same folder: refused, and nothing is overwritten.
    before = (out / "calibration.json").read_bytes()
    assert cli.main(["calibrate", str(pair.file), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / "calibration.json").read_bytes() == before


def test_the_text_names_what_matters(board: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate", str(board.file)]) == 0
    text = capsys.readouterr().out
    for part in (
        "cam1: T_cam_base from 14 images",
        "standard deviations",
        "without one moment",
        "marker board on ee_link",
    ):
        assert part in text


def test_quaternions_of_half_turns() -> None:
    for axis in np.eye(3):
        turned = quaternion(cv2.Rodrigues(np.pi * axis)[0])
        assert np.allclose(np.abs(turned), [*axis, 0], atol=1e-9)


def test_an_intrinsics_file_of_ros_is_read(board: Recorded) -> None:
    path = board.file.with_name("cam.yaml")
    path.write_text(yaml.safe_dump({
        "image_width": 960, "image_height": 720, "distortion_model": "plumb_bob",
        "camera_matrix": {"rows": 3, "cols": 3, "data": [1040.0, 0.0, 472.5, 0.0, 1050.0, 366.5, 0.0, 0.0, 1.0]},
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": list(CAMERA.distortion)},
    }))  # fmt: skip
    found = load_footage(copy(board, cameras={"cam1": {"intrinsics": "cam.yaml"}})).cameras[0].intrinsics
    assert found is not None
    assert np.allclose([found.fx, found.fy, found.cx, found.cy], [520, 525, 236, 183])


# ---------------------------------------------------------------------------------------------------------- bad input


def refused(file: Path, out: Path | None = None) -> str:
    """The sentence with which ``calibrate`` refuses; nothing is written."""
    with pytest.raises(UserError) as caught:
        command.calibrate(command.CalibrateOptions(file, out=out))
    assert out is None or not out.exists()
    return str(caught.value)


def degrees(document: dict[str, Any]) -> dict[str, Any]:
    return {"joints": {k: {n: math.degrees(v) for n, v in p.items()} for k, p in document["joints"].items()}}


def swapped_board(**table: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {"markers": {"board": {**document["markers"]["board"], **table}}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (degrees, "which are degrees and not radians: set unit to degrees"),
        (swapped_board(inner_corners=[5, 5]), "inner corners, and board has 5 x 5: correct inner_corners"),
        (swapped_board(inner_corners=[7, 5]), "but one of 6 x 5: correct inner_corners"),
        (swapped_board(on="nowhere"), "has no link 'nowhere'"),
        (swapped_board(kind="chess"), "kind must be one of"),
        (swapped_board(square=0.02), "there is no setting 'square'; known here"),
        (lambda d: {"joints": {"1": d["joints"]["1"]}}, "has 1 images in which a marker is seen well"),
        (lambda d: {"joints": {}}, "has joint positions of no image"),
        (lambda d: {"markers": None}, "has no markers: add [markers.NAME], or give a model"),
        (lambda d: {"robot": "nothing.urdf"}, "give its URDF there or by --robot FILE"),
        (lambda d: {"cameras": {"cam1": {"intrinsics": [520, 525]}}}, "intrinsics must be fx, fy, cx, cy"),
        (
            lambda d: {"markers": {"board": {"kind": "aruco", "dictionary": "DICT_9X9", "marker_m": 0.1}}},
            "there is no dictionary 'DICT_9X9'",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(
    board: Recorded, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], sentence: str
) -> None:
    text = refused(copy(board, **change(board.document)), tmp_path / "out")
    assert sentence in text and "\n" not in text


def test_a_marker_of_another_dictionary_is_named(pair: Recorded, tmp_path: Path) -> None:
    table = {**pair.document["markers"]["board"], "dictionary": "DICT_6X6_50"}
    text = refused(copy(pair, markers={"board": table}), tmp_path / "out")
    assert "but of DICT_4X4" in text and "correct dictionary of board" in text


@pytest.mark.parametrize("squares", [[4, 4], [6, 4]])
def test_a_charuco_board_of_other_squares_is_not_taken_for_one_of_another_dictionary(
    pair: Recorded, tmp_path: Path, squares: list[int]
) -> None:
    table = {**pair.document["markers"]["board"], "squares": squares}
    text = refused(copy(pair, markers={"board": table}), tmp_path / "out")
    assert f"a charuco of {squares[0]} x 4 squares, though markers of DICT_4X4_50 are there: correct squares" in text


@pytest.mark.parametrize("offsets", [None, dict.fromkeys(recordings.JOINTS, math.radians(2))])
@pytest.mark.parametrize("given", [22.0, 19.0])
def test_squares_of_another_size_are_refused_with_both_lengths(
    pair: Recorded, given: float, offsets: dict[str, float] | None
) -> None:
    """The robot moves them by lengths that are known, so that they can't be 1.1 or 0.95 times as large."""
    factor = given / 20
    table = {**pair.document["markers"]["board"], "square_m": 0.03 * factor, "marker_m": 0.022 * factor}
    with pytest.raises(UserError) as caught:
        solved(copy(pair, markers={"board": table}), offsets=offsets)
    words = r"the squares of board are ([\d.]+) ± ([\d.]+) mm wide, not the ([\d.]+) mm in"
    found = re.match(f"By the robot's motions {words}", str(caught.value))
    assert found is not None, str(caught.value)
    width, spread, told = map(float, found.groups())
    assert told == pytest.approx(30 * factor) and abs(width - 30) < max(0.06, spread) < 0.6


def test_a_camera_that_moved_in_between_is_named(tmp_path: Path) -> None:
    def edit(k: int, _: str, pose: Floats) -> tuple[Floats, float]:
        moved = np.eye(4)
        moved[:3, 3] = (0.02, 0.0, 0.01)
        return (moved @ pose if k > 9 else pose), 0.0

    recorded = record(tmp_path, count=15, edit=edit)
    text = refused(recorded.file, tmp_path / "out")
    assert "The camera cam1 has moved: from cam1_10.png to cam1_15.png it is 22 mm" in text


def test_a_camera_that_moved_halfway_is_named(tmp_path: Path) -> None:
    def edit(k: int, _: str, pose: Floats) -> tuple[Floats, float]:
        moved = np.eye(4)
        moved[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.02, 0.01]))[0]
        moved[:3, 3] = (0.03, 0.01, 0.0)
        return (moved @ pose if k > 6 else pose), 0.0

    recorded = record(tmp_path, charuco(), count=12, edit=edit)
    assert "The camera cam1 has moved, about at cam1_07.png" in refused(recorded.file, tmp_path / "out")


def test_images_of_another_size_are_named(tmp_path: Path) -> None:
    recorded = record(tmp_path, count=4)
    with Image.open(tmp_path / "cam1_03.png") as image:
        image.resize((240, 180)).save(tmp_path / "cam1_03.png")
    text = refused(recorded.file)
    assert "cam1_03.png has 240 x 180 pixels, and cam1_01.png has 480 x 360" in text


def test_a_robot_that_turns_about_one_axis_does_not_tell(board: Recorded, board_seen: tuple[Footage, Seen]) -> None:
    footage, observations = board_seen
    wrist = recordings.JOINTS[5]
    truth = board.cameras["cam1"]
    # The same views again and again, as if only one joint had turned: no image moves the marker otherwise.
    first = footage.frames[0].positions or {}
    one = observations[0]
    frames, seen = [], []
    for k in range(8):
        positions = {**first, wrist: first[wrist] + 0.1 * k}
        pose = truth @ recordings.frames_at(positions)[recordings.FLANGE] @ board.mounts["board"]
        points = one.points @ pose[:3, :3].T + pose[:3, 3]
        frames.append(replace(footage.frames[0], positions=positions, moment=str(k)))
        seen.append(replace(one, frame=k, corners=CAMERA.project(points)[0]))
    with pytest.raises(UserError, match="at least two axes that are not parallel"):
        calibrate(replace(footage, frames=tuple(frames)), seen)
