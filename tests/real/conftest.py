# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Blenders: which, where, and a fresh home for each test.

``BLENDER``        the commands that start them, separated by ``:`` (``;`` on Windows)
``BLENDER_TOOLS``  what to put before ``Xvfb`` and ``scrot``, one for all or one for each Blender, separated alike;
                   empty takes them from PATH
``DISPLAY``        used where BLENDER_DISPLAY=1; otherwise each test gets a virtual screen of its own
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blenders import TINY, Play, RealBlender, Screen, Window, configured

ROOT = Path(__file__).resolve().parents[2]
HOW = (
    "The tests in real Blender were NOT run. Name the Blender to test in the environment variable BLENDER, "
    f"several separated by '{os.pathsep}':  BLENDER=/path/to/blender make test"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "blender" in metafunc.fixturenames:
        found = configured()
        marks = [pytest.mark.skip(reason=HOW)] if not found else []
        params = found or [RealBlender("none", (), ())]
        metafunc.parametrize(
            "blender", [pytest.param(b, marks=marks, id=b.name) for b in params], indirect=True, scope="module"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not configured():
        terminalreporter.section("NO REAL BLENDER", sep="!", red=True, bold=True)
        terminalreporter.write_line(HOW, red=True, bold=True)


@pytest.fixture(scope="module")
def blender(request: pytest.FixtureRequest) -> RealBlender:
    found: RealBlender = request.param
    found.check()
    return found


@pytest.fixture(scope="session")
def archive() -> Path:
    """The zip for this platform, built from this checkout."""
    machine = {"linux": "linux-x64", "win32": "windows-x64", "darwin": "macos-arm64"}[sys.platform]
    subprocess.run(
        [sys.executable, str(ROOT / "tools/build_extension.py"), "--platform", machine], check=True, cwd=ROOT
    )
    return max((ROOT / "dist").glob(f"*-{machine.replace('-', '_')}.zip"), key=lambda p: p.stat().st_mtime)


@pytest.fixture
def artefacts(request: pytest.FixtureRequest) -> Path:
    """An empty folder, named after the test, for its screenshots and logs; it is kept."""
    folder = ROOT / "artefacts" / request.node.name.replace("[", "-").replace("]", "").replace("/", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def screen(blender: RealBlender) -> Iterator[Screen]:
    screen = Screen(blender.tools)
    yield screen
    screen.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fresh BLENDER_USER_RESOURCES."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def play(blender: RealBlender, archive: Path, home: Path, screen: Screen, artefacts: Path, tmp_path: Path) -> Play:
    """Plays a script with the extension in a new window, which is closed again: the window, and the script's notes."""

    def playing(
        script: str, seconds: float, *, until: Callable[[], bool] | None = None,
        before_closing: Callable[[dict[str, Any]], None] = lambda _: None, **more: Any,
    ) -> tuple[Window, dict[str, Any]]:  # fmt: skip
        blender.install(home, archive)
        config = {"python": sys.executable, "runs": str(tmp_path / "runs"), "settings": TINY, **more}
        window = Window(blender, screen, home, artefacts, script, config)
        try:
            window.follow(seconds, until=until)
            result = window.result()
            assert not result["error"], f"{result['error']}\n{result.get('traceback')}\n{window.log()}"
            before_closing(result)
        finally:
            window.close()
        return window, result

    return playing
