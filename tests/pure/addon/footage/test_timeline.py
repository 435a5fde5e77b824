# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a recording over the timeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import labelled_recording as recording
import numpy as np
from robot_keypoints.addon.footage import timeline

FOOTAGE = recording.footage(Path("images"))
SHOWN = timeline.moments(FOOTAGE, "cam")


def test_images_follow_one_another_and_video_frames_keep_their_numbers() -> None:
    assert [(m.number, m.place) for m in SHOWN] == [(k + 1, k) for k in range(5)]
    video = replace(FOOTAGE, frames=tuple(replace(f, index=10 * k) for k, f in enumerate(FOOTAGE.frames)))
    assert [m.number for m in timeline.moments(video, "cam")] == [1, 11, 21, 31, 41]


def test_only_frames_that_want_a_look_have_a_reason() -> None:
    told = {m.place: timeline.reason(m.frame) for m in SHOWN}
    assert {k for k, text in told.items() if text} == {recording.LEFT_OUT, recording.DOUBTFUL}
    assert told[recording.LEFT_OUT] == f"left out: {recording.WHY}"
    assert told[recording.DOUBTFUL] == "doubtful: board: It is blurred."
    corrected = replace(SHOWN[recording.DOUBTFUL].frame, source="hand")
    assert timeline.reason(corrected) == ""


def test_a_marker_bears_whole_words_in_63_bytes() -> None:
    name = timeline.marker_name(f"left out: {recording.WHY}")
    assert name.endswith("…") and len(name.encode()) <= 63
    assert recording.WHY.startswith(name.removeprefix("left out: ").removesuffix("…") + " ")
    assert timeline.marker_name("short") == "short"
    assert len(timeline.marker_name("ö " * 60).encode()) <= 63


def test_values_are_told_where_they_are_known() -> None:
    numbers, values = timeline.joint_values(SHOWN, "elbow_joint")
    assert numbers == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(values, [recording.positions(k)["elbow_joint"] for k in range(5)])
    assert timeline.deviation_values(SHOWN) == ([1, 2, 4, 5], [0.5, 0.6, 0.8, 0.9])
    assert timeline.deviation_values(SHOWN, "elbow_joint") == ([1, 2, 4, 5], [0.001, 0.002, 0.004, 0.005])


def test_a_resting_camera_has_one_pose_and_a_moving_one_all() -> None:
    assert [len(p) for p in timeline.camera_poses(SHOWN)] == [1, 1]
    moved = np.array(recording.POSE)
    moved[0, 3] += 0.01
    last = replace(SHOWN[4], frame=replace(SHOWN[4].frame, T_cam_base=moved))
    assert timeline.camera_poses((*SHOWN[:4], last))[0] == [1, 2, 4, 5]


def test_the_next_frame_to_look_at_goes_round() -> None:
    assert [timeline.next_of([3, 4], now) for now in (1, 3, 4)] == [3, 4, 3]
    assert [timeline.next_of([3, 4], now, back=True) for now in (4, 3, 9)] == [3, 4, 4]
    assert timeline.next_of([], 1) is None
