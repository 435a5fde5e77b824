# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: from the built-in robot to the overlay of a trained model, by clicks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python = d.config["python"]
    preferences.runs = d.config["runs"]

    yield from d.open_sidebar("Keypoints")
    panels = [n for n in dir(bpy.types) if n.startswith("KEYPOINTS_PT_")]
    yield from d.station("1-sidebar", panels=panels, tab=d.region("UI").active_panel_category)

    environment = part("addon.services.trainer_environment")
    yield from d.click_button("robot_keypoints.check_environment")
    busy = (environment.State.NONE, environment.State.RUNNING)
    yield from d.wait(lambda: environment.SERVICE.health.state not in busy, 180, "the check of the environment")
    health = environment.SERVICE.health
    yield from d.station("2-environment", state=health.state.value, line=health.line, mend=health.mend)

    yield from d.click_button("robot_keypoints.builtin_robot")
    yield from d.wait(lambda: props.armature is not None, 30, "the robot")
    yield from d.station(
        "3-robot", left_out=[o.name for o in part("addon.properties.scenery").left_out(scene)],
        bones=len(props.armature.data.bones), keypoints=[k.name for k in props.keypoints],
        variables=[v.name for v in props.variables],
    )  # fmt: skip

    yield from d.click_button('preset_choose(name="balanced")')
    yield from d.wait(lambda: props.variables["light/world"].use, 10, "the preset")
    varying = sum(v.use for v in props.variables)
    yield from d.station("4-preset", varying=varying, held=len(props.variables) - varying)
    yield from d.click_button('preset_choose(name="fast")')
    yield from d.wait(lambda: not props.variables["light/world"].use, 10, "the preset")

    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    # The sheet is shown where an Image Editor is open; else in a window of its own.
    min(d.window.screen.areas, key=lambda a: a.width * a.height).type = "IMAGE_EDITOR"
    sheet = part("addon.services.contact_sheet").SERVICE
    yield from d.unfold("robot_keypoints.check_scene", "robot_keypoints.variable_add")
    yield from d.click_button("robot_keypoints.contact_sheet")
    yield from d.wait(lambda: sheet.running, 10, "the contact sheet's process")

    # Meanwhile: any number of the scene can vary.
    lamp = 'lights["Light"].energy'
    manager = bpy.context.window_manager
    yield from d.click_button("robot_keypoints.variable_add", lambda: setattr(manager, "clipboard", f"bpy.data.{lamp}"))
    yield from d.pause(20)
    yield from d.press("RET", *d._at)
    yield from d.wait(lambda: any(v.path == lamp for v in props.variables), 10, "the variable")
    yield from d.station("5-own-variable", variable=next(v.name for v in props.variables if v.path))

    def pose() -> list[float]:
        bones = props.armature.pose.bones
        return [round(x, 5) for b in bones for row in b.matrix_basis for x in row]

    before = pose()
    yield from d.click_button("robot_keypoints.draw_sample")
    yield from d.wait(lambda: pose() != before, 30, "a drawn sample")
    yield from d.station("6-sample", camera=scene.camera is not None, energy=bpy.data.lights["Light"].energy)

    yield from d.wait(lambda: not sheet.running, 180, "the contact sheet")
    yield from d.pause(20)
    shown = [a.spaces.active.image for a in d.window.screen.areas if a.type == "IMAGE_EDITOR"]
    yield from d.station(
        "7-contact-sheet", state=sheet.state.value, reason=sheet.reason, windows=len(manager.windows),
        shown=[image.name for image in shown if image is not None],
        size=None if sheet.picture is None else sheet.picture.shape,
    )  # fmt: skip

    runner = part("addon.services.training_run").RUNNER
    yield from d.click_button("robot_keypoints.start_training")
    yield from d.wait(lambda: runner.session is not None, 30, "the session")

    def running() -> bool:
        if runner.status.phase.value == "failed":
            raise RuntimeError(f"the training failed: {runner.status.reason}")
        return bool(runner.status.progress.get("step", 0) > 0)

    yield from d.wait(running, 240, "the first training step")
    first = dict(runner.status.progress)
    initial = {v.name: v.prior.concentration for v in runner.settings.scene_model().variables}
    yield from d.station(
        "8-training", step=first["step"], version=runner.status.version,
        variables=[v.name for v in runner.settings.variables],
        processes={p.name: (p.state, p.pid, p.adapts) for p in runner.status.processes.values()},
    )  # fmt: skip

    def adapted() -> bool:
        running()
        status = runner.status
        return status.version > 0 and any(
            tuple(theta) != initial[name] for name, theta in status.concentrations.items()
        )

    yield from d.wait(adapted, 240, "a posterior")
    yield from d.wait(lambda: running() and runner.status.metrics, 240, "a validation")
    yield from d.wait(lambda: runner.status.progress["step"] > first["step"], 60, "the step counter to rise")
    changed = [n for n, theta in runner.status.concentrations.items() if tuple(theta) != initial[n]]
    yield from d.station(
        "9-adapted", step=runner.status.progress["step"], version=runner.status.version, changed=changed,
        rates={p.name: p.rate for p in runner.status.processes.values()},
    )  # fmt: skip

    yield from d.click_button(
        "robot_keypoints.pause_training", until=lambda: runner.status.phase.value != "training"
    )  # fmt: skip
    yield from d.wait(lambda: runner.status.phase.value == "paused", 60, "the pause")
    yield from d.station("10-paused")
    yield from d.click_button("robot_keypoints.resume_training", until=lambda: runner.status.phase.value != "paused")
    yield from d.wait(lambda: runner.status.phase.value == "training", 60, "the training to go on")

    pids = [p.pid for p in runner.status.processes.values()]
    yield from d.stop_training(runner, 30)
    yield from d.station(
        "11-stopped",
        phase=runner.status.phase.value,
        reason=runner.status.reason,
        run=str(runner.session.folder),
        pids=pids,
    )

    prediction = part("addon.prediction.model_server")
    yield from d.click_button("robot_keypoints.load_trained_model")
    yield from d.wait(lambda: prediction.SERVICE.model.state is prediction.State.READY, 120, "the model to be loaded")
    yield from d.click_button("robot_keypoints.look_through_camera")
    yield from d.wait(
        lambda: d.view.spaces.active.region_3d.view_perspective == "CAMERA", 30, "the view through the camera"
    )
    viewport, sidebar = d.region("WINDOW"), d.region("UI")
    yield from d.station("12-model")
    yield from d.click_button("robot_keypoints.predict")
    shown = yield from d.wait(lambda: prediction.SERVICE.prediction, 60, "a prediction")
    yield from d.move(*d.middle("UI"))
    yield from d.station(
        "13-overlay",
        keypoints=[(k.name, k.u, k.v, k.confidence) for k in shown.keypoints], size=(shown.width, shown.height),
        viewport=(viewport.x, viewport.y, sidebar.x - viewport.x if sidebar.x > viewport.x else viewport.width,
                  viewport.height),
        window=(d.window.width, d.window.height),
    )  # fmt: skip


DRIVER = Driver()
DRIVER.play(story)
