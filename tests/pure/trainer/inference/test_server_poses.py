# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses that a model server is asked for: the same as ``predict`` gives, and one sentence for each mistake."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_network import ANGLES, CAMERA, INFO, LIFT, NAMES, PAN, POINTS, POSE, UR10, Fake
from numpy.typing import NDArray
from robot_keypoints.core.camera.intrinsics import Intrinsics, transform
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages.envelope import MessageError, encode_request, parse
from robot_keypoints.core.messages.pose import PoseRequest, PredictedPose
from robot_keypoints.core.messages.prediction import Prediction, decode_answer
from robot_keypoints.core.messages.robot_shapes import RobotShapes, ShapePart
from robot_keypoints.core.robot import keypoints
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.trainer.inference import server_requests
from robot_keypoints.trainer.inference.pose_finder import PoseFinder
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.networks.two_passes import MOVING, STILL
from robot_keypoints.trainer.pose.silhouette import Shapes


def ask(pose: Any, fake: Fake | None = None, info: ModelInfo = INFO, urdf: Path | None = None) -> dict[str, Any]:
    header = encode_request("predict", id=4, encoding="rgb", width=64, height=48, pose=pose)
    frames = [b"me", b"", header, bytes(64 * 48 * 3)]
    return parse(server_requests.answer(fake or Fake(), frames, server_requests.Poses(info, urdf))[0])  # type: ignore[arg-type]


def asked(joints: dict[str, float] | None = None) -> dict[str, Any]:
    return PoseRequest.of(CAMERA, joints).to_dict()


def test_a_pose_as_predict_gives_it() -> None:
    """Through the lens, with the joints known, and with only those known that no image tells."""
    fake = Fake()
    for joints in (ANGLES, {PAN: ANGLES[PAN], LIFT: ANGLES[LIFT]}):
        answer = decode_answer(encode_request(**(kept := ask(asked(joints), fake)), kind=kept.pop("type")))
        assert isinstance(answer, Prediction) and answer.pose is not None and answer.pose.status == "solved"
        assert answer.pose.base_in_camera is not None and np.abs(answer.pose.base_in_camera - POSE).max() < 1e-4
        assert answer.pose.joints is not None and answer.pose.joints.items() >= joints.items()
        assert answer.pose.joints == pytest.approx({n: ANGLES[n] for n in answer.pose.joints}, abs=1e-4)
        assert answer.pose.covariance is not None and answer.pose.covariance.shape == (6, 6)
        assert answer.pose.inliers == NAMES and answer.pose.reprojection is not None
        assert answer.pose.reprojection < 1e-3

    numbers = ",".join(map(str, PoseRequest.of(CAMERA).camera))
    finder = PoseFinder.of(INFO, numbers, ",".join(f"{n}={v}" for n, v in ANGLES.items()))
    assert ask(asked(ANGLES))["pose"] == finder.find(fake.found)
    assert "pose" not in ask(None)
    straight = {"camera": {"fx": 61.0, "fy": 60.0, "cx": 32.2, "cy": 23.7}}
    assert ask({**straight, "joints": ANGLES})["pose"]["status"] == "solved"


def test_why_there_is_no_pose() -> None:
    unsure = Fake()
    unsure.found = [replace(k, confidence=0.2) for k in unsure.found]
    for fake, joints, status, words in (
        (unsure, ANGLES, "hidden", "nothing to go by"),
        (
            Fake(),
            None,
            "degenerate",
            f"can't tell the joints {PAN}, {LIFT} from a motion of the camera: give their pos",
        ),
    ):
        pose = PredictedPose.from_dict(ask(asked(joints), fake)["pose"])
        assert (pose.status, pose.base_in_camera) == (status, None) and words in pose.sentence
        assert "--" not in pose.sentence


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (7, "without a camera"),
        ({"joints": ANGLES}, "without a camera"),
        ({"camera": None}, "without a camera"),
        ({"camera": {"fx": 1, "fy": 1, "cx": 1}}, "the camera's cy is None: give a finite number"),
        ({"camera": {"fx": True, "fy": 1, "cx": 1, "cy": 1}}, "the camera's fx is True"),
        ({"camera": {"fx": "9", "fy": 1, "cx": 1, "cy": 1}}, "the camera's fx is 9"),
        ({"camera": {"fx": -3, "fy": 1, "cx": 1, "cy": 1}}, "fx and fy positive"),
        ({"camera": {"fx": 3, "fy": 1, "cx": 1, "cy": 1, "distortion": [1]}}, "not a list of five numbers"),
        ({"camera": {"fx": 3, "fy": 1, "cx": 1, "cy": 1, "distortion": [0, 0, 0, 0, None]}}, "distortion is None"),
        ({"camera": {"fx": 3, "fy": 1, "cx": 1, "cy": 1, "skew": 1}}, "'skew', which means nothing"),
        ({**asked(), "angles": {}}, "'angles', which means nothing"),
        ({**asked(), "joints": [1]}, "not one table"),
        ({**asked(), "joints": {PAN: None}}, f"the joint {PAN} is None"),
        ({**asked(), "joints": {PAN: 10**400}}, "give a finite number"),
        ({**asked(), "joints": {"elbow": 1}}, "has no joint 'elbow' that moves: it has shoulder_pan_joint"),
        ({**asked(), "joints": {PAN: 90}}, "beyond its limits"),
        ({**asked(), "joints_deviation": {PAN: 0.1}}, f"a deviation of the joint {PAN}, but no position"),
        ({**asked(), "joints": ANGLES, "joints_deviation": {PAN: -1}}, "is of no use: give one above 0"),
        ({**asked(), "joints": ANGLES, "joints_deviation": 0.1}, "not one table"),
    ],
)
def test_a_mistake_is_refused_with_one_sentence(pose: Any, words: str) -> None:
    answer = ask(pose)
    assert (answer["type"], answer["id"]) == ("refused", 4)
    assert words in answer["reason"] and "\n" not in answer["reason"]


def test_readings_come_with_deviations_and_are_answered_with_some() -> None:
    """A client that gives none sends and hears the same as ever."""
    deviations = dict.fromkeys(ANGLES, 0.03)
    request = PoseRequest.of(CAMERA, {**ANGLES, LIFT: ANGLES[LIFT] + 0.01}, deviations)
    assert PoseRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    pose = PredictedPose.from_dict(ask(request.to_dict())["pose"])
    assert pose.joints is not None and list(pose.deviations) == list(ANGLES)
    assert min(pose.deviations.values()) > 0 and max(pose.deviations.values()) == pytest.approx(0.03, rel=1e-3)
    assert "joints_deviation" not in PoseRequest.of(CAMERA, ANGLES).to_dict()
    plain = ask(asked(ANGLES))["pose"]
    assert "joints_deviation" not in plain and not PredictedPose.from_dict(plain).deviations


def test_a_single_picture_is_looked_at_more_thoroughly() -> None:
    fake, poses = Fake(), server_requests.Poses(INFO)
    for more, expected in (({"still": True}, STILL), ({"still": False}, MOVING), ({}, MOVING)):
        header = encode_request("predict", id=4, encoding="rgb", width=64, height=48, **more)
        message, _ = server_requests.answer(fake, [b"me", b"", header, bytes(64 * 48 * 3)], poses)  # type: ignore[arg-type]
        assert parse(message)["type"] == "prediction" and fake.inspection == expected
    header = encode_request("predict", id=4, encoding="rgb", width=64, height=48, still=1)
    message, _ = server_requests.answer(fake, [b"me", b"", header, bytes(64 * 48 * 3)], poses)  # type: ignore[arg-type]
    assert "neither true nor false" in parse(message)["reason"]


def shaped(joints: dict[str, float]) -> RobotShapes:
    """The UR10's shapes as these joints have them."""
    shapes, frames = Shapes.of(load_urdf(builtin_urdf())), UR10.link_frames(joints)
    return RobotShapes(
        tuple(
            ShapePart(transform(frames[n], v).astype(np.float32), f.astype(np.uint32))
            for n, v, f in zip(shapes.links, shapes.vertices, shapes.faces, strict=True)
        )
    )


def ask_shaped(pose: Any, picture: NDArray[np.uint8], counts: Any, data: bytes, fake: Fake) -> dict[str, Any]:
    height, width, _ = picture.shape
    header = encode_request("predict", id=4, encoding="rgb", width=width, height=height, pose=pose, shapes=counts)
    frames = [b"me", b"", header, picture.tobytes(), data]
    return parse(server_requests.answer(fake, frames, server_requests.Poses(INFO))[0])  # type: ignore[arg-type]


def test_shapes_that_come_along_place_the_camera_by_their_outline() -> None:
    """A light robot before a dark wall, ten times as large as the keypoints' camera, and keypoints some pixels off."""
    fx, fy, cx, cy = (10 * n for n in (CAMERA.fx, CAMERA.fy, CAMERA.cx + 0.45, CAMERA.cy + 0.45))
    camera = Intrinsics(640, 480, fx, fy, cx, cy)
    solids = Shapes.of(load_urdf(builtin_urdf()))
    shown = solids.drawn(UR10.link_frames(ANGLES), POSE, camera).shown > 0
    picture = cv2.GaussianBlur((90 + 120 * shown[..., None].repeat(3, 2)).astype(np.uint8), (0, 0), 1.0)
    fake = Fake()
    places = keypoints.positions(POINTS, {"": UR10.link_frames(ANGLES)})
    exact, _ = camera.project(transform(POSE, places))
    off = np.random.default_rng(2).normal(0, 8, exact.shape)
    fake.found = [
        replace(k, u=u, v=v, covariance=((60.0, 0.0), (0.0, 60.0)))
        for k, (u, v) in zip(fake.found, (exact + off).tolist(), strict=True)
    ]
    request, shapes = PoseRequest.of(camera, ANGLES).to_dict(), shaped(ANGLES)

    def apart(answer: dict[str, Any]) -> tuple[PredictedPose, float]:
        pose = PredictedPose.from_dict(answer["pose"])
        assert pose.base_in_camera is not None
        return pose, float(np.linalg.norm(pose.base_in_camera[:3, 3] - POSE[:3, 3]))

    pose, outlined = apart(ask_shaped(request, picture, shapes.counts, shapes.data, fake))
    assert pose.outline is not None and pose.outline.used and (pose.outline.support or 0) > 0.6
    dark, alone = apart(ask_shaped(request, np.zeros_like(picture), shapes.counts, shapes.data, fake))
    assert dark.outline is not None and not dark.outline.used
    assert outlined < alone / 3 and outlined < 0.02, (outlined, alone)
    elsewhere = shaped(ANGLES | {LIFT: -0.2})
    lost, _ = apart(ask_shaped(request, picture, elsewhere.counts, elsewhere.data, fake))
    assert lost.outline is not None and not lost.outline.used, "it goes by the shapes that came, not by its own"

    counts, data = shapes.counts, shapes.data
    for pose_, counts_, data_, words in (
        (None, counts, data, "no pose is asked for: give a camera"),
        (request, counts, data[:-4], "bytes, not"),
        (request, "x", data, "no list of"),
        (request, None, data, "not one for a prediction"),
        (PoseRequest.of(camera, {PAN: 0.4}).to_dict(), counts, data, "nothing tells its joint shoulder_lift_joint"),
        (PoseRequest.of(camera, ANGLES, {PAN: 0.1}).to_dict(), counts, data, "takes its joints as exact"),
    ):
        answer = ask_shaped(pose_, picture, counts_, data_, fake)
        assert answer["type"] == "refused" and words in answer["reason"], answer


def test_the_robot_comes_from_the_model_or_from_a_file(tmp_path: Path) -> None:
    armature = replace(INFO, robot=None)
    assert "give its URDF with --robot" in ask(asked(ANGLES), info=armature)["reason"]
    pose = ask(asked(ANGLES), info=armature, urdf=builtin_urdf())["pose"]
    assert pose["status"] == "solved" and np.abs(np.array(pose["T_cam_base"]) - POSE).max() < 1e-4
    assert ask(None, info=armature)["type"] == "prediction"
    with pytest.raises(UserError, match="no URDF file"):
        server_requests.Poses(INFO, tmp_path / "none.urdf")


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    fake = Fake()
    fake.found = [replace(k, u=math.nan) for k in fake.found]
    assert "no number" in ask(None, fake)["reason"]


def test_what_clients_send_is_checked_before() -> None:
    """JSON has no NaN: a server could not even tell which request it was in."""
    with pytest.raises(UserError, match=f"{PAN} is nan"):
        PoseRequest.of(CAMERA, {PAN: math.nan})
    with pytest.raises(UserError, match="isn't finite"):
        PoseRequest.of(replace(CAMERA, fx=math.inf))
    request = PoseRequest.of(CAMERA, ANGLES)
    assert PoseRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


@pytest.mark.parametrize(
    "change",
    [
        {"T_cam_base": [[1, 2]]}, {"T_cam_base": None}, {"covariance": [[0.0] * 6] * 5}, {"reprojection_px": "1"},
        {"inliers": 4}, {"joints": []}, {"joints": {"a": None}}, {"alternatives": 3}, {"status": "other"},
    ],
)  # fmt: skip
def test_malformed_poses_are_not_taken(change: dict[str, Any]) -> None:
    document = ask(asked(ANGLES))["pose"]
    assert PredictedPose.from_dict(document).status == "solved"
    with pytest.raises(MessageError):
        PredictedPose.from_dict({**document, **change})
