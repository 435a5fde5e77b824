# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer's Python: building one, and asking one whether it works. Both in child processes, polled by the timer."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.processes.child_process import Child
from ...core.processes.environment_builder import check_folder, python_in
from ...core.processes.programs import LAUNCHER
from ..properties import preferences

CHECK_DEADLINE = 180.0
LOG_LINES = 4
"""So many of the last lines are shown."""
OFFLINE = (
    "Blender may not use the network: switch on Preferences ▸ System ▸ Network ▸ Allow Online Access, then try again"
)


class State(Enum):
    """Where the building or the check stands."""

    NONE = "none"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Building:
    """What the panel shows while an environment is made; ``progress`` is that of the present download, 0 … 1."""

    state: State = State.NONE
    step: str = ""
    progress: float = 0.0
    lines: list[str] = field(default_factory=list)
    reason: str = ""
    log: Path | None = None


@dataclass
class Health:
    """What ``doctor`` found."""

    state: State = State.NONE
    line: str = ""
    mend: tuple[str, ...] = ()
    python: str = ""


class Service:
    """Builds and checks; at most one of each at a time."""

    def __init__(self) -> None:
        self.building = Building()
        self.health = Health()
        self.wanted = False
        self._builder: Child | None = None
        self._folder = Path()
        self._read = 0
        self._rest = ""
        self._doctor: Child | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def busy(self) -> bool:
        """Whether a child runs."""
        return self._builder is not None or self._doctor is not None

    @property
    def chosen(self) -> str:
        """The Python that is chosen now."""
        return str(bpy.path.abspath(preferences.get().python))

    @property
    def known(self) -> bool:
        """Whether :attr:`health` is about the Python that is chosen now."""
        return self.health.state is not State.NONE and self.health.python == self.chosen

    def create(self, folder: Path, base: str, index: str = "", requirements: Path | None = None) -> None:
        """Begin to build an environment.

        Raises:
            UserError: if the folder can't be used or one is being built.
        """
        if self._builder is not None:
            raise UserError("An environment is being made already: wait for it, or cancel it")
        check_folder(folder)
        arguments = ["environment", "--folder", str(folder), "--base", base or sys.executable]
        arguments += ["--index", index] if index else []
        arguments += ["--requirements", str(requirements)] if requirements is not None else []
        log = self._log("environment.log")
        self._builder = Child("environment", [sys.executable, str(LAUNCHER), *arguments], log, clean_environment())
        self._folder, self._read, self._rest = folder, 0, ""
        self.building = Building(State.RUNNING, "starting", log=log)

    def cancel(self) -> None:
        """End the building; what is there stays, and creating again completes it."""
        if self._builder is not None:
            self._builder.let_go()
            self.building.state = State.CANCELLED

    def check(self) -> None:
        """Ask the chosen Python whether everything works.

        Raises:
            UserError: if none is chosen.
        """
        if self._doctor is not None:
            return
        python = preferences.python()
        program = preferences.blender_program()
        # The doctor itself reads no stdin, so a guard sees to it that it never outlives Blender.
        command = [sys.executable, str(LAUNCHER), "environment", "--guard"]
        command += [python, str(LAUNCHER), "cli", "doctor", "--json"]
        command += ["--blender", preferences.quoted(program)] if program else []
        log = self._log("doctor.log")
        self._doctor = Child("doctor", command, log, clean_environment())
        self.health = Health(State.RUNNING, "checking …", python=python)

    def _check_unasked(self) -> None:
        """The first check of a Python, when the panel is looked at."""
        self.wanted = False
        if self._doctor is not None or self.known:
            return
        try:
            self.check()
        except UserError as problem:
            self.health = Health(State.FAILED, str(problem), python=self.chosen)

    def tick(self) -> bool:
        """Look after the children; True if something that is shown has changed."""
        if self.wanted:
            self._check_unasked()
        changed = self._tick_builder()
        return self._tick_doctor() or changed

    def shutdown(self) -> None:
        """End both children and forget everything."""
        for child in (self._builder, self._doctor):
            if child is not None:
                child.let_go()
                child.wait(2.0)  # it ends what it has started, too
                child.kill()
        if self._scratch is not None:
            self._scratch.cleanup()
        self.__init__()  # type: ignore[misc]

    def _tick_builder(self) -> bool:
        child = self._builder
        if child is None:
            return False
        code = child.exit_code
        changed = self._follow(child.log)
        if code is None:
            return changed
        self._builder = None
        child.let_go()
        if self.building.state is State.CANCELLED:
            self.building.reason = "Cancelled; creating again in the same folder goes on from here"
        elif code == 0:
            self.building.state = State.OK
            preferences.set_python(str(python_in(self._folder)))
            self.check()
        else:
            self.building.state = State.FAILED
            if not self.building.reason:
                self.building.reason = f"The environment could not be made (exit code {code}): look at the log"
        return True

    def _follow(self, log: Path) -> bool:
        """Take in what the builder has written since last time."""
        try:
            with open(log, "rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except OSError:
            return False
        if not data:
            return False
        self._read += len(data)
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self._hear(line.strip())
        return True

    def _hear(self, line: str) -> None:
        if step := re.fullmatch(r"step (\d+/\d+: .*)", line):
            self.building.step, self.building.progress = step[1], 0.0
        elif progress := re.fullmatch(r"progress ([\d.]+)", line):
            self.building.progress = float(progress[1])
        elif line.startswith("error: "):
            self.building.reason = line.removeprefix("error: ")
        elif line:
            self.building.lines = [*self.building.lines, line][-LOG_LINES:]

    def _tick_doctor(self) -> bool:
        child = self._doctor
        if child is None:
            return False
        if child.exit_code is None:
            if child.age < CHECK_DEADLINE:
                return False
            child.let_go()
            self.health = Health(
                State.FAILED, f"No answer within {CHECK_DEADLINE:.0f} s", ("Choose another Python",), self.health.python
            )
        else:
            self.health = read_health(child.log.read_text(encoding="utf-8", errors="replace"), self.health.python)
        child.let_go()
        self._doctor = None
        return True

    def _log(self, name: str) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="robot_keypoints_")
        log = Path(self._scratch.name) / name
        log.unlink(missing_ok=True)
        return log


def read_health(output: str, python: str) -> Health:
    """The doctor's answer in words."""
    document = next((d for d in map(_document, reversed(output.splitlines())) if d is not None), None)
    if document is None:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it printed nothing")
        return Health(State.FAILED, f"This Python can't run the trainer: {last[:160]}", ("Choose another one",), python)
    checks = [c for c in document.get("checks", []) if isinstance(c, dict)]
    failed = [c for c in checks if not c.get("ok")]
    if document.get("ok") and not failed:
        torch = str(document.get("torch", "")).split("+")[0]
        advice = tuple(str(c["mend"]) for c in checks if c.get("mend"))
        return Health(State.OK, f"torch {torch}, {document.get('device', '')}", advice, python)
    names = ", ".join(str(c.get("name")) for c in failed[:4]) + (" …" if len(failed) > 4 else "")
    first = failed[0] if failed else {}
    line = f"{names}: {first.get('detail', '')}" if len(failed) == 1 else f"Not working: {names}"
    mend = [str(c["mend"]) for c in failed if c.get("mend")]
    if len(failed) > 2:
        mend = ["Create an environment below, or choose a Python that has what is missing"]
    return Health(State.FAILED, line, tuple(mend), python)


def _document(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def clean_environment() -> dict[str, str]:
    """Blender's own Python settings must not reach another Python."""
    return {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}


def default_folder() -> Path:
    """Where a new environment goes unless the user says otherwise: beside the runs, not in the extension."""
    return Path.home() / "robot-keypoints-environment"


def may_go_online() -> bool:
    """Whether the user lets Blender use the network."""
    return bool(bpy.app.online_access)


SERVICE = Service()
