# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: a photograph whose camera is known, and camera and rig matched to it by clicks.

First with a model whose keypoints are exact, so that what comes out can be judged to the millimetre; then with the
model that comes with the extension, by its own button.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
from driver import MODULE, Driver, MissingError, Steps

WIDTH, HEIGHT = 640, 480


def part(name: str) -> Any:
    """A module of the extension, as Blender has loaded it."""
    return sys.modules[f"{MODULE}.{name}"]


def flat(matrix: Any) -> list[float]:
    return [float(x) for row in matrix for x in row]


def base_in_camera() -> Any:
    """``T_cam_base`` as the scene has it."""
    bpy.context.view_layer.update()
    scene = bpy.context.scene
    flip = part("core.camera.intrinsics").BLENDER_FROM_OPENCV
    camera = np.array(scene.camera.matrix_world.normalized()) @ flip
    return np.linalg.inv(camera) @ np.array(scene.robot_keypoints.armature.matrix_world)


def joints() -> dict[str, float]:
    """Where the robot's joints stand, radians."""
    scene = bpy.context.scene
    robot = part("addon.robot.robot_in_scene").RobotInScene.of(scene, scene.robot_keypoints.armature)
    return part("addon.robot.joint_positions").positions(robot)


def off(wanted: Any) -> list[float]:
    """By how many metres and degrees the scene's camera stands off a ``T_cam_base``."""
    motion = np.linalg.inv(base_in_camera()) @ np.linalg.inv(np.linalg.inv(np.array(wanted)))
    turn = math.degrees(math.acos(min(1.0, max(-1.0, (np.trace(motion[:3, :3]) - 1) / 2))))
    return [float(np.linalg.norm(motion[:3, 3])), turn]


def photograph(path: Path) -> bpy.types.Object:
    """Render the robot under a sun, and give the camera that took it: the one of Blender's start-up file."""
    scene = bpy.context.scene
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy = 3.0
    sun.matrix_world = Matrix.Rotation(0.6, 4, "X") @ Matrix.Rotation(0.4, 4, "Y")
    scene.collection.objects.link(sun)
    taker = scene.camera
    eye = Vector((1.5, -2.0, 1.3))
    turn = (eye - Vector((0.0, 0.0, 0.45))).to_track_quat("Z", "Y").to_matrix().to_4x4()
    taker.matrix_world = Matrix.Translation(eye) @ turn
    taker.data.lens, taker.data.sensor_width = 40.0, 36.0
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 8, False
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.25, 0.3, 0.35, 1.0)
    render.image_settings.file_format = "PNG"
    render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return taker


def story(d: Driver) -> Steps:
    scene = bpy.context.scene
    props = scene.robot_keypoints
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.python = d.config["exact"]
    rig, photo_pose = part("addon.robot.rig"), part("addon.prediction.pose_from_photo")
    prediction, following = part("addon.prediction.model_server").SERVICE, part("addon.prediction.follow_video").SERVICE
    ready = part("addon.prediction.model_server").State.READY
    folder = d.folder / "photograph"
    folder.mkdir()

    bpy.ops.robot_keypoints.load_urdf(filepath=d.config["urdf"])
    angles = d.config["angles"]
    rig.pose(props.armature, angles)
    photo = folder / "photo.png"
    camera = photograph(photo)
    wanted = base_in_camera().tolist()
    f = 40.0 / 36.0 * WIDTH
    truth = {
        "camera": [f, f, (WIDTH - 1) / 2, (HEIGHT - 1) / 2], "*": {"T_cam_base": wanted, "joints": angles},
        "urdf": d.config["urdf"],
    }  # fmt: skip
    turn = joints()
    elbow = "elbow_joint"
    for n in range(6):
        truth[f"grey {n}"] = {"T_cam_base": wanted, "joints": {**angles, elbow: angles[elbow] + 0.1 * n}}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    (folder / "exact.safetensors").write_bytes(b"-")
    camera.matrix_world = Matrix.Translation((6.0, 0.0, 1.0))
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080

    yield from d.open_sidebar("Keypoints")
    bpy.ops.robot_keypoints.load_model(filepath=str(folder / "exact.safetensors"))
    yield from d.wait(lambda: prediction.model.state is ready, 120, "the exact model to be loaded")
    bpy.ops.robot_keypoints.open_image(filepath=str(photo))
    bpy.ops.ed.undo_push(message="before")
    yield from d.find_button("robot_keypoints.place_camera", fractions=(0.4,))
    yield from d.station("1-before", joints=turn)

    def applied() -> Any:
        if photo_pose.message():
            raise MissingError(f"it says: {photo_pose.message()}")
        found = photo_pose.latest()
        return found if found is not None and found.applied else None

    before = flat(camera.matrix_world)
    yield from d.click_button("robot_keypoints.place_camera", fractions=(0.4,))
    found = yield from d.wait(applied, 60, "the camera to be placed")
    yield from d.move(*d.middle())
    yield from d.station(
        "2-placed", off=off(wanted), size=[scene.render.resolution_x, scene.render.resolution_y],
        lens=scene.camera.data.lens, view=d.view.spaces.active.region_3d.view_perspective,
        reprojection=found.pose.reprojection, ellipses=len(found.blurs),
    )  # fmt: skip

    with d.context("WINDOW"):
        bpy.ops.ed.undo()
    yield from d.pause(30)
    scene = bpy.context.scene
    props = scene.robot_keypoints
    d.result["undone"] = flat(scene.camera.matrix_world) == before
    d.result["undone_size"] = [scene.render.resolution_x, scene.render.resolution_y]

    found_joints = list(angles)[2:]
    rig.pose(props.armature, dict.fromkeys(found_joints, 0.3))
    photo_pose.forget()
    yield from d.click_button("robot_keypoints.pose_robot", fractions=(0.4,))
    yield from d.wait(applied, 60, "the robot to be posed")
    yield from d.move(*d.middle())
    yield from d.station("3-posed", off=off(wanted), joints=joints())

    bpy.ops.robot_keypoints.open_image(filepath=d.config["movie"])
    d.region("UI").tag_redraw()
    yield from d.pause(20)
    yield from d.click_button("follow(kind='ROBOT'", fractions=(0.93,))
    followed = []
    for frame in (1, 4, 2, 6):
        target = angles[elbow] + 0.1 * (frame - 1)
        scene.frame_set(frame)

        def there(target: float = target) -> bool:
            if following.message:
                raise MissingError(f"following says: {following.message}")
            now = joints()[elbow]
            return abs(now - target) < 0.02

        yield from d.wait(there, 30, f"frame {frame} to be followed")
        followed.append(joints()[elbow] - angles[elbow])
    yield from d.move(*d.middle())
    yield from d.station("4-followed", elbow=followed, rate=following.rate)
    yield from d.click_button("follow(kind='ROBOT'", fractions=(0.93,))
    d.result["stopped"] = following.kind == ""

    preferences.python = d.config["python"]
    yield from d.click_button("robot_keypoints.unload_model", fractions=(0.95, 0.93))
    yield from d.wait(lambda: prediction.model.state is not ready, 10, "the model to be put away")
    yield from d.pause(20)
    yield from d.click_button('load_builtin_model(name="ur10")')
    yield from d.wait(lambda: prediction.model.state is ready, 120, "the built-in model to be loaded")
    bpy.ops.robot_keypoints.open_image(filepath=str(photo))
    rig.pose(props.armature, angles)
    scene.camera.matrix_world = Matrix.Translation((6.0, 0.0, 1.0))
    yield from d.click_button("robot_keypoints.place_camera", fractions=(0.4,))
    found = yield from d.wait(applied, 120, "the camera to be placed by the built-in model, and its outline")
    yield from d.move(*d.middle())
    points = part("core.robot.keypoints").joint_keypoints(rig.robot_of(props.armature))
    frames = {"": rig.robot_of(props.armature).link_frames(angles)}
    places = part("core.robot.keypoints").positions(points, frames)
    k = found.lens.intrinsics
    pixels = [k.project(part("core.camera.intrinsics").transform(m, places))[0] for m in (wanted, base_in_camera())]
    yield from d.station(
        "5-built-in", off=off(wanted), model=prediction.model.name,
        pixels=np.linalg.norm(pixels[0] - pixels[1], axis=1).tolist(), inliers=found.pose.inliers,
        outline=found.pose.outline.used,
    )  # fmt: skip


DRIVER = Driver()
DRIVER.play(story)
