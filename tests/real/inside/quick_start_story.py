# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: what somebody does who has just installed the extension, from the start-up file, as it is.

First a built-in model on its picture; then Quick Start, at first without an environment for the trainer; then undo.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def objects() -> list[str]:
    return sorted(o.name for o in bpy.context.scene.objects)


def story(d: Driver) -> Steps:
    props = bpy.context.scene.robot_keypoints
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python, preferences.runs = d.config["python"], d.config["runs"]
    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    with d.context("WINDOW"):
        bpy.ops.ed.undo_push(message="Settings")
    service = part("addon.services.quick_start").SERVICE
    prediction = part("addon.prediction.model_server").SERVICE
    runner = part("addon.services.training_run").RUNNER
    yield from d.open_sidebar("Keypoints")
    yield from d.station("1-start-up", objects=objects(), source=props.quick_start.source,
                         purpose=props.quick_start.purpose)  # fmt: skip

    yield from d.click_button('try_model(name="ur3e")', fractions=(0.75, 0.5))
    begun = time.monotonic()

    def seen() -> bool:
        if service.reason or service.question:
            raise RuntimeError(service.reason or service.question)
        return not service.running and prediction.prediction is not None

    yield from d.wait(seen, 120, "the overlay of the built-in model")
    seconds = time.monotonic() - begun
    yield from d.move(*d.middle("UI"))
    yield from d.station(
        "2-overlay", seconds=seconds, keypoints=[k.name for k in prediction.prediction.keypoints],
        perspective=d.view.spaces.active.region_3d.view_perspective, objects=objects(),
        steps=[s.mark.value for s in service.steps()],
    )  # fmt: skip

    props.quick_start.purpose = "fast"  # or the first step would take minutes on few processors
    preferences.python = ""
    yield from d.click_button("robot_keypoints.quick_start()")
    yield from d.wait(lambda: service.question, 60, "the question about the environment")
    yield from d.station(
        "3-question", question=service.question, robot=props.armature.name, objects=objects(),
        preset=props.scene.preset, keypoints=[k.name for k in props.keypoints],
    )  # fmt: skip
    preferences.python = d.config["python"]

    def steps() -> bool:
        if service.reason or service.question:
            raise RuntimeError(service.reason or service.question)
        return bool(runner.status is not None and runner.status.progress.get("step", 0) > 0)

    yield from d.pause(60)
    yield from d.wait(lambda: steps() or runner.status is not None, 240, "the training to be started")
    yield from d.station("4-starting", reason=service.reason, steps=[s.mark.value for s in service.steps()])
    yield from d.wait(steps, 400, "the first training step")
    yield from d.pause(60)
    yield from d.station("5-training", run=str(runner.session.folder), steps=[s.mark.value for s in service.steps()],
                         running=service.running)  # fmt: skip
    yield from d.stop_training(runner)
    yield from d.station("6-over", source=props.quick_start.source, purpose=props.quick_start.purpose)
    with d.context("WINDOW"):
        bpy.ops.ed.undo()
    yield from d.pause(20)
    scene = bpy.context.scene
    yield from d.station("7-undone", objects=objects(), hidden=scene.objects["Cube"].hide_render,
                         armature=scene.robot_keypoints.armature is not None)  # fmt: skip


DRIVER = Driver()
DRIVER.play(story)
