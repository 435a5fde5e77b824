# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras of a calibration.json, whoever wrote it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import labelled_recording as recording
import numpy as np
import pytest
from refusals import sentence
from robot_keypoints.addon.footage.calibration_document import cameras_in

DOCUMENT = {
    "cameras": {
        "cam": {
            "T_cam_base": recording.POSE.tolist(), "link": "base", "width": 128, "height": 96,
            "camera_matrix": recording.CAMERA.matrix.tolist(), "distortion": list(recording.CAMERA.distortion),
        }
    }
}  # fmt: skip


def test_a_camera_rests_or_is_on_a_link() -> None:
    found = cameras_in(DOCUMENT)["cam"]
    assert found.intrinsics == recording.CAMERA and found.link == ""
    np.testing.assert_array_equal(found.pose, recording.POSE)
    mounted = copy.deepcopy(DOCUMENT)
    mounted["cameras"]["cam"]["T_cam_link"] = mounted["cameras"]["cam"].pop("T_cam_base")
    assert cameras_in(mounted)["cam"].link == "base"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(cameras={}), "no camera"),
        (lambda d: d.pop("cameras"), "no calibration"),
        (
            lambda d: d["cameras"]["cam"].update(T_cam_base=np.diag([2.0] * 4).tolist()),
            "rigid",
        ),
        (lambda d: d["cameras"]["cam"].update(distortion=[1.0]), "another size"),
        (lambda d: d["cameras"]["cam"].update(width=10**9), "out of range"),
        (lambda d: d["cameras"]["cam"].update(camera_matrix=[[float("nan")] * 3] * 3), "not finite"),
    ],
)
def test_others_are_refused(change: Callable[[Any], Any], words: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    assert words in sentence(lambda: cameras_in(document))
