# SPDX-License-Identifier: GPL-3.0-or-later
"""Has the page about a run written, in the background, and shows it in the browser."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.processes.programs import LAUNCHER
from ..properties import preferences
from .jobs import Job, clean_environment

DEADLINE = 900.0


class Report(Job):
    """Has ``robot-keypoints report`` run.

    Attributes:
        page: the last one that was written.
    """

    def __init__(self) -> None:
        super().__init__("report", DEADLINE)
        self.page: Path | None = None

    def begin(self, run: Path) -> None:
        """Start writing ``report.html`` into the run's folder.

        Raises:
            UserError: naming what is missing.
        """
        python = preferences.python()
        self.prepare_empty()
        command = [python, str(LAUNCHER), "--lifeline", "cli", "report", str(run), "--json", "--progress"]
        self.start(command, clean_environment())

    def finished(self, folder: Path) -> None:
        """Show the page."""
        self.page = Path(str(self.document()["report"]))
        if not bpy.app.background:
            bpy.ops.wm.url_open(url=self.page.as_uri())

    def forget(self) -> None:
        """End it and know of no page any more."""
        super().forget()
        self.page = None


SERVICE = Report()
