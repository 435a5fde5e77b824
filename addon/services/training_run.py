# SPDX-License-Identifier: GPL-3.0-or-later
"""The training run that the panel started or goes on with: it is polled, and what panels show of it is kept."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Hashable
from pathlib import Path

import bpy

from ...core import run_folder
from ...core.errors import UserError
from ...core.messages.obstruction import Obstruction
from ...core.processes.run_status import Phase, Status
from ...core.processes.session import Session
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ..base.saving import save_copy
from ..properties import preferences, scene_check_report
from ..robot import rig
from . import hardest_images
from .run_preparation import new_folder, ready_settings
from .timer import ensure_timer


class Runner:
    """The training run of this Blender, if there is one; it outlives the file it was started from."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.started = 0.0
        self.hardest = hardest_images.Sheet()
        """The hardest images of the last update."""
        self._fingerprint: Hashable = None
        self._obstruction = Obstruction()

    @property
    def status(self) -> Status | None:
        """What the run last said; None before the first one."""
        return self.session.status if self.session is not None else None

    @property
    def active(self) -> bool:
        """Whether processes run or are ending."""
        return self.session is not None and not self.session.status.phase.over

    @property
    def settings(self) -> Settings | None:
        """The settings that the run was started with."""
        return self.session.settings if self.session is not None else None

    @property
    def model(self) -> Path | None:
        """The run's best model so far, if it has been saved."""
        if self.session is None:
            return None
        path = self.session.folder / run_folder.MODEL
        return path if path.is_file() else None

    def start(self, scene: bpy.types.Scene, change: Callable[[Settings], Settings] = lambda s: s) -> None:
        """Start a run of this scene in a new folder.

        Args:
            change: of the scene's settings, for this run only.

        Raises:
            UserError: naming what is missing.
        """
        if self.active:
            raise UserError("A training is running already: stop it first")
        settings = change(ready_settings(scene))
        programs = preferences.programs(settings.workers.blender)
        folder = new_folder(scene)
        session = Session(folder, settings, programs, robot=rig.robot_of(scene.robot_keypoints.armature))
        try:
            save_copy(folder / run_folder.SCENE)
            session.start()
        except UserError:
            session.abandon()
            raise
        self._begin(session)

    def continue_run(self, folder: Path) -> None:
        """Go on with an earlier run from its last checkpoint.

        Raises:
            UserError: if it can't be continued.
        """
        if self.active:
            raise UserError("A training is running already: stop it first")
        if not (folder / run_folder.SETTINGS).is_file():
            raise UserError(f"{folder} is not the folder of a run: choose one that has a settings.toml")
        settings = toml_file.load(folder / run_folder.SETTINGS)
        session = Session(folder, settings, preferences.programs(settings.workers.blender), resume=True)
        session.start()
        self._begin(session)

    def abandon(self) -> None:
        """End the run's processes at once."""
        if self.session is not None:
            self.session.abandon()

    def forget(self) -> None:
        """End the run and show nothing of it any more."""
        self.abandon()
        self.session = None
        self.hardest.forget()
        self._fingerprint = None

    def tick(self) -> bool:
        """Poll the run; True if something that is shown has changed."""
        if self.session is None:
            return False
        try:
            self.session.poll()
        except Exception as problem:  # whatever went wrong, the user must learn of it and nothing may be left running
            traceback.print_exc()
            self.session.abandon()
            self.session.status.phase = Phase.FAILED
            self.session.status.reason = f"The run could not be followed any longer ({problem})"
        found = self.session.status.obstruction
        if found.draws and found is not self._obstruction:
            scene_check_report.keep_obstruction(found)
            self._obstruction = found
        self.hardest.refresh(self.session.folder, len(self.session.status.metrics))
        fingerprint = _fingerprint(self.session.status)
        changed = fingerprint != self._fingerprint
        self._fingerprint = fingerprint
        return changed

    def _begin(self, session: Session) -> None:
        self.session = session
        self.started = time.monotonic()
        ensure_timer()


def _fingerprint(status: Status) -> Hashable:
    progress = status.progress
    return (
        status.phase, status.message, status.reason, status.version, len(status.metrics), len(status.notices),
        status.obstruction.draws, progress.get("step"), progress.get("images"),
        round(float(progress.get("seconds_left", 0.0))),
        tuple((p.name, p.state, round(p.rate, 1), p.restarts) for p in status.processes.values()),
    )  # fmt: skip


RUNNER = Runner()
