# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet: a few draws with their labels, rendered in the background to look at before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core import run_folder
from ...core.messages.obstruction import Obstruction
from ...core.processes.programs import LAUNCHER
from ..base import plots
from ..properties import preferences, scene_check_report
from .jobs import Job, clean_environment
from .run_preparation import ready_settings

COUNT = 16
DEADLINE = 600.0
FILE = "sheet.png"
IMAGE = "Contact Sheet"


class Sheet(Job):
    """Has the sheet made and keeps its picture."""

    def __init__(self) -> None:
        super().__init__("contact sheet", DEADLINE)
        self.picture: plots.Image | None = None
        self.number = 0

    def begin(self, scene: bpy.types.Scene) -> None:
        """Start the making of a sheet.

        Raises:
            UserError: naming what is missing.
        """
        settings = ready_settings(scene)
        python = preferences.python()
        blender = preferences.blender_words(settings.workers.blender)
        folder = self.prepare(settings)
        command = [python, str(LAUNCHER), "cli", "render", "--lifeline"]
        command += [str(folder / run_folder.SETTINGS), "--count", str(COUNT), "--sheet", str(folder / FILE)]
        command += ["--json", "--progress", *(["--blender", blender] if blender else [])]
        self.start(command, clean_environment())

    def finished(self, folder: Path) -> None:
        """Take the picture into the open file and show it, and take in what stands in the way."""
        scene_check_report.keep_obstruction(Obstruction.from_dict(self.document()["obstruction"]))
        image = load(folder / FILE)
        self.picture = pixels(image)
        self.number += 1
        show(image)

    def forget(self) -> None:
        """End it and show no picture any more."""
        super().forget()
        self.picture = None


SERVICE = Sheet()


def load(path: Path) -> bpy.types.Image:
    """The picture as a Blender image, packed: its file does not stay."""
    previous = bpy.data.images.get(IMAGE)
    image = bpy.data.images.load(str(path), check_existing=False)
    # Only now: an editor that shows the previous one would not notice another in its very place in memory.
    if previous is not None:
        bpy.data.images.remove(previous)
    image.name = IMAGE
    image.pack()
    return image


def pixels(image: bpy.types.Image) -> plots.Image:
    """Its pixels as panels draw them: ``(height, width, 4)`` float32, bottom row first."""
    width, height = image.size
    values = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, 4)


def show(image: bpy.types.Image) -> bool:
    """Show an image in an Image Editor that is open, or else in a window of its own; False without any window."""
    manager = bpy.context.window_manager
    if bpy.app.background:
        return False
    for window in manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR" and area.spaces.active.mode in ("VIEW", "MASK"):
                return _display(window, area, image)
    before = set(manager.windows)
    with bpy.context.temp_override(window=manager.windows[0]):
        bpy.ops.wm.window_new()
    window = next(w for w in manager.windows if w not in before)
    area = max(window.screen.areas, key=lambda a: a.width * a.height)
    area.type = "IMAGE_EDITOR"
    return _display(window, area, image)


def _display(window: bpy.types.Window, area: bpy.types.Area, image: bpy.types.Image) -> bool:
    space: Any = area.spaces.active
    space.image = image
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        if bpy.ops.image.view_all.poll():
            bpy.ops.image.view_all(fit_view=True)
    area.tag_redraw()
    return True
