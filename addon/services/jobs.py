# SPDX-License-Identifier: GPL-3.0-or-later
"""Short jobs beside the window: one child process each, on a copy of the open scene, polled by the timer."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from ...core import run_folder
from ...core.errors import UserError, one_line
from ...core.messages.job_progress import JobLine, JobProgress
from ...core.processes.child_process import Child
from ...core.processes.job_log import JobLog
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ..base.saving import save_copy

LOG = "log.txt"
"""What a job prints, in its folder."""

LINES = 4
"""So many of the last lines of text are kept to be shown."""


class State(Enum):
    """Where a job stands."""

    NONE = "none"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job:
    """One kind of job; at most one of it runs at a time.

    Attributes:
        state: where it stands.
        progress: of what it is doing, 0 … 1; 0 where that is not known.
        message: what it says it is doing.
        lines: the last that it, or a tool that it runs, has said besides.
        reason: why it failed, in one sentence.
    """

    def __init__(self, name: str, deadline: float = math.inf) -> None:
        """Args:
        name: what it is called in sentences, such as ``contact sheet``.
        deadline: seconds after which it is given up.
        """
        self.name, self.deadline = name, deadline
        self.state = State.NONE
        self.progress = 0.0
        self.message = ""
        self.lines: tuple[str, ...] = ()
        self.reason = ""
        self._child: Child | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._log = JobLog(Path())
        self._document: Mapping[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._child is not None

    @property
    def folder(self) -> Path:
        """Where it finds the scene and leaves what it makes; only after :meth:`prepare`."""
        assert self._scratch is not None
        return Path(self._scratch.name)

    @property
    def log(self) -> Path | None:
        """What it has printed, as long as that is kept."""
        return None if self._scratch is None else self.folder / LOG

    def prepare(self, settings: Settings) -> Path:
        """Put a copy of the open scene and its settings into a new folder, and return that.

        Raises:
            UserError: if one runs already, or the copy can't be written.
        """
        self.prepare_empty()
        save_copy(self.folder / run_folder.SCENE)
        toml_file.save(settings, self.folder / run_folder.SETTINGS)
        return self.folder

    def prepare_empty(self) -> Path:
        """A new folder for a job that needs nothing of the scene.

        Raises:
            UserError: if one runs already.
        """
        if self.running:
            raise UserError(f"The {self.name} is being made already: wait for it, or cancel it")
        self.forget()
        self._scratch = tempfile.TemporaryDirectory(prefix="robot_keypoints_")
        return self.folder

    def start(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start the process; :meth:`prepare` came before.

        Raises:
            UserError: if the program can't be started.
        """
        self._log = JobLog(self.folder / LOG)
        self._child = Child(self.name, command, self._log.path, environment)
        self.state, self.message = State.RUNNING, "starting"

    def cancel(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.let_go()
            self.state, self.message = State.CANCELLED, "ending …"

    def forget(self) -> None:
        """End it at once and show nothing of it any more."""
        if self._child is not None:
            self._child.let_go()
            self._child.wait(2.0)  # it ends what it has started, too
            self._child.kill()
            self._child = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
        self.state, self.progress, self.message, self.lines, self.reason = State.NONE, 0.0, "", (), ""
        self._document = None

    def tick(self) -> bool:
        """Look after the process; True if something that is shown has changed."""
        child = self._child
        if child is None:
            return False
        code = child.exit_code  # before reading: what it says last is then there
        changed = self._take(self._log.news())
        if code is None or not self._log.at_end:
            if child.age > self.deadline and self.state is State.RUNNING:
                self.fail(f"The {self.name} was not done within {self.deadline:.0f} s")
                child.let_go()
                return True
            return changed
        self._take(self._log.finish())
        self._child = None
        child.let_go()
        if self.state is State.RUNNING:
            if self.succeeded(code):
                self._finish()
            else:
                self.fail(self._why(child))
        elif self.state is State.CANCELLED:
            self.cancelled()
        return True

    def _finish(self) -> None:
        try:
            self.finished(self.folder)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as problem:
            self.fail(f"The {self.name} can't be read ({one_line(str(problem))})")
        else:
            self.state, self.progress = State.OK, 1.0

    def _why(self, child: Child) -> str:
        """In one sentence, why it has failed."""
        lines = child.last_words(12)
        said = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
        if said:
            return one_line(said[-1])
        return f"The {self.name} failed: {one_line(lines[-1])[:200] if lines else 'it printed nothing'}"

    def _take(self, lines: Sequence[JobLine]) -> bool:
        """Take in what it has said; whether that changes what is shown."""
        for line in lines:
            if isinstance(line, JobProgress):
                if self.state is State.RUNNING:
                    self.progress, self.message = line.fraction, line.text
            elif isinstance(line, str):
                self.lines = (*self.lines, line)[-LINES:]
            else:
                self._document = line
        return bool(lines)

    def document(self) -> Mapping[str, Any]:
        """What the process has printed as JSON; the last, if that is several things.

        Raises:
            ValueError: if it has not.
        """
        if self._document is None:
            raise ValueError("it printed no figures")
        return self._document

    def fail(self, reason: str) -> None:
        """It has failed, or is given up."""
        self.state, self.reason = State.FAILED, reason

    def succeeded(self, code: int) -> bool:
        """Whether a process that ended with this exit code has done what it should."""
        return code == 0

    def cancelled(self) -> None:
        """Its process has ended because it was cancelled; for those who inherit."""

    def finished(self, folder: Path) -> None:
        """Take in what the process has made in ``folder``; for those who inherit."""


def clean_environment() -> dict[str, str]:
    """Blender's own Python settings must not reach another Python."""
    return {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
