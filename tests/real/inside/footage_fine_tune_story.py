# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender, from its start-up scene: a model is fine-tuned with a recording's labels, loaded, and asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, MissingError, Steps
from footage_story import part


def fold_others(*names: str) -> None:
    """Leave only these panels unfolded."""
    ours = [c for c in bpy.types.Panel.__subclasses__() if c.__name__.startswith("KEYPOINTS_PT_") and c.is_registered]
    # Of panels of the same order the one that is registered first stands first.
    for cls in sorted(ours, key=lambda c: (c.bl_order, c.__name__ != "KEYPOINTS_PT_quick_start")):
        bpy.utils.unregister_class(cls)
        cls.bl_options = set() if cls.__name__ in names else {"DEFAULT_CLOSED"}
        bpy.utils.register_class(cls)


def story(d: Driver) -> Steps:
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python, preferences.runs = d.config["python"], d.config["runs"]
    props = bpy.context.scene.robot_keypoints
    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    fold_others("KEYPOINTS_PT_training", "KEYPOINTS_PT_model", "KEYPOINTS_PT_footage")
    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    bpy.ops.robot_keypoints.open_footage_labels(directory=d.config["data"])
    yield from d.open_sidebar("Keypoints")

    yield from d.click_button("robot_keypoints.load_footage")
    yield from d.wait(lambda: props.footage.camera, 30, "the recording in the scene")
    frames = Path(d.config["data"]) / "frames.json"
    before = frames.read_bytes()
    yield from d.click_button("robot_keypoints.keep_footage_pose")
    yield from d.pause(40)
    jobs = part("addon.services.footage_jobs")
    yield from d.station(
        "1-kept-untouched", written=frames.read_bytes() != before, running=jobs.CORRECTING.running,
        source=json.loads(before)["frames"][0]["source"],
    )  # fmt: skip
    yield from d.press("ESC", *d._at)  # what it says stands before the panel
    yield from d.pause(40)

    server = part("addon.prediction.model_server")
    yield from d.click_button('load_builtin_model(name="ur10")')
    yield from d.wait(lambda: server.SERVICE.model.state is server.State.READY, 120, "the built-in model")
    runner = part("addon.services.training_run").RUNNER
    yield from d.click_button("robot_keypoints.fine_tune")
    yield from d.wait(lambda: runner.session is not None, 60, "the session")

    def learned() -> bool:
        if runner.status.phase.value == "failed":
            raise MissingError(f"the training failed: {runner.status.reason}")
        return bool(runner.status.metrics)

    yield from d.wait(learned, 300, "a validation")
    settings = runner.settings
    yield from d.station(
        "2-fine-tuning", start=settings.training.start_from, data=[(s.path, s.share) for s in settings.data]
    )
    d.look_from_top()
    yield from d.stop_training(runner)

    report = part("addon.services.run_report").SERVICE
    yield from d.click_button("robot_keypoints.report_run")
    yield from d.wait(lambda: report.running, 30, "the report to begin")
    yield from d.wait(lambda: not report.running, 240, "the report")
    yield from d.station("3-reported", page=report.page)

    yield from d.click_button("robot_keypoints.load_trained_model")
    yield from d.wait(
        lambda: server.SERVICE.model.state is server.State.READY and server.SERVICE.model.path == runner.model, 120,
        "the fine-tuned model",
    )  # fmt: skip
    yield from d.click_button("robot_keypoints.predict")
    shown = yield from d.wait(lambda: server.SERVICE.prediction, 60, "a prediction")
    yield from d.move(*d.middle())
    yield from d.station("4-asked", model=server.SERVICE.model.path, keypoints=len(shown.keypoints))


if __name__ == "__main__":
    DRIVER = Driver()
    DRIVER.play(story)
