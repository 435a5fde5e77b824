# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of a robot in a real window, from Blender's start-up scene."""

from __future__ import annotations

from pathlib import Path

import labelled_recording as recording
import marker_footage
import numpy as np
import pytest
from blenders import Play
from PIL import Image
from robot_keypoints.core.robot.urdf_reader import builtin_urdf
from robot_keypoints.trainer.commands.main import main

JOINT = "elbow_joint"
WHITE = 180
"""Text on a button that can be clicked is brighter, on a grey one darker."""


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


@pytest.mark.timeout(900)
def test_footage_is_labelled_and_its_camera_calibrated(play: Play, artefacts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    recorded = marker_footage.record(folder)
    ((name, truth),) = recorded.cameras.items()
    window, result = play(
        "footage_label_story.py", 700, urdf=str(marker_footage.UR10), footage=str(recorded.file)
    )  # fmt: skip
    assert result["stations"] == ["1-labelled", "2-calibrated"]
    data = Path(result["1-labelled"]["data"])
    assert data.parent == folder and (data / "frames.json").is_file() and (data / "report.html").is_file()
    assert any("frames" in text for text in result["robot_keypoints.label_footage"]), "no progress was shown"
    x, y = result["1-labelled"]["mouse"]
    row = int(result["1-labelled"]["height"] - y)
    button = np.asarray(Image.open(artefacts / "1-labelled.png").convert("L"))[row - 10 : row + 10, int(x) :]
    assert button[:, :100].max() > WHITE, "the button on which the mouse rests is still grey"
    found = result["2-calibrated"]
    assert set(found["objects"]) == {*found["before"], f"Footage {name}"} and found["camera"] == f"Footage {name}"
    assert result["undone"] == found["before"], "one Undo takes the camera back"
    pose = np.array(found["calibration"]["cameras"][name]["T_cam_base"])
    assert np.linalg.norm(pose[:3, 3] - truth[:3, 3]) < 0.01
    text = window.log()
    assert "Traceback" not in text and "policy violation" not in text.lower(), text


@pytest.mark.timeout(1200)
def test_a_model_is_fine_tuned_and_loaded_by_its_button(play: Play, tmp_path: Path) -> None:
    recorded, data = marker_footage.record(tmp_path / "recording"), tmp_path / "labels"
    assert main(["label", str(recorded.file), "--out", str(data)]) == 0
    _, result = play("footage_fine_tune_story.py", 900, urdf=str(marker_footage.UR10), data=str(data))
    assert result["stations"] == ["1-kept-untouched", "2-fine-tuning", "3-reported", "4-asked"]
    untouched = result["1-kept-untouched"]
    assert untouched["source"] == "marker" and not untouched["written"] and not untouched["running"]
    learning = result["2-fine-tuning"]
    assert Path(learning["start"]).parts[-3:-1] == ("assets", "models"), "it began with another model"
    assert learning["data"] == [[str(data), 0.5]]
    page = Path(result["3-reported"]["page"])
    assert page.is_file() and Path(result["4-asked"]["model"]).parent == page.parent
    assert result["4-asked"]["keypoints"] == 7
