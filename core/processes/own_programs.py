# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that the user has named: nothing else that settings, a run or a .blend name is started.

Settings travel, and what they name as the workers' Blender may be any command. It is started only if the user has named
the same one on this machine: on the command line, which is remembered here, or in the extension's preferences.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

from .. import files
from ..errors import UserError

MOST = 50
"""Commands that are remembered, the latest ones."""


def place() -> Path:
    """Where they are remembered: the user's own folder for settings of programs."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "robot-keypoints" / "programs.json"


def remember(command: str) -> None:
    """The user has named a command: settings may name it from now on. Where nothing can be kept it holds just once."""
    known = _remembered()
    if command in known:
        return
    path = place()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, [*known, command][-MOST:])
    except (OSError, UserError) as problem:
        print(f"warning: the Blender can't be remembered ({problem})", file=sys.stderr)


def check(command: str, advice: str, own: Collection[str] = ()) -> None:
    """Refuse a command that only settings name.

    Args:
        command: of the workers' Blender, as the settings have it; empty names none.
        advice: how the user may allow it, after "if you trust it,".
        own: commands that the user has named elsewhere.

    Raises:
        UserError: if the user has not named it.
    """
    if command and command not in own and command not in _remembered():
        raise UserError(
            f"The settings ask to start {command!r} as the workers' Blender, which you have not named yourself: "
            f"if you trust it, {advice}; else leave workers.blender empty"
        )


def _remembered() -> list[str]:
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [c for c in found if isinstance(c, str)] if isinstance(found, list) else []
