# SPDX-License-Identifier: GPL-3.0-or-later
"""Quick Start in a real window, by clicks, from the file that Blender starts with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blenders import Play
from PIL import Image
from robot_keypoints.core import builtin_models

STATIONS = ["1-start-up", "2-overlay", "3-question", "4-starting", "5-training", "6-over", "7-undone"]
START_UP = ["Camera", "Cube", "Light"]


@pytest.mark.timeout(1200)
def test_from_nothing_to_an_overlay_and_to_a_training(play: Play, artefacts: Path) -> None:
    window, result = play("quick_start_story.py", 1000)
    text = window.log()
    assert "Traceback" not in text and "Error" not in text and "rna_uiItemR" not in text, text
    assert result["stations"] == STATIONS
    assert result["1-start-up"]["objects"] == START_UP and result["1-start-up"]["source"] == "EXAMPLE"
    assert result["1-start-up"]["purpose"] == "photographs"

    overlay = result["2-overlay"]
    assert overlay["keypoints"] == list(builtin_models.models()["ur3e"].keypoints), overlay
    assert overlay["perspective"] == "CAMERA" and overlay["objects"] == START_UP and overlay["steps"] == ["done"] * 2
    before, after = (
        np.asarray(Image.open(artefacts / f"{name}.png").convert("RGB"), np.int16) for name in STATIONS[:2]
    )
    assert (np.abs(before - after).max(axis=2) > 40).mean() > 0.05, "no picture is shown"
    print(f"from the click to the overlay: {overlay['seconds']:.1f} s")

    question = result["3-question"]
    assert "not installed yet" in question["question"] and question["preset"] == "fast"
    assert set(START_UP) < set(question["objects"]) and len(question["keypoints"]) >= 6
    assert result["4-starting"]["reason"] == "" and result["4-starting"]["steps"][0] == "done"
    assert result["5-training"]["steps"] == ["done"] * 2 and not result["5-training"]["running"]
    assert (Path(result["5-training"]["run"]) / "settings.toml").is_file()
    assert (result["6-over"]["source"], result["6-over"]["purpose"]) == ("SCENE", "KEEP")
    undone = result["7-undone"]
    assert undone["objects"] == START_UP and not undone["hidden"] and not undone["armature"], "one step takes all back"
