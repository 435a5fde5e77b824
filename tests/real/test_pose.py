# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera and rig matched to a photograph by clicks in a real window.

The photograph is a rendering, so where its camera stood is known.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blenders import RealBlender, Screen, Window
from PIL import Image

STATIONS = ["1-before", "2-placed", "3-posed", "4-followed", "5-built-in"]
ANGLES = {
    "shoulder_pan_joint": 0.4, "shoulder_lift_joint": -1.1, "elbow_joint": 1.3, "wrist_1_joint": -0.5,
    "wrist_2_joint": 0.8, "wrist_3_joint": 0.3,
}  # fmt: skip
FAKE = Path(__file__).resolve().parents[1] / "support" / "fake_model.py"


def movie(path: Path) -> None:
    """Six grey frames from black to white, which the exact model tells apart."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 24, (640, 480))  # type: ignore[attr-defined]
    for n in range(6):
        writer.write(np.full((480, 640, 3), 51 * n, np.uint8))
    writer.release()


def picture(folder: Path, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), dtype=np.int16)


@pytest.mark.timeout(800)
def test_a_photograph_is_matched(
    blender: RealBlender, archive: Path, home: Path, screen: Screen, artefacts: Path, tmp_path: Path, ur10_urdf: Path
) -> None:
    blender.install(home, archive)
    exact = tmp_path / "exact"
    exact.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(FAKE))} "$@"\n', encoding="utf-8")
    exact.chmod(0o755)
    movie(tmp_path / "arm.mp4")
    config = {
        "python": sys.executable, "exact": str(exact), "urdf": str(ur10_urdf), "angles": ANGLES,
        "movie": str(tmp_path / "arm.mp4"),
    }  # fmt: skip
    window = Window(blender, screen, home, artefacts, "pose_story.py", config)
    try:
        window.follow(640)
        result = window.result()
        assert not result["error"], f"{result['error']}\n{result.get('traceback')}\n{window.log()}"
    finally:
        window.close()

    assert result["stations"] == STATIONS
    assert result["1-before"]["joints"] == pytest.approx(ANGLES, abs=1e-5), "the rig's joints are misread"
    placed = result["2-placed"]
    assert placed["off"][0] < 1e-3 and placed["off"][1] < 0.03, f"the camera is off by {placed['off']} m and degrees"
    assert placed["size"] == [640, 480] and placed["lens"] == pytest.approx(40.0) and placed["view"] == "CAMERA"
    assert placed["ellipses"] >= 7
    assert result["undone"] and result["undone_size"] == [1920, 1080], "one undo brings everything back"
    posed = result["3-posed"]
    told = {n: v for n, v in ANGLES.items() if n != "wrist_3_joint"}
    assert {n: posed["joints"][n] for n in told} == pytest.approx(told, abs=5e-3)
    assert posed["joints"]["wrist_3_joint"] == pytest.approx(0.3, abs=1e-5), "what no keypoint tells has changed"
    assert posed["off"][0] < 5e-3 and posed["off"][1] < 0.3
    assert result["4-followed"]["elbow"] == pytest.approx([0.0, 0.3, 0.1, 0.5], abs=0.02)
    assert result["stopped"]
    own = result["5-built-in"]
    assert own["model"] == "ur10"
    assert own["outline"], "the built-in model's keypoints were not enough to find the rig's outline"
    assert np.median(own["pixels"]) < 0.005 * 800, f"the built-in model's camera shows the links {own['pixels']} px off"
    for before, after in (("1-before", "2-placed"), ("2-placed", "4-followed")):
        changed = np.abs(picture(artefacts, before) - picture(artefacts, after)).max(axis=2) > 40
        assert changed.sum() > 5000, f"{after} looks like {before}"
    text = window.log()
    assert "Traceback" not in text and "policy violation" not in text.lower(), text
