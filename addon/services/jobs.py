# SPDX-License-Identifier: GPL-3.0-or-later
"""Short jobs beside the window: one child process each, on a copy of the open scene, polled by the timer."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ...core import run_folder
from ...core.errors import UserError
from ...core.processes.child_process import Child
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ..base.saving import save_copy
from .trainer_environment import State

DONE_OF = re.compile(r"(\d+) of (\d+)")
"""How a job says how far it is."""

LOG = "log.txt"
"""What a job prints, in its folder."""


class Job:
    """One kind of job; at most one of it runs at a time.

    Attributes:
        state: where it stands.
        progress: 0 … 1.
        message: what it says it is doing.
        reason: why it failed, in one sentence.
    """

    def __init__(self, name: str, deadline: float) -> None:
        """Args:
        name: what it is called in sentences, such as ``contact sheet``.
        deadline: seconds after which it is given up.
        """
        self.name, self.deadline = name, deadline
        self.state = State.NONE
        self.progress = 0.0
        self.message = ""
        self.reason = ""
        self._child: Child | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._read = 0

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._child is not None

    @property
    def folder(self) -> Path:
        """Where it finds the scene and leaves what it makes; only after :meth:`prepare`."""
        assert self._scratch is not None
        return Path(self._scratch.name)

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
            raise UserError(f"A {self.name} is being made already: wait for it, or cancel it")
        self.forget()
        self._scratch = tempfile.TemporaryDirectory(prefix="robot_keypoints_")
        return self.folder

    def start(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        """Start the process; :meth:`prepare` came before.

        Raises:
            UserError: if the program can't be started.
        """
        self._child = Child(self.name, command, self.folder / LOG, environment)
        self.state, self.progress, self.reason, self._read = State.RUNNING, 0.0, "", 0
        self.message = "starting"

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
        self.state, self.progress, self.reason = State.NONE, 0.0, ""

    def tick(self) -> bool:
        """Look after the process; True if something that is shown has changed."""
        child = self._child
        if child is None:
            return False
        if child.exit_code is None:
            if child.age > self.deadline and self.state is State.RUNNING:
                self.state = State.FAILED
                self.reason = f"The {self.name} was not done within {self.deadline:.0f} s"
                child.let_go()
            return self._follow(child.log)
        self._child = None
        child.let_go()
        if self.state is State.RUNNING:
            if child.exit_code == 0:
                self._finish()
            else:
                self._fail(child)
        return True

    def _finish(self) -> None:
        try:
            self.finished(self.folder)
        except (OSError, ValueError, KeyError, RuntimeError) as problem:
            self.state, self.reason = State.FAILED, f"The {self.name} can't be read ({problem})"
        else:
            self.state, self.progress = State.OK, 1.0

    def _fail(self, child: Child) -> None:
        lines = child.last_words(12)
        said = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
        last = said[-1] if said else (lines[-1] if lines else "it printed nothing")
        self.state = State.FAILED
        self.reason = last if said else f"The {self.name} failed: {last[:200]}"

    def _follow(self, log: Path) -> bool:
        """Take in how far it says it is; whether that has changed."""
        try:
            with open(log, "rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except OSError:
            return False
        self._read += len(data)
        before = self.progress, self.message
        for line in data.decode("utf-8", "replace").splitlines():
            done = DONE_OF.search(line)
            if done is not None:
                self.progress = min(1.0, int(done[1]) / max(int(done[2]), 1))
            if line.strip() and not line.startswith(("{", "warning: ")) and self.state is State.RUNNING:
                self.message = line.partition(" · ")[0].strip()[:60]
        return before != (self.progress, self.message)

    def document(self, folder: Path) -> dict[str, Any]:
        """What the process has printed as JSON.

        Raises:
            OSError, ValueError: if it has not.
        """
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
        documents = [line for line in lines if line.startswith("{")]
        if not documents:
            raise ValueError("it printed no figures")
        return dict(json.loads(documents[-1]))

    def finished(self, folder: Path) -> None:
        """Take in what the process has made in ``folder``; for those who inherit."""


def scene_ready(scene: bpy.types.Scene) -> Settings:
    """The scene's settings, complete and checked, with its folders read anew.

    Raises:
        UserError: naming what is missing.
    """
    from .run_preparation import ready_settings

    return ready_settings(scene)
