# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test of this tier starts from an empty Blender file and leaves one behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy
import pytest

OUTCOME = {"status": 1}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    OUTCOME["status"] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Blender as a library can wait for one of its own threads for ever when it is taken down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(OUTCOME["status"])


@pytest.fixture(autouse=True)
def empty_file() -> Iterator[None]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    yield
    bpy.ops.wm.read_factory_settings(use_empty=True)
