# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from robot_keypoints.core.settings import Settings, complete
from robot_keypoints.trainer import demo


def scratch() -> Path:
    """A new empty folder."""
    return Path(tempfile.mkdtemp(prefix="robot_keypoints_benchmark_"))


def ur10_settings(preset: str = "fast") -> Settings:
    """The demo's settings: the UR10 with its visual meshes under wide priors; the rest varies as ``preset`` says."""
    settings, robot = demo.settings(demo.MINUTES)
    if preset == settings.scene.preset:
        return settings
    joints = tuple(v for v in settings.variables if v.name.startswith("joint/"))
    return complete(replace(settings, variables=joints, scene=replace(settings.scene, preset=preset)), robot)
