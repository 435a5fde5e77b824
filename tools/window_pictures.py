# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the extension in a real Blender, which the tools of single pictures crop and keep."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import blenders  # noqa: E402


def take(
    story: str, config: dict[str, Any], station: str, size: tuple[int, int], patience: float
) -> tuple[Image.Image, dict[str, Any]]:
    """Install the extension into a fresh profile and play a story in a new window.

    Args:
        story: name of a script in tests/real/inside.
        config: what it reads there.
        station: whose screenshot is wanted.
        size: width and height of the screen and of the window, pixels.
        patience: seconds after which it is given up.

    Returns:
        The screenshot, RGB, and what the script noted at that station.

    Raises:
        SystemExit: with the script's own words, if it did not reach its end.
    """
    blenders.SIZE = size
    blender = blenders.configured()[0]
    subprocess.run([sys.executable, str(ROOT / "tools/build_extension.py"), "--platform", "linux-x64"], check=True)
    archive = max((ROOT / "dist").glob("*-linux_x64.zip"), key=lambda p: p.stat().st_mtime)
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "story", Path(name) / "home"
        folder.mkdir()
        home.mkdir()
        blender.install(home, archive)
        screen = blenders.Screen(blender.tools)
        window = blenders.Window(
            blender, screen, home, folder, story, {"python": sys.executable, "runs": str(Path(name) / "runs"), **config}
        )
        try:
            window.follow(patience)
            result = window.result()
        finally:
            window.close()
            screen.close()
        if result["error"]:
            raise SystemExit(f"{result['error']}\n{result.get('traceback')}\n{window.log()}")
        return Image.open(folder / f"{station}.png").convert("RGB"), result[station]
