# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: from the start-up file, as it is, to a contact sheet and the first training steps, by clicks.

The robot comes from where ``source`` says: the button Built-in, a URDF, or an armature that the user has made here.
Then the user puts a crate of their own around it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, Steps


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def robot(d: Driver) -> Steps:
    """Get the robot as ``source`` says."""
    props = bpy.context.scene.robot_keypoints
    source = d.config["source"]
    if source == "builtin":
        yield from d.click_button("robot_keypoints.builtin_robot")
    elif source == "urdf":
        with d.context("WINDOW"):
            bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    else:
        with d.context("WINDOW"):
            crane()
        yield from d.click_button("robot_keypoints.from_armature")
    yield from d.wait(lambda: props.armature is not None, 60, "the robot")


def crane() -> None:
    """An armature of three bones that turn, each with a part that hangs on it."""
    bpy.ops.object.armature_add(location=(0.0, 0.0, 0.0))
    made = bpy.context.object
    made.name = "crane"
    bpy.ops.object.mode_set(mode="EDIT")
    bones = made.data.edit_bones
    bones[0].tail = (0.0, 0.0, 0.5)
    for number in (1, 2):
        bone = bones.new(f"boom {number}")
        bone.head, bone.tail = (0.0, 0.0, 0.5 * number), (0.0, 0.0, 0.5 * number + 0.5)
        bone.parent = bones[number - 1]
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in made.pose.bones:
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = (False, True, True)
    for name in [b.name for b in made.data.bones]:
        bpy.ops.mesh.primitive_cylinder_add(radius=0.08, depth=0.5, rotation=(1.5708, 0.0, 0.0))
        obj = bpy.context.object
        obj.parent, obj.parent_type, obj.parent_bone = made, "BONE", name
        obj.location.y = -0.25
    bpy.context.view_layer.objects.active = made


def sheet(d: Driver, name: str, **seen: Any) -> Steps:
    """Make a contact sheet and keep the scene that it was rendered from."""
    service = part("addon.services.contact_sheet").SERVICE
    scenery = part("addon.properties.scenery")
    yield from d.click_button("robot_keypoints.contact_sheet")
    yield from d.wait(lambda: service.running, 20, "the contact sheet's process")
    yield from d.wait(lambda: not service.running, 240, "the contact sheet")
    yield from d.pause(20)
    shutil.copytree(service.folder, d.folder / name, ignore=shutil.ignore_patterns("*.txt"))
    scene = bpy.context.scene
    (editor,) = [a for a in d.window.screen.areas if a.type == "IMAGE_EDITOR"]
    yield from d.station(
        name, state=service.state.value, reason=service.reason, left_out=[o.name for o in scenery.left_out(scene)],
        in_the_way=[sentence for _, sentence in scenery.in_the_way(scene)],
        editor=[editor.x, d.window.height - editor.y - editor.height, editor.width, editor.height], **seen,
    )  # fmt: skip


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    found = {o.name: o.type for o in scene.objects}
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python, preferences.runs = d.config["python"], d.config["runs"]
    for table, values in d.config["settings"].items():
        for name, value in values.items():
            setattr(getattr(props, table), name, value)
    min(d.window.screen.areas, key=lambda a: a.width * a.height).type = "IMAGE_EDITOR"
    yield from d.open_sidebar("Keypoints")
    yield from robot(d)
    camera = scene.camera
    yield from d.station(
        "1-robot", found=found, camera=camera.name, there=[o.name for o in scene.objects],
        left_out=[o.name for o in part("addon.properties.scenery").left_out(scene)],
    )  # fmt: skip
    yield from d.click_button('scenery_keep(object="Light")', fractions=(0.75,))
    yield from d.wait(lambda: not scene.objects["Light"].hide_render, 10, "the light to come back")
    yield from sheet(d, "2-sheet")

    runner = part("addon.services.training_run").RUNNER
    yield from d.click_button("robot_keypoints.start_training")
    yield from d.wait(lambda: runner.session is not None, 30, "the session")

    def steps() -> bool:
        if runner.status.phase.over:
            raise RuntimeError(f"the training ended: {runner.status.reason}")
        return bool(runner.status.progress.get("step", 0) > 0)

    yield from d.wait(steps, 240, "the first training step")
    yield from d.station("3-training", run=str(runner.session.folder), camera=scene.camera.name)
    yield from d.stop_training(runner)

    prediction = part("addon.prediction.model_server")
    yield from d.click_button("robot_keypoints.load_trained_model")
    yield from d.wait(lambda: prediction.SERVICE.model.state is prediction.State.READY, 120, "the model to be loaded")
    yield from d.click_button("robot_keypoints.look_through_camera")
    yield from d.click_button("robot_keypoints.predict")
    shown = yield from d.wait(lambda: prediction.SERVICE.prediction, 60, "a prediction")
    yield from d.station("4-overlay", keypoints=[k.name for k in shown.keypoints], camera=scene.camera.name,
                         wanted=[k.name for k in props.keypoints])  # fmt: skip
    if not d.config["crate"]:
        return
    with d.context("WINDOW"):
        # Around all that the arm can reach, and nearer than any camera.
        bpy.ops.mesh.primitive_uv_sphere_add(radius=1.45, location=(0.0, 0.0, 0.2))
        crate = bpy.context.object
        crate.name = "Crate"
        bpy.ops.ed.undo_push(message="Crate")
    yield from sheet(d, "5-crate")
    yield from d.click_button("robot_keypoints.start_training")
    yield from d.wait(lambda: runner.status.phase.over, 240, "the training to refuse")
    yield from d.station("6-refused", phase=runner.status.phase.value, reason=runner.status.reason)
    yield from d.click_button('scenery_leave_out(object="Crate")')
    yield from d.station("7-left-out", hidden=[crate.hide_render, crate.hide_viewport])
    with d.context("WINDOW"):
        bpy.ops.ed.undo()
    scene = bpy.context.scene
    crate = scene.objects["Crate"]
    yield from d.station("8-undone", hidden=[crate.hide_render, crate.hide_viewport])
    yield from d.click_button('scenery_keep(object="Crate")')
    yield from sheet(d, "9-kept", hidden=[crate.hide_render, crate.hide_viewport])


DRIVER = Driver()
DRIVER.play(story)
