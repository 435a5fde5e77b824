# SPDX-License-Identifier: GPL-3.0-or-later
"""What every tier shares."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ur10_urdf() -> Path:
    """The real UR10, from the package ``example-robot-data``."""
    path = Path(sysconfig.get_path("purelib")) / (
        "cmeel.prefix/share/example-robot-data/robots/ur_description/urdf/ur10_robot.urdf"
    )
    assert path.is_file(), "example-robot-data is not installed: make test installs it"
    return path
