# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame that a person has posed gets its label, and the others keep theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labelled_recording as recording
import numpy as np
import pytest
from refusals import sentence
from robot_keypoints.core.camera.intrinsics import transform
from robot_keypoints.core.messages import labelled_footage
from robot_keypoints.core.robot.keypoints import joint_keypoints, positions
from robot_keypoints.trainer.commands.correct import correct


def asked(folder: Path, frame: int = recording.LEFT_OUT, **changes: Any) -> Path:
    file = folder / "correction.json"
    joints = recording.positions(frame)
    document = {"frame": frame, "T_cam_base": recording.POSE.tolist(), "joints": joints, **changes}
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return recording.write(tmp_path)


def test_a_frame_that_was_left_out_gets_a_label(data: Path, tmp_path: Path) -> None:
    assert correct(data, asked(tmp_path)) == 0
    frame = labelled_footage.load(data).frames[recording.LEFT_OUT]
    assert (frame.source, frame.left_out, frame.label) == ("hand", "", 0)
    label = json.loads((data / "labels" / "000000.json").read_text(encoding="utf-8"))
    robot = recording.footage(data).robot
    points = positions(joint_keypoints(robot), {"": robot.link_frames(recording.positions(recording.LEFT_OUT))})
    wanted, _ = recording.CAMERA.project(transform(recording.POSE, points))
    found = [k["uv"] for k in label["instances"][0]["keypoints"]]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    coco = json.loads((data / "annotations.json").read_text(encoding="utf-8"))
    (image,), (entry,) = coco["images"], coco["annotations"]
    assert image["footage"]["file"] == "shot_03.png" and entry["source"] == "hand"
    assert (data / image["file_name"]).is_file()


def test_it_is_written_over_when_posed_again(data: Path, tmp_path: Path) -> None:
    correct(data, asked(tmp_path))
    turned = {**recording.positions(recording.LEFT_OUT), "elbow_joint": 1.0}
    correct(data, asked(tmp_path, joints=turned))
    (entry,) = json.loads((data / "annotations.json").read_text(encoding="utf-8"))["annotations"]
    assert entry["joints"]["elbow_joint"] == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frame": 5}, "no frame 5"),
        ({"joints": {"elbow_joint": 1.0}}, "joints must be of"),
        ({"T_cam_base": np.diag([2.0, 2, 2, 1]).tolist()}, "no rigid motion"),
        ({"T_cam_base": np.diag([1.0, -1, -1, 1]).tolist()}, "No keypoint"),
    ],
)
def test_what_is_of_no_use_changes_nothing(data: Path, tmp_path: Path, changes: Any, words: str) -> None:
    before = (data / labelled_footage.FRAMES).read_bytes()
    assert words in sentence(lambda: correct(data, asked(tmp_path, **changes)))
    assert (data / labelled_footage.FRAMES).read_bytes() == before and not any((data / "labels").iterdir())
