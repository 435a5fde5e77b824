# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of frames comes back as it was written, and damage is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labelled_recording as recording
import numpy as np
import pytest
from refusals import sentence
from robot_keypoints.core.messages import labelled_footage
from robot_keypoints.core.messages.labelled_footage import FRAMES


def test_it_comes_back_and_may_be_moved_with_its_images(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    recording.write(first)
    shutil.move(first, tmp_path / "second")
    read = labelled_footage.load(tmp_path / "second" / "labels")
    wanted = recording.footage(tmp_path / "second" / "images")
    assert read.robot.to_dict() == wanted.robot.to_dict() and read.cameras == wanted.cameras
    assert read.keypoints == wanted.keypoints
    for got, frame in zip(read.frames, wanted.frames, strict=True):
        assert (got.path, got.label, got.source, got.left_out, got.doubts, got.deviation) == (
            frame.path, frame.label, frame.source, frame.left_out, frame.doubts, frame.deviation
        )  # fmt: skip
        assert got.joints == frame.joints and got.path.is_file()
        assert (got.T_cam_base is None) == (frame.T_cam_base is None)
        if got.T_cam_base is not None:
            np.testing.assert_array_equal(got.T_cam_base, frame.T_cam_base)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(version=9), "version 9"),
        (lambda d: d["frames"][0].update(camera="other"), "no camera 'other'"),
        (lambda d: d["frames"][0].update(label=-1), "frame number -1"),
        (lambda d: d["frames"][0]["joints"].update(nose=1.0), "no joint 'nose'"),
        (lambda d: d["frames"][0].update(T_cam_base=[[1.0]]), "finite numbers"),
        (lambda d: d["cameras"]["cam"].update(width=0), "without size"),
        (lambda d: d.pop("frames"), "frames"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, change: Callable[[Any], Any], words: str) -> None:
    data = recording.write(tmp_path)
    document = json.loads((data / FRAMES).read_text(encoding="utf-8"))
    change(document)
    (data / FRAMES).write_text(json.dumps(document), encoding="utf-8")
    assert words in sentence(lambda: labelled_footage.load(data))


def test_a_folder_without_it_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in sentence(lambda: labelled_footage.load(tmp_path))
