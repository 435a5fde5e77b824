# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share."""

from __future__ import annotations

import tempfile
from pathlib import Path

from robot_keypoints.core.settings import Settings
from robot_keypoints.trainer import demo


def scratch() -> Path:
    """A new empty folder."""
    return Path(tempfile.mkdtemp(prefix="robot_keypoints_benchmark_"))


def ur10_settings() -> Settings:
    """The demo's settings: the UR10 with its visual meshes under wide priors."""
    return demo.settings(demo.MINUTES)[0]
