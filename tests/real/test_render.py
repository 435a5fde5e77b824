# SPDX-License-Identifier: GPL-3.0-or-later
"""A data set from an installed Blender with the extension, as users have it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from blenders import RealBlender
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings.schema import RenderSettings, RobotSettings, SceneSettings, Settings
from robot_keypoints.core.settings.toml_file import save


def test_a_data_set_of_the_ur10(
    blender: RealBlender, archive: Path, home: Path, tmp_path: Path, ur10_urdf: Path
) -> None:
    blender.install(home, archive)
    robot = RobotSettings("urdf", str(ur10_urdf))
    render = RenderSettings(width=96, height=72, samples=1, masks=True)
    save(Settings(robot, render=render, scene=SceneSettings(preset="photographs")), tmp_path / "settings.toml")
    out = tmp_path / "set"
    line = [
        sys.executable, str(LAUNCHER), "cli", "render", str(tmp_path / "settings.toml"), "--count", "4", "--format",
        "coco", "--out", str(out), "--workers", "2", "--blender", shlex.join(blender.command),
    ]  # fmt: skip
    done = subprocess.run(
        line, env=blender.environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len({p.read_bytes() for p in (out / "images").iterdir()}) == 4
    document = json.loads((out / "annotations.json").read_text(encoding="utf-8"))
    assert document["categories"][0]["name"] == "ur10" and len(document["annotations"]) >= 3
