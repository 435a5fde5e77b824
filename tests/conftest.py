# SPDX-License-Identifier: GPL-3.0-or-later
"""What every tier shares."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs keep for their user goes into a folder of the tests', in child processes, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "APPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("config")))
        yield
