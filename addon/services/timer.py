# SPDX-License-Identifier: GPL-3.0-or-later
"""One timer that looks after everything that runs beside the window, and knows none of it: services sign up.

The timer survives loading files. It polls, keeps what panels show, and redraws only what has changed; panels never
ask a process anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy

INTERVAL = 0.2
LIVE_INTERVAL = 0.04


@dataclass(frozen=True)
class Watched:
    """One service.

    Attributes:
        tick: looks after it; whether panels, and whether viewports, must be drawn again.
        hurried: whether it is to be looked after every :data:`LIVE_INTERVAL`.
    """

    tick: Callable[[], tuple[bool, bool]]
    hurried: Callable[[], bool]


_watched: list[Watched] = []


def watch(tick: Callable[[], bool]) -> None:
    """Look after a service that only panels show: ``tick`` tells whether they must be drawn again."""
    _watched.append(Watched(lambda: (tick(), False), lambda: False))


def watch_live(tick: Callable[[], tuple[bool, bool]], hurried: Callable[[], bool]) -> None:
    """Look after a service that viewports show, too; see :class:`Watched`."""
    _watched.append(Watched(tick, hurried))


def tick() -> float:
    """Look after every service, and redraw what shows them if they have changed; seconds until the next time."""
    panel = viewport = False
    for service in _watched:
        changed = service.tick()
        panel, viewport = panel or changed[0], viewport or changed[1]
    if panel:
        redraw_sidebars()
    if viewport:
        redraw_viewports()
    return LIVE_INTERVAL if any(s.hurried() for s in _watched) else INTERVAL


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


def stop() -> None:
    """End the timer, and look after nothing any more."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    _watched.clear()
