# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender, from its start-up scene: a recording is labelled and its camera calibrated, by clicks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, MissingError, Steps
from footage_story import open_footage_only, part


def in_scene() -> list[str]:
    return sorted(o.name for o in bpy.context.scene.objects)


def begin_and_rest(d: Driver, button: str, job: Any) -> Steps:
    """Click the button of a job, and leave the mouse on it until the job is done."""
    yield from d.click_button(button)
    yield from d.wait(lambda: job.running, 20, f"{button} to begin")
    said = set()

    def done() -> bool:
        said.add(job.message)
        return not job.running

    yield from d.wait(done, 240, f"{button} to end")
    if job.reason:
        raise MissingError(f"it says: {job.reason}")
    yield from d.pause(60)
    d.result[button] = sorted(said)


def story(d: Driver) -> Steps:
    bpy.context.preferences.addons[MODULE].preferences.python = d.config["python"]
    jobs = part("addon.services.footage_jobs")
    footage = bpy.context.scene.robot_keypoints.footage
    open_footage_only()
    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    bpy.ops.robot_keypoints.open_footage(filepath=d.config["footage"])
    bpy.ops.ed.undo_push(message="before")
    yield from d.open_sidebar("Keypoints")
    yield from begin_and_rest(d, "robot_keypoints.label_footage", jobs.LABELLING)
    yield from d.station("1-labelled", data=footage.data, mouse=d._at, height=d.window.height)

    before = in_scene()
    yield from begin_and_rest(d, "robot_keypoints.calibrate_footage", jobs.CALIBRATING)
    yield from d.station(
        "2-calibrated", before=before, objects=in_scene(), camera=bpy.context.scene.camera.name,
        calibration=jobs.CALIBRATING.calibration,
    )  # fmt: skip
    with d.context("WINDOW"):
        bpy.ops.ed.undo()
    yield from d.pause(20)
    d.result["undone"] = in_scene()


if __name__ == "__main__":
    DRIVER = Driver()
    DRIVER.play(story)
