# SPDX-License-Identifier: GPL-3.0-or-later
"""How the processes of a run are started."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError

LAUNCHER = Path(__file__).resolve().parent.parent.parent / "launch.py"


@dataclass(frozen=True)
class Programs:
    """How the processes are started: each a command to which arguments are appended."""

    trainer: tuple[str, ...]
    blender: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def with_python(cls, trainer_python: str, blender: str = "") -> Programs:
        """The trainer in ``trainer_python``; workers in ``blender`` (a command), or in the same Python's bpy wheel.

        The Blender must have this extension enabled: it is asked for the command that the extension registers.

        Raises:
            UserError: if a program does not exist.
        """
        trainer = (trainer_python, str(LAUNCHER))
        if not blender:
            return cls(trainer, trainer)
        try:
            command = shlex.split(blender, posix=sys.platform != "win32")
        except ValueError:
            command = []  # a quote without its partner
        if not command or shutil.which(command[0]) is None:
            raise UserError(f"There is no Blender at {blender!r}: give the path of its program")
        return cls(trainer, (*command, "--background", "--command", "robot_keypoints"))

    def worker(self, threads: int) -> list[str]:
        """The command of a Blender that keeps to ``threads`` threads."""
        if "--command" in self.blender:
            start = self.blender.index("--background")
            return [*self.blender[:start], "--threads", str(threads), *self.blender[start:]]
        return [*self.blender, "--threads", str(threads)]
