# SPDX-License-Identifier: GPL-3.0-or-later
"""A first hour with the extension, in a real window: from the built-in robot to the overlay of a trained model.

The script inside Blender clicks; here its notes and its screenshots are judged.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blenders import Play
from PIL import Image
from robot_keypoints.core.scene import catalogue

STATIONS = [
    "1-sidebar", "2-environment", "3-robot", "4-preset", "5-own-variable", "6-sample", "7-contact-sheet", "8-training",
    "9-adapted", "10-paused", "11-stopped", "12-model", "13-overlay",
]  # fmt: skip


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet collected does not."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()


def picture(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), dtype=np.int16)


def differing(a: np.ndarray, b: np.ndarray) -> int:
    """Number of pixels that differ clearly."""
    return int((np.abs(a - b).max(axis=2) > 40).sum())


@pytest.mark.timeout(1200)
def test_from_robot_to_overlay(play: Play, artefacts: Path) -> None:
    window, result = play("training_story.py", 1000)

    assert result["stations"] == STATIONS
    for name in STATIONS:
        assert (artefacts / f"{name}.png").stat().st_size > 10_000
        assert picture(artefacts, name).std() > 5, f"the screenshot {name} is empty"
    assert result["1-sidebar"]["tab"] == "Keypoints" and len(result["1-sidebar"]["panels"]) >= 5
    assert result["2-environment"]["state"] == "ok", result["2-environment"]
    assert len(result["3-robot"]["keypoints"]) >= 6
    assert result["3-robot"]["left_out"] == ["Cube", "Light"]
    assert {v.split("/")[0] for v in result["3-robot"]["variables"]} == set(catalogue.GROUPS) - {"custom"}
    assert result["4-preset"]["varying"] > 40 and result["4-preset"]["held"] > 0
    own = result["5-own-variable"]
    assert own["variable"].startswith("custom/")
    assert own["variable"] in result["8-training"]["variables"] and result["6-sample"]["energy"] != 1000.0
    drawn = result["7-contact-sheet"]
    assert drawn["state"] == "ok" and drawn["shown"] == ["Contact Sheet"] and drawn["windows"] == 1, drawn
    assert drawn["size"][0] > 400 and drawn["size"][1] > 600
    assert set(result["8-training"]["processes"]) == {"trainer", "worker 1", "worker 2"}
    assert result["9-adapted"]["version"] > result["8-training"]["version"] and result["9-adapted"]["changed"]
    assert result["9-adapted"]["step"] > result["8-training"]["step"] > 0
    assert min(result["9-adapted"]["rates"].values()) > 0, "a process does nothing"
    assert (result["11-stopped"]["phase"], result["11-stopped"]["reason"]) == ("stopped", "")
    run = Path(result["11-stopped"]["run"])
    for name in ("model.safetensors", "summary.json", "metrics.jsonl", "priors.jsonl", "settings.toml", "scene.blend"):
        assert (run / name).stat().st_size > 0, f"the run has no {name}"
    assert not any(alive(pid) for pid in result["11-stopped"]["pids"]), "stopping left a process"

    # The panel's pictures changed while it learned, and the overlay is drawn over the camera's view.
    assert differing(picture(artefacts, "8-training"), picture(artefacts, "9-adapted")) > 200
    seen = result["13-overlay"]
    assert len(seen["keypoints"]) == len(result["3-robot"]["keypoints"])
    x, y, width, height = seen["viewport"]
    top = seen["window"][1] - y - height
    area = (slice(top, top + height), slice(x, x + width))
    changed = differing(picture(artefacts, "12-model")[area], picture(artefacts, "13-overlay")[area])
    assert changed > 300, f"only {changed} pixels of the viewport changed: there is no overlay"
    text = window.log()
    assert "Traceback" not in text and "policy violation" not in text.lower(), text


PARTS = {
    "bones", "feedback", "joints", "keypoints", "learning", "learning_computing", "learning_network", "learning_replay",
    "learning_steps", "links", "notes", "others", "pictures", "rendering", "rules", "settings", "stream", "variables",
}  # fmt: skip
"""What folds in the panels of Robot, Priors and Training."""


@pytest.mark.timeout(600)
def test_every_part_of_the_panel(play: Play, artefacts: Path) -> None:
    window, result = play("panel_story.py", 400)
    assert len(result["stations"]) == 6
    assert set(result["6-no-joints"]["opened"]) >= PARTS, PARTS - set(result["6-no-joints"]["opened"])
    assert result["6-no-joints"]["notes"]
    for before, after in pairwise(result["stations"]):
        assert differing(picture(artefacts, before), picture(artefacts, after)) > 500, f"{after} looks like {before}"
    # A panel whose drawing fails is cut off there, and Blender prints why.
    text = window.log()
    assert "Traceback" not in text and "Error" not in text and "rna_uiItemR" not in text, text


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_killing_blender_leaves_no_process(play: Play, artefacts: Path) -> None:
    import signal

    def kill(result: dict[str, Any]) -> None:
        pids = result["training"]["pids"]
        assert len(pids) == 3 and all(alive(pid) for pid in pids.values())
        os.kill(result["pid"], signal.SIGKILL)
        end = time.monotonic() + 5.0
        while left := [name for name, pid in pids.items() if alive(pid)]:
            assert time.monotonic() < end, f"{', '.join(left)} outlives Blender by more than five seconds"
            time.sleep(0.05)

    play("killed_story.py", 600, until=(artefacts / "result.json").exists, before_closing=kill)


@pytest.mark.timeout(400)
def test_the_cameras_picture_beside_a_second_window(play: Play) -> None:
    _, result = play("windows_story.py", 200)
    black = [when for when, spread in result["spreads"].items() if spread < 5]
    assert len(result["spreads"]) == 5 and not black, f"the picture is empty: {', '.join(black)}"
