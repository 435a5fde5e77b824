# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender, from its start-up scene: a labelled recording is loaded, looked at, corrected and taken back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, MissingError, Steps


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def there() -> dict[str, Any]:
    """What an Undo must bring back."""
    scene = bpy.context.scene
    return {
        "objects": sorted(o.name for o in scene.objects), "camera": scene.camera.name, "end": scene.frame_end,
        "size": [scene.render.resolution_x, scene.render.resolution_y], "shown": scene.robot_keypoints.footage.camera,
        "markers": [m.frame for m in scene.timeline_markers],
    }  # fmt: skip


def open_footage_only() -> None:
    """Fold every other panel, as a user may have it, and unfold this one."""
    for cls in bpy.types.Panel.__subclasses__():
        if cls.__name__.startswith("KEYPOINTS_PT_") and cls.is_registered:
            bpy.utils.unregister_class(cls)
            footage = cls.__name__ == "KEYPOINTS_PT_footage"
            cls.bl_options = set() if footage else {"DEFAULT_CLOSED"}
            bpy.utils.register_class(cls)


def story(d: Driver) -> Steps:
    bpy.context.preferences.addons[MODULE].preferences.python = d.config["python"]
    correcting, ok = part("addon.services.footage_jobs").CORRECTING, part("addon.services.jobs").State.OK
    failed = part("addon.services.jobs").State.FAILED
    open_footage_only()
    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    bpy.ops.robot_keypoints.open_footage_labels(directory=d.config["data"])
    bpy.ops.ed.undo_push(message="before")
    before = there()
    yield from d.open_sidebar("Keypoints")
    yield from d.station("1-before", **before)

    yield from d.click_button("robot_keypoints.load_footage")
    yield from d.wait(lambda: bpy.context.scene.robot_keypoints.footage.camera, 30, "the recording in the scene")
    yield from d.move(*d.middle())
    yield from d.pause(60)
    yield from d.station("2-loaded", view=d.view.spaces.active.region_3d.view_perspective, **there())

    with d.context("WINDOW"):
        bpy.ops.ed.undo()
    yield from d.pause(20)
    d.result["undone"] = there()
    with d.context("WINDOW"):
        bpy.ops.ed.redo()
    yield from d.pause(20)
    d.result["redone"] = there()

    yield from d.click_button("next_doubtful_frame(back=False", fractions=(0.93, 0.97))
    yield from d.move(*d.middle())
    yield from d.pause(40)
    scene = bpy.context.scene
    yield from d.station("3-doubtful", frame=scene.frame_current)

    armature = scene.robot_keypoints.armature
    joint = d.config["joint"]
    part("addon.robot.rig").pose(armature, {joint: 0.9})
    armature.update_tag()
    yield from d.pause(20)
    yield from d.click_button("robot_keypoints.keep_footage_pose")

    def kept() -> bool:
        if correcting.state is failed:
            raise MissingError(f"it says: {correcting.reason}")
        return correcting.state is ok

    yield from d.wait(kept, 120, "the label to be written")
    yield from d.move(*d.middle())
    frame = json.loads((Path(d.config["data"]) / "frames.json").read_text(encoding="utf-8"))["frames"][
        scene.frame_current - 1
    ]
    yield from d.station("4-kept", source=frame["source"], position=frame["joints"][joint], **there())


if __name__ == "__main__":
    DRIVER = Driver()
    DRIVER.play(story)
