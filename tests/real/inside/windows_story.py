# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: the camera's picture while a second window is open and used."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def story(d: Driver) -> Steps:
    capture = sys.modules[f"{MODULE}.addon.prediction.viewport_capture"]
    manager = bpy.context.window_manager
    spreads: dict[str, float] = {}

    def look(when: str) -> None:
        view = capture.find_viewport(bpy.context)
        spreads[when] = float(capture.camera_view(bpy.context.scene, view, 160)[..., :3].std())

    yield from d.pause(50)
    look("one window")
    before = set(manager.windows)
    with bpy.context.temp_override(window=d.window):
        bpy.ops.wm.window_new()
    (other,) = set(manager.windows) - before
    max(other.screen.areas, key=lambda a: a.width * a.height).type = "IMAGE_EDITOR"
    yield from d.pause(50)
    look("as it opens")
    for number in range(3):
        for kind, value in (("MOUSEMOVE", "NOTHING"), ("LEFTMOUSE", "PRESS"), ("LEFTMOUSE", "RELEASE")):
            other.event_simulate(type=kind, value=value, x=100 + number, y=100)
            yield from d.pause(10)
        look(f"after {number + 1} clicks")
    d.result["spreads"] = spreads


DRIVER = Driver()
DRIVER.play(story)
