# SPDX-License-Identifier: GPL-3.0-or-later
"""One timer that looks after everything that runs beside the window.

The timer survives loading files. It polls, keeps what panels show, and redraws only what has changed; panels never
ask a process anything.
"""

from __future__ import annotations

import atexit

import bpy

from ..prediction import follow_video, model_server
from . import contact_sheet, model_evaluation, scene_check, trainer_environment
from .training_run import RUNNER

INTERVAL = 0.2
LIVE_INTERVAL = 0.04


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
