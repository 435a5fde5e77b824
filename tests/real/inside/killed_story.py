# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: start a training and wait to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def story(d: Driver) -> Steps:
    props = bpy.context.scene.robot_keypoints
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python, preferences.runs = d.config["python"], d.config["runs"]
    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    yield from d.pause(50)
    with d.context("WINDOW"):
        bpy.ops.robot_keypoints.builtin_robot()
        bpy.ops.robot_keypoints.start_training()
    runner = sys.modules[f"{MODULE}.addon.services.training_run"].RUNNER

    def rendering() -> bool:
        if runner.status.phase.over:
            raise RuntimeError(f"the training ended: {runner.status.reason}")
        workers = [p for n, p in runner.status.processes.items() if n.startswith("worker")]
        return len(workers) == 2 and all(p.state == "rendering" for p in workers)

    yield from d.wait(rendering, 400, "two rendering workers")
    d.result["training"] = {"pids": {p.name: p.pid for p in runner.status.processes.values()}}


DRIVER = Driver()
DRIVER.play(story, quit_at_end=False)
