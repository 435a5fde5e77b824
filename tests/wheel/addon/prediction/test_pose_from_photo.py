# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera and rig go to where a photograph shows them, and nothing else changes.

The server's keypoints are exact, so that what comes out must be, too.
"""

from __future__ import annotations

import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
import robot_keypoints
import zmq
from fake_model import ExactServer
from mathutils import Matrix
from refusals import refusal
from robot_keypoints.addon.prediction import follow_video, model_server, photo_source, pose_from_photo
from robot_keypoints.addon.properties import preferences
from robot_keypoints.addon.robot import joint_positions, rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, invert, orbit
from robot_keypoints.core.messages.model_client import ModelClient
from robot_keypoints.core.messages.model_document import ModelDescription
from robot_keypoints.core.messages.pose_publishing import PosePublisher
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.pose.silhouette import Shapes

WIDTH, HEIGHT = 96, 64
ANGLES = dict(
    zip(
        ("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint"),
        (0.4, -1.1, 1.3, -0.5, 0.8, 0.3),
        strict=True,
    )
)
PAN, LIFT, *_, LAST = ANGLES
POSE = invert(orbit(0.7, 0.4, 2.6, 0.1, (0.1, 0.0, 0.4)))
FOCAL = 50.0 / 36.0 * WIDTH


def truth(k: Intrinsics | None = None, **more: Any) -> dict[str, Any]:
    k = k or Intrinsics.from_lens(WIDTH, HEIGHT, 50.0)
    camera = [k.fx, k.fy, k.cx, k.cy, *k.distortion]
    return {"camera": camera, "*": {"T_cam_base": POSE.tolist(), "joints": ANGLES, **more}}


@pytest.fixture
def server() -> Iterator[ExactServer]:
    made = ExactServer(truth())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def loaded(server: ExactServer, photo: Path) -> Iterator[None]:
    """A model, a robot whose joints stand as in the photograph, and the photograph."""
    robot_keypoints.register()
    bpy.ops.robot_keypoints.builtin_robot()
    service = model_server.SERVICE
    service.model = model_server.Model(
        photo, model_server.State.READY, description=ModelDescription.of(server.info.to_dict())
    )
    service._client, service._address = ModelClient("127.0.0.1", server.port), ("127.0.0.1", server.port)
    rig.pose(armature(), ANGLES)
    props().overlay.image = str(photo)
    yield
    robot_keypoints.unregister()
    preferences._plain = preferences.Plain()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return picture(tmp_path / "photo.png")


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT, grey: float = 0.5) -> Path:
    image = bpy.data.images.new("made", width, height)
    image.generated_color = (grey, grey, grey, 1.0)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


def props() -> Any:
    return bpy.context.scene.robot_keypoints


def armature() -> bpy.types.Object:
    return props().armature


def base_in_camera() -> np.ndarray:
    """``T_cam_base`` as the scene has it."""
    bpy.context.view_layer.update()
    camera = np.array(bpy.context.scene.camera.matrix_world.normalized()) @ BLENDER_FROM_OPENCV
    return np.asarray(invert(camera) @ np.array(armature().matrix_world))


def new_camera(at: tuple[float, float, float] = (5.0, 1.0, 2.0)) -> bpy.types.Object:
    camera = bpy.data.objects.new("Own", bpy.data.cameras.new("Own"))
    camera.matrix_world = Matrix.Translation(at)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return camera


def shown_by_blender(point: np.ndarray) -> tuple[float, float]:
    """Pixel of a point in the world as Blender itself would render it; the top left pixel's centre is (0, 0)."""
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    scene = bpy.context.scene
    x, y, _ = world_to_camera_view(scene, scene.camera, Vector(point.tolist()))
    render = scene.render
    return x * render.resolution_x - 0.5, (1 - y) * render.resolution_y - 0.5


def test_a_camera_is_made_where_there_is_none() -> None:
    before = np.array(armature().matrix_world)
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert np.abs(base_in_camera() - POSE).max() < 2e-4
    assert np.array_equal(np.array(armature().matrix_world), before)
    scene = bpy.context.scene
    assert (scene.render.resolution_x, scene.render.resolution_y) == (WIDTH, HEIGHT)
    assert scene.camera.data.lens == pytest.approx(50.0)
    slot = photo_source.background(scene, bpy.data.images["photo.png"])
    assert slot.show_background_image and 0 < slot.alpha < 1 and slot.display_depth == "FRONT"
    assert props().overlay.source == "IMAGE"
    found = pose_from_photo.latest()
    assert found is not None and found.applied == "CAMERA"
    assert {b.name for b in found.blurs} >= {"base_link", "ee_link"} and len(found.axes) == 3


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", [(96, 64), (60, 90)])
def test_the_users_camera_moves_and_keeps_its_lens(
    fit: str, size: tuple[int, int], server: ExactServer, photo: Path
) -> None:
    """Blender itself must show the robot's points where the photograph has them."""
    width, height = size
    picture(photo, width, height)
    camera = new_camera()
    data = camera.data
    data.lens, data.sensor_width, data.sensor_height, data.sensor_fit = 28.0, 23.5, 15.6, fit
    data.shift_x, data.shift_y = 0.07, -0.04
    side, sensor = {"AUTO": (max(size), 23.5), "HORIZONTAL": (width, 23.5), "VERTICAL": (height, 15.6)}[fit]
    f = 28.0 / sensor * side
    k = Intrinsics(width, height, f, f, (width - 1) / 2 - 0.07 * side, (height - 1) / 2 - 0.04 * side)
    server.truth = truth(k)
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert bpy.context.scene.camera == camera and data.lens == pytest.approx(28.0)
    assert data.sensor_fit == fit and data.shift_x == pytest.approx(0.07)
    assert np.abs(base_in_camera() - POSE).max() < 2e-4
    tip = (POSE @ server.robot.link_frames(ANGLES)["ee_link"])[:3, 3]
    world = np.array(armature().matrix_world) @ server.robot.link_frames(ANGLES)["ee_link"]
    (expected,), _ = k.project(tip)
    assert shown_by_blender(world[:3, 3]) == pytest.approx(expected.tolist(), abs=0.05)


@pytest.mark.parametrize("tall", [1.0, 1.1, 0.9])
@pytest.mark.parametrize("fit", ["AUTO", "VERTICAL"])
def test_calibrated_intrinsics(tall: float, fit: str, server: ExactServer) -> None:
    """Two focal lengths and a principal point off the middle become Blender's lens, shift and pixel aspect."""
    new_camera().data.sensor_fit = fit
    k = Intrinsics(WIDTH, HEIGHT, 110.0, 110.0 / tall, 44.0, 35.0)
    server.truth = truth(k)
    p = props().photo
    p.lens, p.fx, p.fy, p.centred, p.cx, p.cy = "PIXELS", k.fx, k.fy, False, k.cx, k.cy
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert np.abs(base_in_camera() - POSE).max() < 2e-4
    for link in ("base_link", "forearm_link", "ee_link"):
        place = server.robot.link_frames(ANGLES)[link]
        (expected,), _ = k.project((POSE @ place)[:3, 3])
        world = np.array(armature().matrix_world) @ place
        assert shown_by_blender(world[:3, 3]) == pytest.approx(expected.tolist(), abs=0.05)


@pytest.mark.parametrize(
    ("settings", "focal"),
    [
        ({"lens": "MM", "focal_mm": 24.0, "sensor_mm": 32.0}, 72.0),
        ({"lens": "ANGLE", "angle": math.radians(90.0)}, 48.0),
        ({"lens": "PIXELS", "fx": 80.0}, 80.0),
        ({"lens": "PIXELS", "fx": 80.0, "distortion": (-0.2, 0.05, 0.001, -0.002, 0.0)}, 80.0),
    ],
)
def test_a_typed_lens(settings: dict[str, Any], focal: float, server: ExactServer) -> None:
    bent = settings.get("distortion", (0.0,) * 5)
    server.truth = truth(Intrinsics(WIDTH, HEIGHT, focal, focal, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, bent))
    for name, value in settings.items():
        setattr(props().photo, name, value)
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert np.abs(base_in_camera() - POSE).max() < 3e-4
    data = bpy.context.scene.camera.data
    assert data.lens / data.sensor_width * WIDTH == pytest.approx(focal)
    if settings["lens"] == "MM":
        assert (data.lens, data.sensor_width) == pytest.approx((24.0, 32.0))


def test_the_robot_where_it_stands_turned_scaled_and_hung_on_something() -> None:
    parent = bpy.data.objects.new("cell", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.matrix_world = Matrix.Translation((1.0, 2.0, 3.0)) @ Matrix.Rotation(0.5, 4, "X")
    armature().parent = parent
    armature().scale = (2.0, 2.0, 2.0)
    armature().location = (0.3, 0.0, 0.1)
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    there = base_in_camera()
    assert np.abs(there[:3, :3] / 2 - POSE[:3, :3]).max() < 2e-4
    assert np.abs(there[:3, 3] / 2 - POSE[:3, 3]).max() < 2e-4


@pytest.mark.parametrize("moves", ["CAMERA", "ROBOT"])
def test_pose_the_robot(moves: str) -> None:
    """All joints that the picture tells are found; pan and lift keep their values, and so does the last."""
    camera = new_camera()
    props().photo.moves = moves
    rig.pose(armature(), {**dict.fromkeys(ANGLES, 0.2), PAN: ANGLES[PAN], LIFT: ANGLES[LIFT]})
    still, mover = (armature(), camera) if moves == "CAMERA" else (camera, armature())
    before, moved = np.array(still.matrix_world), np.array(mover.matrix_world)
    assert bpy.ops.robot_keypoints.pose_robot() == {"FINISHED"}
    assert np.array_equal(np.array(still.matrix_world), before)
    assert np.abs(np.array(mover.matrix_world) - moved).max() > 0.1
    joints = joint_positions.positions(RobotInScene.of(bpy.context.scene, armature()))
    assert joints[LAST] == pytest.approx(0.2, abs=1e-5)
    assert {n: joints[n] for n in ANGLES if n != LAST} == pytest.approx(
        {n: v for n, v in ANGLES.items() if n != LAST}, abs=2e-3
    )
    assert np.abs(base_in_camera() - POSE).max() < 2e-3
    found = pose_from_photo.latest()
    assert found is not None and found.applied == moves


def test_joints_that_are_about_right_are_corrected(server: ExactServer) -> None:
    """What the picture doesn't tell stays as the rig has it, and no joint has to be asked for a second time."""
    elbow, server.truth = list(ANGLES)[2], truth(spread=((0.01, 0.0), (0.0, 0.01)))
    rig.pose(armature(), {elbow: ANGLES[elbow] + math.radians(3), LAST: 0.2})
    question = pose_from_photo.Question.of(bpy.context.scene, pose_from_photo.ROBOT, props().overlay.image)
    assert not question.deviations and not question.known(())
    props().photo.joints_deviation = math.radians(2)
    question = pose_from_photo.Question.of(bpy.context.scene, pose_from_photo.ROBOT, props().overlay.image)
    assert question.known(()).keys() == question.deviations.keys() == ANGLES.keys()
    assert bpy.ops.robot_keypoints.pose_robot() == {"FINISHED"}
    joints = joint_positions.positions(RobotInScene.of(bpy.context.scene, armature()))
    assert abs(joints[elbow] - ANGLES[elbow]) < math.radians(1)
    assert joints[LAST] == pytest.approx(0.2, abs=1e-4)
    found = pose_from_photo.latest()
    assert found is not None and found.pose.deviations.keys() == ANGLES.keys()
    assert found.pose.deviations[PAN] == pytest.approx(math.radians(2), rel=0.05)


def test_the_rigs_shapes_go_along_where_its_outline_may_place_the_camera(server: ExactServer) -> None:
    """Off by its switch, with joints that aren't exact, for the robot's joints and while a movie is followed; and a
    grey picture has no outline, so that keypoints count alone."""
    image, photo = props().overlay.image, props().photo
    assert photo.outline
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert server.asked[-1]["still"] is True
    assert len(server.asked[-1]["shapes"]) == len(Shapes.of(load_urdf(builtin_urdf())).links)
    found = pose_from_photo.latest()
    assert found is not None and found.pose.outline is not None and not found.pose.outline.used
    assert np.abs(base_in_camera() - POSE).max() < 2e-4
    of = pose_from_photo.Question.of
    assert of(bpy.context.scene, pose_from_photo.CAMERA, image, still=True).shapes is not None
    assert of(bpy.context.scene, pose_from_photo.CAMERA, image).shapes is None
    assert of(bpy.context.scene, pose_from_photo.ROBOT, image, still=True).shapes is None
    photo.joints_deviation = 0.03
    assert of(bpy.context.scene, pose_from_photo.CAMERA, image, still=True).shapes is None
    photo.joints_deviation, photo.outline = 0.0, False
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert "shapes" not in server.asked[-1]
    found = pose_from_photo.latest()
    assert found is not None and found.pose.outline is None


def test_undo_is_one_step(server: ExactServer) -> None:
    camera = new_camera()
    data = camera.data
    rig.pose(armature(), {LAST: 0.2})
    bpy.ops.ed.undo_push(message="before")
    before = np.array(camera.matrix_world), data.lens, bpy.context.scene.render.resolution_x
    server.truth = truth(Intrinsics(WIDTH, HEIGHT, 80.0, 80.0, 47.5, 31.5))
    props().photo.lens, props().photo.fx = "PIXELS", 80.0
    bpy.ops.ed.undo_push(message="lens")
    bpy.ops.robot_keypoints.pose_robot("EXEC_DEFAULT", True)
    assert bpy.context.scene.render.resolution_x == WIDTH
    bpy.ops.ed.undo()
    camera = bpy.context.scene.camera
    assert np.array_equal(np.array(camera.matrix_world), before[0])
    assert (camera.data.lens, bpy.context.scene.render.resolution_x) == before[1:]
    assert not camera.data.background_images
    assert armature().pose.bones["wrist_3_link"].rotation_euler[1] == pytest.approx(0.2)
    bpy.ops.ed.redo()
    assert np.abs(base_in_camera() - POSE).max() < 2e-3


def test_a_shared_cameras_twin_keeps_its_lens(server: ExactServer) -> None:
    camera = new_camera()
    twin = bpy.data.objects.new("twin", camera.data)
    bpy.context.scene.collection.objects.link(twin)
    server.truth = truth(Intrinsics(WIDTH, HEIGHT, 80.0, 80.0, 47.5, 31.5))
    props().photo.lens, props().photo.fx = "PIXELS", 80.0
    bpy.ops.robot_keypoints.place_camera()
    assert twin.data.lens == 50.0 and camera.data.lens == pytest.approx(30.0) and not twin.data.background_images


def test_the_users_background_stays() -> None:
    camera = new_camera()
    own = camera.data.background_images.new()
    own.image = bpy.data.images.new("plan", 4, 4)
    own.alpha = 0.3
    for _ in range(2):
        bpy.ops.robot_keypoints.place_camera()
        slots = [(b.image.name, b.show_background_image) for b in camera.data.background_images]
        assert slots == [("plan", False), ("photo.png", True)]
    assert camera.data.background_images[0].alpha == pytest.approx(0.3)
    camera.data.background_images[1].alpha = 0.8
    bpy.ops.robot_keypoints.place_camera()
    assert camera.data.background_images[1].alpha == pytest.approx(0.8)


def test_joints_are_read_as_they_are_seen() -> None:
    """A constraint, a driver or another turn of the channel: what counts is how the bone stands."""
    rig.pose(armature(), {PAN: 0.4 + math.tau, LIFT: 0.0})
    bone = armature().pose.bones["upper_arm_link"]
    curve = bone.driver_add("rotation_euler", 1)
    curve.driver.expression = "-1.1"
    limit = armature().pose.bones["forearm_link"].constraints.new("LIMIT_ROTATION")
    limit.owner_space, limit.use_limit_y, limit.min_y, limit.max_y = "LOCAL", True, 1.3, 1.3
    rig.pose(armature(), {"elbow_joint": 2.0})
    found = joint_positions.positions(RobotInScene.of(bpy.context.scene, armature()))
    expected = {**ANGLES, PAN: 0.4 + math.tau}
    expected[PAN] = found[PAN]
    assert found == pytest.approx(expected, abs=1e-5)
    assert math.remainder(found[PAN] - 0.4, math.tau) == pytest.approx(0.0, abs=1e-5)
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}
    assert np.abs(base_in_camera() - POSE).max() < 2e-4


def test_refusals(tmp_path: Path, server: ExactServer) -> None:
    """One sentence each, and the scene stays as it was."""
    place, pose = bpy.ops.robot_keypoints.place_camera, bpy.ops.robot_keypoints.pose_robot
    camera = new_camera()
    before = np.array(camera.matrix_world)

    def refuse(words: str, operator: Any = place, **arguments: Any) -> None:
        assert words in (text := refusal(operator, **arguments)), text
        assert pose_from_photo.message() == text
        assert np.array_equal(np.array(camera.matrix_world), before)

    text = tmp_path / "notes.txt"
    text.write_text("no image")
    refuse("can't be opened as an image", filepath=str(text))
    refuse("There is no image at", filepath=str(tmp_path / "none.png"))
    server.truth = truth(occluded=["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2"])
    refuse("oo few")
    server.truth = truth(occluded=server.info.keypoints)
    refuse("No keypoint")
    server.truth = truth()
    props().photo.lens, props().photo.fx = "PIXELS", 1e9
    refuse("focal length fx")
    props().photo.fx, props().photo.centred, props().photo.cx = 100.0, False, 1e6
    refuse("principal point")
    props().photo.lens = "CAMERA"
    camera.data.type = "ORTHO"
    refuse("is not a perspective camera")
    camera.data.type = "PERSP"
    camera.constraints.new("TRACK_TO")
    refuse("held by its constraint Track To")
    camera.constraints.clear()
    camera.driver_add("location", 0)
    refuse("moved by drivers")
    camera.driver_remove("location", 0)
    armature().scale = (1.0, 1.0, 2.0)
    refuse("scaled unevenly", pose)
    armature().scale = (1.0, 1.0, 1.0)
    props().armature.name = "arm"
    description = model_server.SERVICE.model.description
    known = dict(description.robot or {})
    other = {**known, "name": "panda"}
    other["joints"] = [{**j, "name": f"panda_{j['name']}"} for j in other["joints"]]
    model_server.SERVICE.model.description = replace(description, robot=other)
    refuse("The model is of the robot panda, the rig is arm (6 joints differ", pose)
    longer = {**known, "joints": [dict(j) for j in known["joints"]]}
    for j in longer["joints"]:
        j["origin"] = [[*row[:3], 1.3 * row[3]] for row in j["origin"][:3]] + [j["origin"][3]]
    model_server.SERVICE.model.description = replace(description, robot=longer)
    refuse("has other measures than the rig arm")
    model_server.SERVICE.model.description = description
    assert place() == {"FINISHED"}
    bpy.data.objects.remove(props().armature)
    assert not place.poll()
    model_server.SERVICE.unload()
    assert not place.poll() and pose_from_photo.latest() is None


def test_a_joint_beyond_its_limits_is_the_servers_sentence() -> None:
    rig.pose(armature(), {"elbow_joint": 9.0})
    description = model_server.SERVICE.model.description
    known = dict(description.robot or {})
    joints = [{**j, "limits": [0.0, 0.5]} if j["name"] == LIFT else j for j in known["joints"]]
    model_server.SERVICE.model.description = replace(description, robot={**known, "joints": joints})
    assert bpy.ops.robot_keypoints.place_camera() == {"FINISHED"}  # the limits of the server's own robot count


def follow_until(frame: int, seconds: float = 20.0) -> None:
    bpy.context.scene.frame_set(frame)
    end = time.monotonic() + seconds
    before = pose_from_photo.latest()
    while pose_from_photo.latest() is before or follow_video.SERVICE._talk is None or follow_video.SERVICE._talk.busy:
        follow_video.SERVICE.tick()
        assert not follow_video.SERVICE.message, follow_video.SERVICE.message
        assert time.monotonic() < end, "nothing was found"
        time.sleep(0.005)


def crane() -> bpy.types.Object:
    """A user's own armature: a mast that turns, a boom that tilts, a slide, and a hook that is no joint."""
    data = bpy.data.armatures.new("crane")
    made = bpy.data.objects.new("crane", data)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    for name, head, tail, parent in (
        ("mast", (0, 0, 0), (0, 0, 1), ""), ("boom", (0, 0, 1), (0.9, 0.2, 1.4), "mast"),
        ("slide", (0.9, 0.2, 1.4), (1.3, 0.3, 1.5), "boom"), ("hook", (1.3, 0.3, 1.5), (1.3, 0.3, 1.1), "slide"),
    ):  # fmt: skip
        bone = data.edit_bones.new(name)
        bone.head, bone.tail = head, tail
        bone.parent = data.edit_bones.get(parent)
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, turns, slides in (("mast", 1, None), ("boom", 0, None), ("slide", None, 1), ("hook", None, None)):
        bone = made.pose.bones[name]
        bone.rotation_mode = "XYZ"
        bone.lock_rotation = [i != turns for i in range(3)]
        bone.lock_location = [i != slides for i in range(3)]
    made.pose.bones["hook"].rotation_euler = (0.3, 0.2, 0.1)
    return made


def test_an_own_armature_is_told_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bones, written as URDF and read back, stand as Blender poses them."""
    made = crane()
    made.matrix_world = Matrix.Translation((1.0, 2.0, 0.5)) @ Matrix.Rotation(0.4, 4, "Z")
    started: list[list[str]] = []
    monkeypatch.setattr(model_server, "Child", lambda name, command, *rest: started.append(command) or Asked())

    class Asked:
        def kill(self) -> None:
            pass

    preferences._plain.python = sys.executable
    props().armature = made
    learned = tmp_path / "crane.safetensors"
    for robot, told in ((None, True), ({"name": "r"}, False)):
        head = json.dumps({"__metadata__": {"robot_keypoints": json.dumps({"robot": robot})}}).encode()
        learned.write_bytes(len(head).to_bytes(8, "little") + head)
        bpy.ops.robot_keypoints.load_model(filepath=str(learned))
        assert ("--robot" in started[-1]) == told
        if told:
            known = load_urdf(started[-1][started[-1].index("--robot") + 1])
    assert [j.name for j in known.moving_joints] == ["mast", "boom", "slide"]
    wanted = {"mast": 0.7, "boom": -0.4, "slide": 0.05}
    rig.pose(made, wanted)
    bpy.context.view_layer.update()
    assert joint_positions.positions(RobotInScene.of(bpy.context.scene, made)) == pytest.approx(wanted, abs=1e-6)
    frames = known.link_frames(wanted)
    for bone in made.pose.bones:
        assert np.abs(frames[bone.name] - np.array(bone.matrix)).max() < 1e-5, bone.name


def test_of_poses_that_fit_alike_the_other_one_can_be_taken(server: ExactServer) -> None:
    from dataclasses import replace

    assert "There is no pose" in refusal(bpy.ops.robot_keypoints.other_pose)
    bpy.ops.robot_keypoints.place_camera()
    assert "No other pose" in refusal(bpy.ops.robot_keypoints.other_pose)
    found = pose_from_photo.latest()
    assert found is not None
    second = invert(orbit(0.2, 0.3, 2.2, 0.0, (0.1, 0.0, 0.4)))
    pose_from_photo.remember(replace(found, pose=replace(found.pose, alternatives=(second,))))
    for wanted in (second, POSE, second):
        assert bpy.ops.robot_keypoints.other_pose() == {"FINISHED"}
        assert np.abs(base_in_camera() - wanted).max() < 2e-4


@pytest.mark.parametrize("kind", ["CAMERA", "ROBOT"])
def test_a_numbered_sequence_is_followed(kind: str, tmp_path: Path, server: ExactServer) -> None:
    """Frame by frame, each with another pose; each file has a grey of its own."""
    poses = [invert(orbit(0.7 + 0.2 * n, 0.4, 2.6, 0.1, (0.1, 0.0, 0.4))) for n in range(3)]
    server.truth = truth()
    for n, wanted in enumerate(poses):
        file = picture(tmp_path / f"shot_{n + 7:03}.png", grey=0.1 * n)
        angles = {**ANGLES, "elbow_joint": 1.3 + 0.1 * n}
        server.truth[str(zlib.crc32(file.read_bytes()))] = {"T_cam_base": wanted.tolist(), "joints": angles}
    assert "nothing to follow" in refusal(bpy.ops.robot_keypoints.follow, kind=kind)
    bpy.ops.robot_keypoints.open_image(filepath=str(tmp_path / "shot_008.png"), sequence=True)
    bpy.ops.robot_keypoints.follow(kind=kind)
    for n in (0, 2, 1):
        if kind == "CAMERA":
            rig.pose(armature(), {"elbow_joint": 1.3 + 0.1 * n})
        follow_until(n + 1)
        assert np.abs(base_in_camera() - poses[n]).max() < 3e-3
        joints = joint_positions.positions(RobotInScene.of(bpy.context.scene, armature()))
        assert joints["elbow_joint"] == pytest.approx(1.3 + 0.1 * n, abs=3e-3)
    bpy.context.scene.frame_set(50)
    assert photo_source.current(bpy.context.scene, props().overlay.image) == 3, "past its end it stands still"
    bpy.ops.robot_keypoints.follow(kind=kind)
    assert not follow_video.SERVICE.kind
    slot = bpy.context.scene.camera.data.background_images[0]
    assert slot.image.source == "SEQUENCE" and slot.image_user.frame_offset == 6


def test_live_looks_again_when_the_frame_changes_and_not_before(tmp_path: Path, server: ExactServer) -> None:
    for n in range(2):
        picture(tmp_path / f"shot_{n}.png")
    service = model_server.SERVICE
    service._child = SimpleNamespace(exit_code=None, kill=lambda: None)  # type: ignore[assignment]
    bpy.ops.robot_keypoints.open_image(filepath=str(tmp_path / "shot_0.png"), sequence=True)
    bpy.context.window_manager.robot_keypoints.live = True

    def asked(count: int, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(server.asked) < count:
            service._next_request = 0.0
            service.tick()
            time.sleep(0.005)
        return len(server.asked) >= count

    assert asked(1, 20.0)
    service.scene_changed()
    assert not asked(2, 0.5), "the picture is the same"
    bpy.context.scene.frame_set(2)
    assert asked(2, 20.0)
    bpy.ops.robot_keypoints.place_camera()
    service.scene_changed()
    assert not asked(4, 0.5) and pose_from_photo.latest() is not None, "the pose that was found stays"


def test_another_file_ends_following(tmp_path: Path) -> None:
    for n in range(2):
        picture(tmp_path / f"shot_{n}.png")
    bpy.ops.robot_keypoints.open_image(filepath=str(tmp_path / "shot_0.png"), sequence=True)
    bpy.ops.robot_keypoints.follow(kind="CAMERA")
    assert follow_video.SERVICE.kind
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not follow_video.SERVICE.kind and pose_from_photo.latest() is None


@pytest.mark.parametrize("kind", ["CAMERA", "ROBOT"])
def test_a_publisher_is_followed(kind: str, server: ExactServer) -> None:
    """Without a model in Blender; what is heard last counts, and its end is told."""
    model_server.SERVICE.unload()
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.robot_keypoints.builtin_robot()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.XPUB)
    PosePublisher.prepare(socket)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    publisher = PosePublisher(socket)
    props().photo.address = f"tcp://127.0.0.1:{port}"
    camera = dict(zip(("fx", "fy", "cx", "cy"), truth()["camera"], strict=False), distortion=[0.0] * 5)
    point = {"name": "elbow", "u": 4.0, "v": 5.0, "confidence": 0.9, "covariance": [[1.0, 0.0], [0.0, 1.0]]}
    pose = {
        "status": "solved", "T_cam_base": POSE.tolist(), "covariance": (1e-6 * np.eye(6)).tolist(),
        "reprojection_px": 0.5, "inliers": ["elbow"], "joints": ANGLES,
    }  # fmt: skip
    document = {
        "time": 0.0, "source": "webcam:0", "frame": 1, "seconds": 0.1, "width": WIDTH, "height": HEIGHT,
        "milliseconds": 1.0, "keypoints": [point], "camera": camera, "pose": pose, "robot": "ur10", "model": "m",
    }  # fmt: skip
    try:
        bpy.ops.robot_keypoints.follow(kind=kind, published=True)
        publisher.publish(document)

        def until(condition: Callable[[], Any], each: Callable[[], None]) -> None:
            end = time.monotonic() + 20
            while not condition():
                each()
                follow_video.SERVICE._not_before = 0.0
                follow_video.SERVICE.tick()
                assert time.monotonic() < end, follow_video.SERVICE.message
                time.sleep(0.01)

        until(lambda: pose_from_photo.latest() is not None and pose_from_photo.latest_applied(), publisher.welcome)
        assert np.abs(base_in_camera() - POSE).max() < 2e-4
        joints = joint_positions.positions(RobotInScene.of(bpy.context.scene, armature()))
        assert joints == pytest.approx(ANGLES if kind == "ROBOT" else dict.fromkeys(ANGLES, 0.0), abs=1e-5)
        found = pose_from_photo.latest()
        assert found is not None and len(found.blurs) > 6
        publisher.publish({**document, "pose": {**pose, "joints": {"finger": 1.0}}})
        until(lambda: "has the joint finger, which the rig lacks" in follow_video.SERVICE.message, publisher.welcome)
        publisher.publish({**document, "pose": None})
        until(lambda: "without a pose" in follow_video.SERVICE.message, publisher.welcome)
        publisher.publish({**document, "pose": {"status": "hidden", "sentence": "Nothing is seen."}})
        until(lambda: follow_video.SERVICE.message == "Nothing is seen", publisher.welcome)
    finally:
        bpy.ops.robot_keypoints.follow(kind=kind, published=True)
        context.destroy(linger=0)
    assert not follow_video.SERVICE.kind


def test_addresses() -> None:
    from robot_keypoints.core.errors import UserError

    assert follow_video.address("tcp://127.0.0.1:5555") == ("127.0.0.1", 5555)
    assert follow_video.address(" localhost:99 ") == ("localhost", 99)
    for text in ("udp://1.2.3.4:5", "nonsense", "tcp://1.2.3.4", "tcp://1.2.3.4:99999999", "tcp://:5"):
        with pytest.raises(UserError, match="is none"):
            follow_video.address(text)
