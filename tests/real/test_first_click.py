# SPDX-License-Identifier: GPL-3.0-or-later
"""The first click, from the file that Blender starts with and with nothing taken out of it: the robot is seen.

What the pictures show is judged by their pixels, rendered again outside from the very scenes of the window's own jobs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blenders import Play, RealBlender
from PIL import Image
from renderings import shown

STATIONS = [
    "1-robot", "2-sheet", "3-training", "4-overlay", "5-crate", "6-refused", "7-left-out", "8-undone", "9-kept",
]  # fmt: skip
START_UP = {"Cube": "MESH", "Light": "LIGHT", "Camera": "CAMERA"}
CLEARLY = 0.7
HIDES = r"Crate hides the robot in 1[456] of 16 draws"
"""Of a small picture's pixels with anything in them, so many are the robot's; its edge takes the rest."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", ["builtin", "urdf", "armature"])
def test_the_robot_is_seen_from_the_first_click_on(
    play: Play, blender: RealBlender, home: Path, artefacts: Path, ur10_urdf: Path, source: str
) -> None:
    window, result = play(
        "first_click_story.py", 700, source=source, urdf=str(ur10_urdf), crate=source == "builtin"
    )  # fmt: skip
    text = window.log()
    assert "Traceback" not in text and "Error" not in text and "policy violation" not in text.lower(), text
    assert result["stations"] == STATIONS[: len(STATIONS) if source == "builtin" else 4]
    first = result["1-robot"]
    assert first["found"] == START_UP and set(START_UP) <= set(first["there"]), "nothing is taken out of the file"
    sheet = result["2-sheet"]
    assert first["left_out"] == ["Cube", "Light"]
    assert sheet["state"] == "ok" and sheet["left_out"] == ["Cube"] and sheet["in_the_way"] == [], sheet
    assert first["camera"] == result["3-training"]["camera"] == "Camera", "the user's camera is left alone"
    overlay = result["4-overlay"]
    assert overlay["camera"] == "Camera" and overlay["keypoints"] == overlay["wanted"], overlay
    for name, folder in (("sheet", artefacts / "2-sheet"), ("training", Path(result["3-training"]["run"]))):
        seen = shown(blender, home, folder, artefacts / f"{name} rendered")
        assert min(seen.robot) > CLEARLY, f"the {name} shows something else than the robot: {seen}"
    if source == "builtin":
        judge_the_crate(result, blender, home, artefacts)


def judge_the_crate(result: dict[str, Any], blender: RealBlender, home: Path, artefacts: Path) -> None:
    left, top, width, height = result["5-crate"]["editor"]
    before, after = (
        np.asarray(Image.open(artefacts / f"{name}.png").convert("RGB"), np.int16)[top : top + height, left:][:, :width]
        for name in ("2-sheet", "5-crate")
    )
    assert (np.abs(before - after).max(axis=2) > 40).mean() > 0.1, "the editor still shows the sheet before"
    crate = result["5-crate"]
    assert len(crate["in_the_way"]) == 1 and re.fullmatch(HIDES, crate["in_the_way"][0]), crate
    hidden = shown(blender, home, artefacts / "5-crate", artefacts / "crate rendered")
    assert max(hidden.robot) < 0.1, "there is no crate to be warned of"
    assert re.search(rf"warning: {HIDES}: disable it in renders, or", hidden.said), hidden.said
    refused = result["6-refused"]
    assert refused["phase"] == "failed" and "Crate: none of 16 draws shows anything of the robot" in refused["reason"]
    assert result["7-left-out"]["hidden"] == [True, True] and result["8-undone"]["hidden"] == [False, False]
    kept = result["9-kept"]
    assert kept["in_the_way"] == [] and kept["hidden"] == [False, False], "what stays on purpose is not warned of"
