# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer's Python: building one, and asking one whether it works."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import UserError
from ...core.processes.environment_builder import check_folder, python_in
from ...core.processes.programs import LAUNCHER
from ..properties import preferences
from .jobs import Job, State, clean_environment

CHECK_DEADLINE = 180.0
OFFLINE = (
    "Blender may not use the network: switch on Preferences ▸ System ▸ Network ▸ Allow Online Access, then try again"
)


@dataclass(frozen=True)
class Health:
    """What ``doctor`` found."""

    state: State = State.NONE
    line: str = ""
    mend: tuple[str, ...] = ()
    python: str = ""


class Building(Job):
    """Makes an environment. Its progress is that of the present download; its log stays until the next one."""

    def __init__(self) -> None:
        super().__init__("environment")
        self._target = Path()

    def begin(self, folder: Path, base: str, index: str, requirements: Path | None) -> None:
        """Begin to build.

        Raises:
            UserError: if the folder can't be used, or one is being built.
        """
        check_folder(folder)
        self.prepare_empty()
        command = [sys.executable, str(LAUNCHER), "environment", "--progress", "--folder", str(folder)]
        command += ["--base", base or sys.executable, *(["--index", index] if index else [])]
        command += ["--requirements", str(requirements)] if requirements is not None else []
        self.start(command, clean_environment())
        self._target = folder

    def finished(self, folder: Path) -> None:
        """Choose the Python that was made."""
        preferences.set_python(str(python_in(self._target)))

    def cancelled(self) -> None:
        """Say what is left."""
        self.reason = "Cancelled; creating again in the same folder goes on from here"


class Checkup(Job):
    """Asks a Python whether everything works, and keeps its answer."""

    def __init__(self) -> None:
        super().__init__("check", CHECK_DEADLINE)
        self.health = Health()

    def begin(self, python: str) -> None:
        """Ask; the answer of the one before is forgotten.

        Raises:
            UserError: if the program can't be started.
        """
        program = preferences.blender_program()
        self.prepare_empty()
        # The doctor itself reads no stdin, so a guard sees to it that it never outlives Blender.
        command = [sys.executable, str(LAUNCHER), "environment", "--guard"]
        command += [python, str(LAUNCHER), "cli", "doctor", "--json", "--progress"]
        command += ["--blender", preferences.quoted(program)] if program else []
        self.start(command, clean_environment())
        self.health = Health(State.RUNNING, "checking …", python=python)

    def succeeded(self, code: int) -> bool:
        """Also where not everything works: the answer tells what."""
        return True

    def finished(self, folder: Path) -> None:
        """Read the answer."""
        said = self.lines[-1] if self.lines else "it printed nothing"
        self.health = read_health(self._document, said, self.health.python)

    def fail(self, reason: str) -> None:
        """It has not answered, or not sensibly."""
        super().fail(reason)
        self.health = Health(State.FAILED, reason, ("Choose another Python",), self.health.python)

    def forget(self) -> None:
        """End it and forget the answer."""
        super().forget()
        self.health = Health()


class Service:
    """Builds and checks; at most one of each at a time."""

    def __init__(self) -> None:
        self.building = Building()
        self.checkup = Checkup()
        self.wanted = False

    @property
    def health(self) -> Health:
        """What the last check said."""
        return self.checkup.health

    @property
    def busy(self) -> bool:
        """Whether a child runs."""
        return self.building.running or self.checkup.running

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
        self.building.begin(folder, base, index, requirements)

    def cancel(self) -> None:
        """End the building; what is there stays, and creating again completes it."""
        self.building.cancel()

    def check(self) -> None:
        """Ask the chosen Python whether everything works.

        Raises:
            UserError: if none is chosen.
        """
        if not self.checkup.running:
            self.checkup.begin(preferences.python())

    def forget_failure(self) -> None:
        """What did not work may have been mended: it is asked about again."""
        if self.health.state is State.FAILED:
            self.checkup.forget()

    def _check_unasked(self) -> None:
        """The first check of a Python, when the panel is looked at."""
        self.wanted = False
        if self.checkup.running or self.known:
            return
        try:
            self.check()
        except UserError as problem:
            self.checkup.health = Health(State.FAILED, str(problem), python=self.chosen)

    def tick(self) -> bool:
        """Look after the children; True if something that is shown has changed."""
        if self.wanted:
            self._check_unasked()
        was_building = self.building.running
        changed = self.building.tick()
        if was_building and self.building.state is State.OK:
            self.check()
        return self.checkup.tick() or changed

    def shutdown(self) -> None:
        """End both children and forget everything."""
        self.building.forget()
        self.checkup.forget()
        self.wanted = False


def read_health(document: Mapping[str, Any] | None, said: str, python: str) -> Health:
    """The doctor's answer in words.

    Args:
        document: what it printed as JSON; None where it didn't come to that.
        said: the last line of what it printed besides.

    Raises:
        AttributeError, TypeError: if the document is something else.
    """
    if document is None:
        return Health(State.FAILED, f"This Python can't run the trainer: {said[:160]}", ("Choose another one",), python)
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


def default_folder() -> Path:
    """Where a new environment goes unless the user says otherwise: beside the runs, not in the extension."""
    return Path.home() / "robot-keypoints-environment"


def may_go_online() -> bool:
    """Whether the user lets Blender use the network."""
    return bool(bpy.app.online_access)


SERVICE = Service()
