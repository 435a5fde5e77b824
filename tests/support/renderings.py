# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at what a scene's renderings show: whether the robot, and nothing else, fills the pixels that its shape says.

The pictures are rendered with the same processes, settings and seed as those of a contact sheet.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from blenders import RealBlender
from PIL import Image
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import toml_file

COUNT = 16


@dataclass(frozen=True)
class Shown:
    """What sixteen draws show: by draw, the share of all pixels with anything in them that are the robot's, 0 … 1; and
    what the command has said."""

    robot: tuple[float, ...]
    said: str


def shown(blender: RealBlender, home: Path, scene: Path, out: Path) -> Shown:
    """Render the draws of a scene and look at them.

    Args:
        scene: a folder with ``scene.blend`` and ``settings.toml``.
        out: a new folder for the data set.
    """
    settings = toml_file.load(scene / "settings.toml")
    robots = [replace(r, path=str(scene / "scene.blend")) for r in settings.robots]
    settings = replace(
        settings, robot=robots[0], others=tuple(robots[1:]),
        render=replace(settings.render, width=96, height=72, samples=4, masks=True),
    )  # fmt: skip
    out.mkdir(parents=True)
    toml_file.save(settings, out / "settings.toml")
    line = [
        sys.executable, str(LAUNCHER), "cli", "render", str(out / "settings.toml"), "--count", str(COUNT), "--format",
        "coco", "--out", str(out / "set"), "--workers", "1", "--transparent", "--blender", shlex.join(blender.command),
    ]  # fmt: skip
    done = subprocess.run(
        line, env=blender.environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shares = []
    for number in range(COUNT):
        name = f"{number:06d}"
        anything = np.asarray(Image.open(out / "set" / "images" / f"{name}.png"))[..., 3] > 127
        robot = np.asarray(Image.open(out / "set" / "masks" / f"{name}.png")) > 0
        shares.append(float((anything & robot).sum() / max((anything | robot).sum(), 1)))
    return Shown(tuple(shares), done.stderr)
