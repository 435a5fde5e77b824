# SPDX-License-Identifier: GPL-3.0-or-later
"""One timer that looks after everything that runs beside the window, and the training run itself.

The timer survives loading files. It polls, keeps what panels show, and redraws only what has changed; panels never
ask a process anything.
"""

from __future__ import annotations

import atexit
import time
import traceback
from collections.abc import Hashable
from datetime import datetime
from pathlib import Path

import bpy

from ...core import run_folder
from ...core.errors import UserError
from ...core.messages.obstruction import Obstruction
from ...core.names import free_name
from ...core.processes.session import Phase, Session, Status
from ...core.settings import schema as settings_module, validation
from ...core.settings.schema import Settings
from ..base.saving import save_copy
from ..prediction import follow_video, model_server
from ..properties import preferences, scene_check_report, scene_robots, to_settings
from ..robot import rig
from . import contact_sheet, model_evaluation, scene_check, trainer_environment

INTERVAL = 0.2
LIVE_INTERVAL = 0.04


class Runner:
    """The training run of this Blender, if there is one; it outlives the file it was started from."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.started = 0.0
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
        path = self.session.run / run_folder.MODEL
        return path if path.is_file() else None

    def start(self, scene: bpy.types.Scene) -> None:
        """Start a run of this scene in a new folder.

        Raises:
            UserError: naming what is missing.
        """
        if self.active:
            raise UserError("A training is running already: stop it first")
        settings = ready_settings(scene)
        programs = preferences.programs(settings.workers.blender)
        run = new_folder(scene)
        session = Session(run, settings, programs, robot=rig.robot_of(scene.robot_keypoints.armature))
        try:
            save_copy(run / run_folder.SCENE)
            session.start()
        except UserError:
            session.abandon()
            raise
        self._begin(session)

    def continue_run(self, run: Path) -> None:
        """Go on with an earlier run from its last checkpoint.

        Raises:
            UserError: if it can't be continued.
        """
        if self.active:
            raise UserError("A training is running already: stop it first")
        if not (run / run_folder.SETTINGS).is_file():
            raise UserError(f"{run} is not the folder of a run: choose one that has a settings.toml")
        settings = settings_module.load(run / run_folder.SETTINGS)
        session = Session(run, settings, preferences.programs(settings.workers.blender), resume=True)
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
        fingerprint = _fingerprint(self.session.status)
        changed = fingerprint != self._fingerprint
        self._fingerprint = fingerprint
        return changed

    def _begin(self, session: Session) -> None:
        self.session = session
        self.started = time.monotonic()
        ensure_timer()


def ready_settings(scene: bpy.types.Scene) -> Settings:
    """The scene's settings, complete and checked.

    Raises:
        UserError: naming what is missing.
    """
    missing = scene_robots.problem(scene)
    if missing:
        raise UserError(missing)
    group = scene.robot_keypoints
    if group.scene.worlds or group.augmentation.backgrounds:
        scene_robots.reread_folders(scene)
    settings = to_settings.read(scene)
    validation.check(settings)
    robots = scene_robots.robots(group)
    for armature in robots.values():
        if not armature.children_recursive and not rig.robot_meshes(armature):
            raise UserError(
                f"{armature.name} has no shapes, so no picture would show it: load a robot that has, or hang meshes "
                "on its bones"
            )
    for keypoint in settings.keypoints:
        if keypoint.frame not in robots[keypoint.robot].pose.bones and keypoint.frame not in scene.objects:
            raise UserError(
                f"The keypoint {keypoint.name!r} moves with {keypoint.frame!r}, which is not there: "
                "choose another bone or object, or remove it"
            )
    return settings


def new_folder(scene: bpy.types.Scene) -> Path:
    """A path for a new run, named by date and time."""
    chosen = bpy.path.abspath(scene.robot_keypoints.run_folder) or preferences.get().runs
    parent = Path(bpy.path.abspath(chosen)).expanduser()
    if not parent.is_absolute():
        raise UserError(
            f"The folder for runs, {chosen!r}, is not a full path: choose a folder under Training ▸ Settings"
        )
    name = datetime.now().strftime("%Y-%m-%d %H-%M-%S").replace(" ", "_")
    return parent / free_name(name, lambda n: (parent / n).exists(), separator="_")


def _fingerprint(status: Status) -> Hashable:
    progress = status.progress
    return (
        status.phase, status.message, status.reason, status.version, len(status.metrics), len(status.notices),
        status.obstruction.draws, progress.get("step"), progress.get("images"),
        round(float(progress.get("seconds_left", 0.0))),
        tuple((p.name, p.state, round(p.rate, 1), p.restarts) for p in status.processes.values()),
    )  # fmt: skip


RUNNER = Runner()


def tick() -> float:
    """The timer: look after run, environment and model, and redraw what shows them if they have changed."""
    changed = RUNNER.tick()
    for service in (trainer_environment.SERVICE, contact_sheet.SERVICE, scene_check.SERVICE, model_evaluation.SERVICE):
        changed = service.tick() or changed
    panel, viewport = model_server.SERVICE.tick()
    if follow_video.SERVICE.tick():
        panel = viewport = True
    if changed or panel:
        redraw_sidebars()
    if viewport:
        redraw_viewports()
    return LIVE_INTERVAL if model_server.SERVICE.hurried or follow_video.SERVICE.kind else INTERVAL


def redraw_sidebars() -> None:
    """Have every viewport's sidebar drawn again."""
    _redraw("UI")


def redraw_viewports() -> None:
    """Have every viewport drawn again."""
    _redraw("WINDOW")


def _redraw(region_type: str) -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == region_type:
                        region.tag_redraw()


def ensure_timer() -> None:
    """Start the timer unless it runs."""
    if not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=INTERVAL, persistent=True)


def _at_exit() -> None:
    RUNNER.abandon()


def register() -> None:
    """Start the timer; processes end when Blender quits."""
    ensure_timer()
    atexit.register(_at_exit)


def unregister() -> None:
    """End the run and the timer."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    atexit.unregister(_at_exit)
    RUNNER.forget()
