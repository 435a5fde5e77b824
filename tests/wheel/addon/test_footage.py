# SPDX-License-Identifier: GPL-3.0-or-later
"""A labelled recording in the start-up scene: what is loaded stands over it, and what was there stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import labelled_recording as recording
import numpy as np
import pytest
import robot_keypoints
from refusals import refusal
from robot_keypoints.addon.footage import footage_camera, footage_in_scene
from robot_keypoints.addon.prediction import model_server
from robot_keypoints.addon.robot import joint_positions, rig
from robot_keypoints.addon.robot.robot_in_scene import RobotInScene
from robot_keypoints.addon.services import footage_jobs, training_run
from robot_keypoints.addon.services.run_preparation import ready_settings
from robot_keypoints.core.camera.intrinsics import invert, transform
from robot_keypoints.core.messages import labelled_footage

PAN = "shoulder_pan_joint"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[bpy.types.Scene]:
    bpy.ops.wm.read_factory_settings()
    robot_keypoints.register()
    scene = bpy.context.scene
    scene.robot_keypoints.footage.data = str(recording.write(tmp_path))
    bpy.ops.robot_keypoints.builtin_robot()
    yield scene
    robot_keypoints.unregister()


def standing(scene: bpy.types.Scene) -> Any:
    """What ``correct`` would be told."""
    footage = labelled_footage.load(Path(scene.robot_keypoints.footage.data))
    return footage_in_scene.correction(scene, footage, "cam")


def test_camera_rig_and_uncertainty_are_as_solved_in_every_frame(scene: bpy.types.Scene) -> None:
    bpy.ops.robot_keypoints.load_footage()
    assert (scene.frame_start, scene.frame_end) == (1, 5)
    armature = scene.robot_keypoints.armature
    for k in range(5):
        scene.frame_set(k + 1)
        told = standing(scene)
        assert told["frame"] == k
        np.testing.assert_allclose(told["T_cam_base"], recording.POSE, atol=1e-5)
        assert told["joints"] == pytest.approx(recording.positions(k), abs=1e-5)
        if k != recording.LEFT_OUT:
            assert armature[footage_in_scene.KEYPOINTS_DEVIATION] == pytest.approx(0.5 + 0.1 * k, abs=1e-6)
            assert armature[footage_in_scene.JOINT_DEVIATION.format(PAN)] == pytest.approx(0.001 * (k + 1))


def test_the_cameras_lens_is_the_calibrated_one(scene: bpy.types.Scene) -> None:
    bpy.ops.robot_keypoints.load_footage()
    camera, k, render = scene.camera, recording.CAMERA, scene.render
    assert (render.resolution_x, render.resolution_y) == (k.width, k.height)
    graph = bpy.context.evaluated_depsgraph_get()
    projection = np.array(camera.calc_matrix_camera(
        graph, x=k.width, y=k.height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    ))  # fmt: skip
    points = np.array([[0.1, -0.2, 2.0], [-0.5, 0.3, 1.5]])
    clip = np.c_[points * (1, -1, -1), np.ones(2)] @ projection.T
    seen = (clip[:, :2] / clip[:, 3:] * (0.5, -0.5) + 0.5) * (k.width, k.height) - 0.5
    pinhole = points[:, :2] / points[:, 2:] * (k.fx, k.fy) + (k.cx, k.cy)
    np.testing.assert_allclose(seen, pinhole, atol=0.01)
    (slot,) = camera.data.background_images
    assert slot.clip.frame_duration == 5 and slot.clip_user.use_render_undistorted


def test_doubtful_frames_are_marked_and_the_users_things_stay(scene: bpy.types.Scene) -> None:
    own = bpy.data.actions.new("Own")
    armature = scene.robot_keypoints.armature
    armature.animation_data_create().action = own
    scene.timeline_markers.new("mine", frame=2)
    before = {o.name for o in scene.objects}
    for _ in range(2):
        bpy.ops.robot_keypoints.load_footage(camera="cam")
    marked = {m.frame: m.name for m in scene.timeline_markers}
    assert set(marked) == {2, recording.LEFT_OUT + 1, recording.DOUBTFUL + 1} and marked[2] == "mine"
    assert marked[recording.LEFT_OUT + 1].startswith("left out: The image contradicts")
    assert {o.name for o in scene.objects} == before | {"Footage cam"}
    assert own.name in bpy.data.actions and own.use_fake_user
    assert len(bpy.data.movieclips) == 1 and len([a for a in bpy.data.actions if a != own]) == 1
    scene.frame_set(1)
    for wanted in (recording.LEFT_OUT + 1, recording.DOUBTFUL + 1, recording.LEFT_OUT + 1):
        bpy.ops.robot_keypoints.next_doubtful_frame()
        assert scene.frame_current == wanted


def test_a_posed_frame_is_kept(scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    bpy.ops.robot_keypoints.load_footage()
    scene.frame_set(recording.LEFT_OUT + 1)
    armature = scene.robot_keypoints.armature
    rig.pose(armature, {PAN: 1.25})
    kept: list[Any] = []
    monkeypatch.setattr(footage_jobs.CORRECTING, "begin", lambda data, document: kept.append((data, document)))
    bpy.ops.robot_keypoints.keep_footage_pose()
    ((data, document),) = kept
    assert data == Path(scene.robot_keypoints.footage.data) and document["frame"] == recording.LEFT_OUT
    assert document["joints"] == pytest.approx({**recording.positions(recording.LEFT_OUT), PAN: 1.25}, abs=1e-5)
    scene.frame_set(1)
    scene.frame_set(recording.LEFT_OUT + 1)
    assert joint_positions.positions(RobotInScene.of(scene, armature))[PAN] == pytest.approx(1.25, abs=1e-5)
    assert not [m for m in scene.timeline_markers if m.frame == recording.LEFT_OUT + 1]


def test_calibrated_cameras_stand_about_the_robot_or_on_its_link(scene: bpy.types.Scene, tmp_path: Path) -> None:
    entry = {
        "T_cam_base": recording.POSE.tolist(), "width": 128, "height": 96, "distortion": [0.0] * 5,
        "camera_matrix": recording.CAMERA.matrix.tolist(),
    }  # fmt: skip
    held = {**entry, "link": "wrist_3_link", "T_cam_link": entry["T_cam_base"]}
    del held["T_cam_base"]
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"cameras": {"left": entry, "hand": held}}), encoding="utf-8")
    user = scene.camera
    armature = scene.robot_keypoints.armature
    bpy.ops.robot_keypoints.place_calibrated_cameras(filepath=str(file))
    assert user.name in scene.objects and scene.camera.name == "Footage left"
    flip = np.diag([1.0, -1, -1, 1])
    for pan in (0.0, 0.7):
        rig.pose(armature, {PAN: pan})
        scene.view_layers[0].update()
        resting, hand = (np.array(footage_camera.camera_of(scene, n).matrix_world) @ flip for n in ("left", "hand"))
        link = rig.frame(scene, armature, "wrist_3_link")
        np.testing.assert_allclose(resting, invert(recording.POSE), atol=1e-5)
        np.testing.assert_allclose(transform(invert(hand) @ link, [[0.1, 0.2, 0.3]]),
                                   transform(recording.POSE, [[0.1, 0.2, 0.3]]), atol=1e-5)  # fmt: skip
    file.write_text("{}", encoding="utf-8")
    assert "calibration.json" in refusal(bpy.ops.robot_keypoints.place_calibrated_cameras, filepath=str(file))


def test_fine_tuning_goes_on_from_the_model_with_the_labels(
    scene: bpy.types.Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not bpy.ops.robot_keypoints.fine_tune.poll(), "there is no model yet"
    model = SimpleNamespace(state=model_server.State.READY, path=tmp_path / "model.safetensors")
    monkeypatch.setattr(model_server.SERVICE, "model", model)
    started: list[Any] = []
    monkeypatch.setattr(
        training_run.RUNNER, "start", lambda scene, change: started.append(change(ready_settings(scene)))
    )
    bpy.ops.robot_keypoints.fine_tune()
    (settings,) = started
    assert settings.training.start_from == str(model.path)
    assert [(d.path, d.share, d.held_out) for d in settings.data] == [(scene.robot_keypoints.footage.data, 0.5, 0.1)]
    assert settings.renders and not ready_settings(scene).data


def test_what_does_not_belong_together_changes_nothing(scene: bpy.types.Scene, tmp_path: Path) -> None:
    (tmp_path / "images" / "shot_02.png").unlink()
    before = {o.name for o in scene.objects}, scene.frame_end, scene.camera.name
    assert "shot_02.png" in refusal(bpy.ops.robot_keypoints.load_footage)
    assert "no camera nose" in refusal(bpy.ops.robot_keypoints.load_footage, camera="nose")
    scene.robot_keypoints.armature = None
    assert "no robot" in refusal(bpy.ops.robot_keypoints.load_footage)
    assert before == ({o.name for o in scene.objects}, scene.frame_end, scene.camera.name)
    scene.robot_keypoints.footage.data = ""
    assert "label it first" in refusal(bpy.ops.robot_keypoints.load_footage)


def test_a_frame_that_stands_as_labelled_is_not_written_again(
    scene: bpy.types.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.ops.robot_keypoints.load_footage()
    kept: list[Any] = []
    monkeypatch.setattr(footage_jobs.CORRECTING, "begin", lambda data, document: kept.append(document["frame"]))
    scene.frame_set(1)
    assert "pose it first" in refusal(bpy.ops.robot_keypoints.keep_footage_pose)
    assert not kept
    rig.pose(scene.robot_keypoints.armature, {PAN: recording.positions(0)[PAN] + 0.01})
    bpy.ops.robot_keypoints.keep_footage_pose()
    scene.frame_set(recording.DOUBTFUL + 1)
    bpy.ops.robot_keypoints.keep_footage_pose()
    assert kept == [0, recording.DOUBTFUL], "a doubtful frame can be confirmed as it stands"
