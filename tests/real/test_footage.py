# SPDX-License-Identifier: GPL-3.0-or-later
"""A labelled recording in a real window, from Blender's start-up scene."""

from __future__ import annotations

from pathlib import Path

import labelled_recording as recording
import pytest
from blenders import Play
from robot_keypoints.core.robot.urdf_reader import builtin_urdf

JOINT = "elbow_joint"


@pytest.mark.timeout(600)
def test_footage_is_loaded_corrected_and_taken_back(play: Play, tmp_path: Path) -> None:
    data = recording.write(tmp_path)
    window, result = play(
        "footage_story.py", 480, urdf=str(builtin_urdf()), data=str(data), joint=JOINT
    )  # fmt: skip
    assert result["stations"] == ["1-before", "2-loaded", "3-doubtful", "4-kept"]
    before, loaded = result["1-before"], result["2-loaded"]
    assert {"Cube", "Camera", "Light"} <= set(before["objects"]) and before["shown"] == ""
    assert set(loaded["objects"]) == {*before["objects"], "Footage cam"} and loaded["camera"] == "Footage cam"
    assert loaded["markers"] == [recording.LEFT_OUT + 1, recording.DOUBTFUL + 1]
    assert loaded["size"] == [128, 96] and loaded["end"] == 5 and loaded["view"] == "CAMERA"
    assert result["undone"] == before, "one Undo brings everything back"
    assert result["redone"] == {k: v for k, v in loaded.items() if k != "view"}
    assert result["3-doubtful"]["frame"] == recording.LEFT_OUT + 1
    kept = result["4-kept"]
    assert kept["source"] == "hand" and kept["position"] == pytest.approx(0.9, abs=1e-5)
    assert kept["markers"] == [recording.DOUBTFUL + 1]
    text = window.log()
    assert "Traceback" not in text and "policy violation" not in text.lower(), text
