# SPDX-License-Identifier: GPL-3.0-or-later
"""A check of the scene before training: some draws, posed and labelled in another Blender, but not rendered."""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from ...core.messages.obstruction import Obstruction
from ..properties import preferences, scene_check_report
from ..properties.scene_check_report import Report
from ..worker.scene_inspection import DRAWS, REPORT
from .jobs import Job
from .run_preparation import ready_settings

DEADLINE = 180.0


class Inspection(Job):
    """Runs the check and keeps its report."""

    def __init__(self) -> None:
        super().__init__("check", DEADLINE)

    def begin(self, scene: bpy.types.Scene) -> None:
        """Start a check of the scene.

        Raises:
            UserError: naming what is missing.
        """
        settings = ready_settings(scene)
        program = preferences.blender_command(settings.workers.blender)
        folder = self.prepare(settings)
        self.start([*program, "check", "--run", str(folder), "--count", str(DRAWS), "--progress"])

    def finished(self, folder: Path) -> None:
        """Read the report."""
        scene_check_report.keep(Report(**json.loads((folder / REPORT).read_text(encoding="utf-8"))))
        scene_check_report.keep_obstruction(Obstruction.read(folder))

    def forget(self) -> None:
        """End it and forget the report."""
        super().forget()
        scene_check_report.forget()


SERVICE = Inspection()
